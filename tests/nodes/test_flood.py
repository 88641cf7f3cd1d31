"""A flood of bad frames: none is taken, each is counted, and good ones among them are undisturbed."""

from tests.nodes.flood import flood_of_air, flood_of_frames


def test_a_central_unit_in_a_flood() -> None:
    refused, fixes, snapshots = flood_of_frames(50_000)
    assert fixes == ["bs1,bs2"] * snapshots
    assert set(refused) >= {"malformed", "version", "length", "oversize", "duplicate", "unknown_model"}
    assert refused.total() > 45_000


def test_a_base_station_in_a_flood() -> None:
    refused = flood_of_air(50_000)
    assert set(refused) >= {"malformed", "version", "length", "oversize"}
    assert refused["read"] < 0.2 * refused.total()
