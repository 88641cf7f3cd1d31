"""Who is lost, who is back, and when whoever died starts again: by a clock that is set by hand."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sim.parts import Parts
from sim.watch import BACK_OFF_S, HUNG_S, SILENT_S, Watch


class Process:
    """Lives until it is killed or told how it ended."""

    def __init__(self) -> None:
        self.code: int | None = None

    def kill(self) -> None:
        self.code = -9


class Crew:
    """Parts as a watch sees them; the clock goes on in tenths of a second, and the watch looks each time."""

    def __init__(self, *names: str) -> None:
        self.now_s = 1000.0
        self.peers = {name: self.peer() for name in names}
        self.mute: set[str] = set()
        self.spawned: list[tuple[str, float]] = []
        self.told: list[tuple[float, str, str, str]] = []

    def peer(self) -> Any:
        return SimpleNamespace(process=Process(), ready=True, heard_s=self.now_s)

    def ended(self) -> Iterator[tuple[str, int]]:
        for name, peer in self.peers.items():
            if peer.process is not None and peer.process.code is not None:
                yield name, peer.process.code

    def spawn(self, name: str) -> None:
        """Starts a process, which says hello at once."""
        self.spawned.append((name, round(self.now_s - 1000, 1)))
        self.peers[name] = self.peer()

    def notice(self, name: str, state: str, why: str) -> None:
        self.told.append((round(self.now_s - 1000, 1), name, state, why))

    def go_on(self, watch: Watch, seconds: float, *, looks: bool = True) -> None:
        for _ in range(round(10 * seconds)):
            self.now_s = round(self.now_s + 0.1, 1)
            for name, peer in self.peers.items():
                if name not in self.mute and peer.process is not None and peer.process.code is None:
                    peer.heard_s = self.now_s
            if looks:
                watch.look()


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Crew:
    crew = Crew("bs1", "bs2")
    monkeypatch.setattr("sim.watch.monotonic", lambda: crew.now_s)
    return crew


@pytest.fixture
def watch(crew: Crew) -> Watch:
    return Watch(cast(Parts, crew), crew.notice)


def test_whom_one_hears_is_there(crew: Crew, watch: Watch) -> None:
    crew.go_on(watch, 30)
    assert (crew.told, crew.spawned, watch.lost) == ([], [], frozenset())
    assert not watch.was_away("bs1", 1e6)


def test_silence_is_told_once_and_so_is_the_return(crew: Crew, watch: Watch) -> None:
    crew.mute.add("bs2")
    crew.go_on(watch, SILENT_S)
    assert watch.lost == frozenset()
    crew.go_on(watch, 2)
    assert watch.lost == {"bs2"}
    crew.mute.clear()
    crew.go_on(watch, 1)
    assert watch.lost == frozenset()
    assert crew.told == [(0.9, "bs2", "lost", "silent for 0.9 s"), (2.9, "bs2", "back", "after 2.0 s")]
    assert watch.times_lost == {"bs2": 1}
    assert crew.spawned == []


def test_who_was_away_stays_an_excuse_for_as_long_as_one_asks(crew: Crew, watch: Watch) -> None:
    crew.mute.add("bs2")
    crew.go_on(watch, 2)
    assert watch.was_away("bs2", 0.0)
    crew.mute.clear()
    crew.go_on(watch, 3)  # heard again after 0.1 s
    assert watch.was_away("bs2", 3.0)
    assert not watch.was_away("bs2", 2.8)
    assert not watch.was_away("bs1", 3.0)


def test_a_part_that_cannot_work_yet_is_not_back(crew: Crew, watch: Watch) -> None:
    crew.mute.add("bs2")
    crew.go_on(watch, 1)
    crew.mute.clear()
    crew.peers["bs2"].ready = False
    crew.go_on(watch, 1)
    assert watch.lost == {"bs2"}
    crew.peers["bs2"].ready = True
    crew.go_on(watch, 0.1)
    assert watch.lost == frozenset()


def test_whoever_did_not_look_blames_nobody(crew: Crew, watch: Watch) -> None:
    """What was said meanwhile has first to be heard: the one who comes back does not judge at once."""
    crew.mute |= {"bs1", "bs2"}
    crew.go_on(watch, 5, looks=False)
    watch.look()
    assert watch.lost == frozenset()
    crew.mute.remove("bs1")
    crew.go_on(watch, 0.1)
    assert watch.lost == {"bs2"}


def test_who_dies_starts_again_the_later_the_more_often(crew: Crew, watch: Watch) -> None:
    waits_s = []
    for _ in range(5):
        crew.go_on(watch, 1)
        crew.peers["bs1"].process.code = 3
        crew.go_on(watch, 6)
        waits_s.append(crew.spawned[-1][1] - crew.told[-2][0])
    assert waits_s == pytest.approx([*BACK_OFF_S, BACK_OFF_S[-1]], abs=0.11)  # seen at the next look
    assert {name for name, _ in crew.spawned} == {"bs1"}
    assert [state for _, _, state, _ in crew.told] == ["lost", "back"] * 5
    assert crew.told[0][1:] == ("bs1", "lost", "died (exit code 3), starts again")
    # A minute later all is forgiven.
    crew.go_on(watch, 60)
    crew.peers["bs1"].process.code = 0
    crew.go_on(watch, 0.1)
    assert len(crew.spawned) == 6


def test_who_is_dead_is_neither_ready_nor_there_until_started_again(crew: Crew, watch: Watch) -> None:
    crew.peers["bs1"].process.code = 1  # starts again at once
    crew.go_on(watch, 1)
    crew.peers["bs1"].process.code = 1  # after a moment
    crew.go_on(watch, 0.1)
    peer = crew.peers["bs1"]
    assert (peer.process, peer.ready) == (None, False)
    assert (sorted(watch.lost), len(crew.spawned)) == (["bs1"], 1)
    crew.go_on(watch, 1)
    assert (sorted(watch.lost), len(crew.spawned)) == ([], 2)


def test_a_process_that_hangs_is_killed_and_starts_again(crew: Crew, watch: Watch) -> None:
    crew.mute.add("bs2")
    hanging = crew.peers["bs2"].process
    crew.go_on(watch, SILENT_S + 0.1 + HUNG_S)
    codes = [hanging.code]
    crew.go_on(watch, 0.1)
    assert [*codes, hanging.code] == [None, -9]
    crew.mute.clear()
    crew.go_on(watch, 1)
    assert [name for name, _ in crew.spawned] == ["bs2"]
    assert [(name, state) for _, name, state, _ in crew.told] == [("bs2", "lost"), ("bs2", "back")]
    assert watch.times_lost == {"bs2": 1}


def test_a_part_of_elsewhere_is_waited_for_and_never_killed(crew: Crew, watch: Watch) -> None:
    crew.peers["bs2"].process = None
    crew.go_on(watch, 60)
    assert watch.lost == {"bs2"}
    assert crew.spawned == []


def test_who_starts_over_is_lost_until_heard(crew: Crew, watch: Watch) -> None:
    crew.go_on(watch, 1)
    watch.starts_over("bs1")
    watch.starts_over("bs1")
    assert watch.lost == {"bs1"}
    crew.go_on(watch, 0.1)
    assert watch.lost == frozenset()
    assert crew.told == [(1.0, "bs1", "lost", "starts over"), (1.1, "bs1", "back", "after 0.1 s")]
