"""What a proper message may still be: one of too many, a replay, or of a time to come."""

import pytest

from broker.admission import LEAD_NS, Admission
from broker.frame import FrameError


class Stopwatch:
    """A clock that is turned by hand."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_each_peer_may_send_so_much_and_no_other_pays_for_it() -> None:
    clock = Stopwatch()
    admission = Admission(10, 5, clock)
    for _ in range(5):
        admission.knock(b"bs1")
    with pytest.raises(FrameError, match="rate"):
        admission.knock(b"bs1")
    admission.knock(b"bs2")
    clock.now_s = 0.25
    admission.knock(b"bs1")
    admission.knock(b"bs1")
    with pytest.raises(FrameError, match="rate"):
        admission.knock(b"bs1")


def test_silence_saves_up_no_more_than_a_burst() -> None:
    clock = Stopwatch()
    admission = Admission(10, 5, clock)
    clock.now_s = 1000.0
    for _ in range(5):
        admission.knock(b"bs1")
    with pytest.raises(FrameError, match="rate"):
        admission.knock(b"bs1")


def test_a_stream_only_grows_newer() -> None:
    admission = Admission(10, 5)
    admission.enter("bs1", "ue1", 100, 100)
    for t_sample_ns in (100, 99, 0):
        with pytest.raises(FrameError, match="replay"):
            admission.enter("bs1", "ue1", t_sample_ns, 200)
    admission.enter("bs1", "ue1", 101, 200)
    admission.enter("bs2", "ue1", 100, 200)
    admission.enter("bs1", "ue2", 100, 200)


def test_a_stream_may_begin_at_the_very_start() -> None:
    admission = Admission(10, 5)
    admission.enter("bs1", "ue1", 0, 0)
    with pytest.raises(FrameError, match="replay: sampled at 0 ns, after 0 ns had come"):
        admission.enter("bs1", "ue1", 0, 0)


def test_streams_and_peers_of_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.admission.MAX_STREAMS", 2)
    monkeypatch.setattr("broker.admission.MAX_PEERS", 2)
    admission = Admission(10, 1, Stopwatch())
    for name in ("1", "2", "3"):
        admission.enter(f"bs{name}", "ue1", 100, 100)
        admission.knock(name.encode())
    admission.enter("bs1", "ue1", 100, 100)
    admission.knock(b"1")
    with pytest.raises(FrameError, match="replay"):
        admission.enter("bs3", "ue1", 100, 100)
    with pytest.raises(FrameError, match="rate"):
        admission.knock(b"3")


def test_what_is_to_come_is_refused_and_stops_nothing_that_comes_before_it() -> None:
    admission = Admission(10, 5)
    with pytest.raises(FrameError, match="future"):
        admission.enter("bs1", "ue1", LEAD_NS + 1, 0)
    admission.enter("bs1", "ue1", 5, 0)
    admission.enter("bs1", "ue1", LEAD_NS, 0)
