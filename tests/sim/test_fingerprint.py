"""The fingerprint sees events, not the order of reporting; the digest sees contents too."""

from hypothesis import given
from hypothesis import strategies as st

from sim.fingerprint import Event, Fingerprint

EVENTS = [
    Event(0, "sample", "ue1#0"),
    Event(2_000_000, "publish", "bs1/ue1#0", "960 B"),
    Event(2_000_000, "publish", "bs2/ue1#0", "960 B"),
    Event(3_000_001, "arrive", "bs1/ue1#0"),
]


def hashes(events: list[Event], contents: dict[Event, bytes] | None = None) -> tuple[str, str]:
    fingerprint = Fingerprint()
    for event in events:
        fingerprint.add(event, (contents or {}).get(event, b""))
    fingerprint.finish()
    return fingerprint.fingerprint, fingerprint.digest


def test_an_event_reads_as_a_line() -> None:
    assert str(EVENTS[3]) == "0.003000001 arrive bs1/ue1#0"
    assert str(Event(61_000_000_000, "fault", "bs3", "bs_down")) == "61.000000000 fault bs3 bs_down"


def test_within_a_nanosecond_faults_come_first_and_frames_in_the_order_of_their_way() -> None:
    seen: list[Event] = []
    fingerprint = Fingerprint(seen.append)
    kinds = ["miss", "arrive", "bs_down", "drop", "publish", "sample"]
    for kind in kinds:
        fingerprint.add(Event(5, kind, "x"))
    fingerprint.finish()
    assert [event.kind for event in seen] == ["bs_down", "sample", "publish", "drop", "arrive", "miss"]


@given(st.permutations(EVENTS))
def test_the_order_of_reporting_does_not_matter(events: list[Event]) -> None:
    assert hashes(events) == hashes(EVENTS)


def test_advancing_on_the_way_does_not_matter() -> None:
    seen: list[Event] = []
    fingerprint = Fingerprint(seen.append)
    for event in EVENTS:
        fingerprint.advance(event.t_ns)
        fingerprint.add(event)
    assert len(seen) == 3
    fingerprint.finish()
    assert seen == EVENTS
    assert fingerprint.count == 4
    assert (fingerprint.fingerprint, fingerprint.digest) == hashes(EVENTS)


def test_contents_change_the_digest_only() -> None:
    plain = hashes(EVENTS)
    with_contents = hashes(EVENTS, {EVENTS[1]: b"\x01"})
    assert with_contents[0] == plain[0]
    assert with_contents[1] != plain[1]


def test_one_nanosecond_changes_both() -> None:
    later = [*EVENTS[:3], Event(3_000_002, "arrive", "bs1/ue1#0")]
    assert hashes(later)[0] != hashes(EVENTS)[0]
    assert hashes(later)[1] != hashes(EVENTS)[1]
