"""What the base stations hear: the same for the same seed, each link for itself, as noisy as it should be."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.estimation import pilot_symbols
from models.path_table import PathTable
from sim.channel import Channel, ChannelError, open_channel
from sim.channel.air import Air
from sim.deployment import MUNICH6, Deployment
from sim.scenario import Scenario, load_scenario
from sim.scenario.scenario import Clock
from tests.sim.channel.kit import Array, positions, random_table, store_made_up_paths
from tests.sim.kit import scenario_of

ROOT = Path(__file__).resolve().parents[3]
SYNCHRONISED = Clock(kind="synchronised")
UNKNOWN = Clock(kind="ue_unknown")
SNAPSHOTS = 4


def channel_of(
    *,
    ues: tuple[str, ...] = ("ue1",),
    deployment: Deployment = MUNICH6,
    clock: Clock = UNKNOWN,
    seed: int = 1,
    tables: Mapping[str, PathTable] | None = None,
) -> Channel:
    """A channel of made-up paths: each UE has its own, whatever the others are."""
    made_up = {ue: random_table(positions(SNAPSHOTS), seed=int(ue[2:]), most=3) for ue in ues}
    velocity_mps = {ue: np.full((SNAPSHOTS, 3), 1.5) for ue in ues}
    return Channel(Air(deployment), clock, seed, tables or made_up, velocity_mps)


def noise_of(channel: Channel, ue: str, index: int) -> Array:
    noise: Array = channel.pilots(ue, index) - channel.channel(ue, index) * pilot_symbols(24)
    return noise


def test_the_same_seed_gives_the_same_pilots() -> None:
    one, again, other = channel_of(), channel_of(), channel_of(seed=2)
    for index in range(SNAPSHOTS):
        np.testing.assert_array_equal(one.pilots("ue1", index), again.pilots("ue1", index))
        np.testing.assert_array_equal(one.pilots("ue1", index), one.pilots("ue1", index))
        assert not np.array_equal(one.pilots("ue1", index), other.pilots("ue1", index))


def test_what_one_ue_hears_does_not_depend_on_the_others() -> None:
    alone, among = channel_of(ues=("ue2",)), channel_of(ues=("ue1", "ue2", "ue3"))
    np.testing.assert_array_equal(alone.pilots("ue2", 3), among.pilots("ue2", 3))
    assert not np.array_equal(noise_of(among, "ue1", 3), noise_of(among, "ue2", 3))


def test_what_one_base_station_hears_does_not_depend_on_the_others() -> None:
    """Also its clock: of the offsets only the UE's is common."""
    whole = random_table(positions(SNAPSHOTS), seed=1, most=3)
    fewer = replace(MUNICH6, name="fewer", sites=(MUNICH6.sites[2], MUNICH6.sites[0]))
    part = replace(whole, bs_ids=("bs3", "bs1"), first=whole.first[:, [2, 0]], count=whole.count[:, [2, 0]])
    every = channel_of(tables={"ue1": whole})
    some = channel_of(tables={"ue1": part}, deployment=fewer)
    np.testing.assert_allclose(some.pilots("ue1", 1), every.pilots("ue1", 1)[[2, 0]], rtol=1e-5, atol=1e-12)
    np.testing.assert_array_equal(some.clock_offset_s("ue1", 1), every.clock_offset_s("ue1", 1)[[2, 0]])


def test_a_snapshot_does_not_depend_on_which_came_before() -> None:
    forwards, backwards = channel_of(), channel_of()
    seen = [forwards.pilots("ue1", index) for index in range(SNAPSHOTS)]
    for index in reversed(range(SNAPSHOTS)):
        np.testing.assert_array_equal(backwards.pilots("ue1", index), seen[index])


def test_noise_is_white_circular_and_as_strong_as_the_receiver_s() -> None:
    channel = channel_of(clock=SYNCHRONISED)
    noise = np.stack([noise_of(channel, "ue1", index) for index in range(SNAPSHOTS)])
    variance = channel.noise_variance[0]
    flat = noise.reshape(-1) / variance**0.5
    spread = 1 / len(flat) ** 0.5  # of a mean of unit variance
    assert abs((abs(flat) ** 2).mean() - 1) < 4 * spread
    assert abs(flat.mean()) < 4 * spread
    assert abs((flat**2).mean()) < 4 * spread
    for axis in range(noise.ndim):
        ahead, behind = np.moveaxis(noise, axis, 0)[1:], np.moveaxis(noise, axis, 0)[:-1]
        assert abs((ahead * behind.conj()).mean()) / variance < 5 / ahead.size**0.5
    assert len(channel.noise_variance) == 6


def test_without_a_path_there_is_noise_alone() -> None:
    silent = channel_of(tables={"ue1": random_table(positions(SNAPSHOTS), most=0)})
    assert not silent.channel("ue1", 0).any()
    assert silent.channel("ue1", 0).shape == silent.pilots("ue1", 0).shape == (6, 10, 8, 24)
    assert silent.pilots("ue1", 0).all()


