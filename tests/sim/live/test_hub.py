"""The hub: the latest wins, drops are counted, nobody waits."""

from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.live import Hub, TooManyViewersError


def test_the_latest_value_of_a_key_wins_and_the_others_count_as_dropped() -> None:
    hub = Hub()
    with hub.view() as view:
        for value in range(5):
            hub.publish("link/bs1", {"t": value})
        hub.publish("link/bs2", {"t": 0})
        assert view.take() == {"link/bs1": {"t": 4}, "link/bs2": {"t": 0}}
        assert view.take() == {}
        assert view.dropped == 4


def test_each_viewer_has_its_own_pace() -> None:
    hub = Hub()
    with hub.view() as quick, hub.view() as slow:
        taken = []
        for value in range(3):
            hub.publish("a", {"t": value})
            taken.append(quick.take()["a"]["t"])
        assert taken == [0, 1, 2]
        assert slow.take() == {"a": {"t": 2}}
        assert (quick.dropped, slow.dropped) == (0, 2)
    assert (hub.viewers, hub.dropped) == (0, 2)


def test_a_late_viewer_sees_what_was_as_far_as_it_is_kept() -> None:
    hub = Hub(history=3)
    for value in range(10):
        hub.publish("track", {"t": value})
        hub.publish("run", {"t": value}, latest_only=True)
    with hub.view() as view:
        assert [value["t"] for value in view.history["track"]] == [7, 8, 9]
        assert [value["t"] for value in view.history["run"]] == [9]
        assert view.take() == {}


def test_there_is_an_end_to_keys_and_to_viewers() -> None:
    hub = Hub(max_keys=2, max_viewers=1)
    with hub.view() as view:
        for key in "abc":
            hub.publish(key, {"t": 0})
        assert sorted(view.take()) == ["a", "b"]
        assert hub.refused == 1
        with pytest.raises(TooManyViewersError):
            hub.view()
    with hub.view():
        pass


def test_viewers_come_and_go_while_values_are_published() -> None:
    hub = Hub(history=5)

    def watch() -> None:
        for _ in range(200):
            with hub.view() as view:
                view.take()

    viewers = [Thread(target=watch) for _ in range(4)]
    for viewer in viewers:
        viewer.start()
    for value in range(2000):
        hub.publish(f"key{value % 7}", {"t": value})
    for viewer in viewers:
        viewer.join()
    assert hub.viewers == 0


@given(st.lists(st.one_of(st.sampled_from("abc"), st.none())))
def test_published_is_taken_or_dropped_or_waiting(steps: list[str | None]) -> None:
    hub = Hub()
    taken = 0
    with hub.view() as view:
        for step in steps:
            if step is None:
                taken += len(view.take())
            else:
                hub.publish(step, {"t": 0})
        taken += len(view.take())
        assert taken + view.dropped == sum(step is not None for step in steps)