def test_a_base_station_without_a_path_hears_noise_alone() -> None:
    table = random_table(positions(SNAPSHOTS), most=3, seed=5)
    channel = channel_of(tables={"ue1": table})
    for index in range(SNAPSHOTS):
        heard = (abs(channel.channel("ue1", index)) ** 2).sum(axis=(1, 2, 3)) > 0
        np.testing.assert_array_equal(heard, table.count[index] > 0)
    assert (table.count == 0).any()
    assert (table.count > 0).any()


def unknown(**settings: str) -> Clock:
    return Clock.model_validate({"kind": "ue_unknown", **settings})


def offsets(clock: Clock, count: int = 400) -> Array:
    tables = {"ue1": random_table(positions(1))}
    channel = channel_of(tables=tables, clock=clock)
    return np.stack([channel.clock_offset_s("ue1", index) for index in range(count)])


def test_the_ue_s_offset_is_uniform_and_common_and_the_base_stations_are_normal() -> None:
    found = offsets(unknown(ue_offset="100 ns", bs_sync="5 ns"))
    common = found.mean(axis=1)
    own = (found - common[:, None]) * (6 / 5) ** 0.5
    assert abs(common).max() < 110e-9
    quantiles = np.quantile(common, (0.1, 0.25, 0.5, 0.75, 0.9)) / 100e-9
    np.testing.assert_allclose(quantiles, (-0.8, -0.5, 0, 0.5, 0.8), atol=0.12)
    assert own.std() == pytest.approx(5e-9, rel=0.05)
    assert (abs(own) < 1.96 * 5e-9).mean() == pytest.approx(0.95, abs=0.02)
    assert abs(np.corrcoef(own.T)[np.triu_indices(6, 1)] + 0.2).max() < 0.2  # -1/5: the mean is taken out
    assert abs(np.corrcoef(common[1:], common[:-1])[0, 1]) < 0.15


def test_one_part_of_the_clock_can_be_right() -> None:
    assert np.ptp(offsets(unknown(bs_sync="0 s"), 20), axis=1).max() == 0
    assert abs(offsets(unknown(ue_offset="0 s", bs_sync="1 ns"), 20)).max() < 5e-9
    assert not offsets(SYNCHRONISED, 20).any()


def test_an_offset_delays_the_envelope_and_leaves_the_carrier_alone() -> None:
    shifted, exact = channel_of(), channel_of(clock=SYNCHRONISED)
    air = Air(MUNICH6)
    offset = shifted.clock_offset_s("ue1", 2)
    ramp = np.exp(-2j * np.pi * offset[:, None] * air.radio.frequency_hz())
    np.testing.assert_allclose(
        shifted.channel("ue1", 2),
        exact.channel("ue1", 2) * ramp[:, None, None, :],
        rtol=1e-4,
        atol=1e-10,
    )


def test_the_last_slot_is_the_snapshot_s_time() -> None:
    """A standing UE is heard alike in all slots; a moving one is where it should be in the last."""
    table = random_table(positions(1), seed=3, most=2)
    velocities = (np.full((1, 3), speed) for speed in (0.0, 2.0))
    stands, walks = (
        Channel(Air(MUNICH6), SYNCHRONISED, 1, {"ue1": table}, {"ue1": velocity}).channel("ue1", 0)
        for velocity in velocities
    )
    np.testing.assert_allclose(stands, np.repeat(stands[:, -1:], 10, axis=1), rtol=1e-6)
    np.testing.assert_allclose(walks[:, -1], stands[:, -1], rtol=1e-6)
    assert not np.allclose(walks[:, 0], stands[:, 0], rtol=1e-2)


def test_a_scenario_finds_the_trace_beside_it(tmp_path: Path) -> None:
    scenario = scenario_of().model_copy()
    (tmp_path / "quiet.yaml").write_text(scenario.to_yaml())
    beside = load_scenario(tmp_path / "quiet.yaml")
    store_made_up_paths(beside, tmp_path / "traces")
    channel = open_channel(beside, may_trace=False)
    assert channel.pilots("ue1", 0).shape == (6, 10, 8, 24)


def test_a_shipped_scenario_has_its_channel_without_tracing() -> None:
    spiral = load_scenario(ROOT / "scenarios" / "spiral.yaml", ["duration=1 s"])
    channel = open_channel(spiral, may_trace=False)
    power = (abs(channel.channel("ue1", 0)) ** 2).mean(axis=(1, 2, 3))
    assert (power > channel.noise_variance).sum() >= 3


def test_moving_a_site_moves_to_another_world(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(**changes: Any) -> str:
        scenario = Scenario.load(ROOT / "scenarios" / "spiral.yaml", duration="1 s", **changes)
        with pytest.raises(ChannelError) as caught:
            open_channel(scenario, may_trace=False)
        return str(caught.value)

    reason = "no stored trace has 10 of the scenario's positions, and tracing is off"
    assert missing(deployment__sites__bs1__position=["125 m", "82.1 m", "27.5 m"]) == reason
    assert missing(deployment__radio__carrier="3.6 GHz") == reason
    assert missing(ues__ue1__trajectory__radius="5 m") == reason
