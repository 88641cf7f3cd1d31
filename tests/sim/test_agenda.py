"""Virtual time: order within a nanosecond, alarms, and errors that come out as they went in."""

from collections.abc import Generator

import pytest
import simpy

from sim.agenda import Agenda, Alarm, Moment


def test_events_happen_by_time_then_moment_then_order() -> None:
    agenda, seen = Agenda(), list[str]()
    agenda.call(5, Moment.DEADLINE, lambda: seen.append("deadline"))
    agenda.call(5, Moment.ARRIVE, lambda: seen.append("arrival"))
    agenda.call(5, Moment.ARRIVE, lambda: seen.append("second arrival"))
    agenda.call(4, Moment.CLOSE, lambda: seen.append("before"))
    agenda.run(6)
    assert seen == ["before", "arrival", "second arrival", "deadline"]


def test_the_end_is_not_part_of_the_run() -> None:
    agenda, seen = Agenda(), list[int]()
    for t_ns in (9, 10):
        agenda.call(t_ns, Moment.FAULT, lambda: seen.append(agenda.now_ns))
    agenda.run(10)
    assert seen == [9]


def test_nanoseconds_stay_exact_after_weeks() -> None:
    agenda = Agenda()
    seen = []

    def steps() -> Generator[simpy.Event, None, None]:
        for t_ns in (1, 3_000_000_000_000_001, 3_000_000_000_000_002):
            yield agenda.at(t_ns, Moment.SAMPLE)
            seen.append(agenda.now_ns)

    agenda.process(steps())
    agenda.run(4_000_000_000_000_000)
    assert seen == [1, 3_000_000_000_000_001, 3_000_000_000_000_002]


class PickyError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def test_a_process_raises_its_own_exception() -> None:
    agenda = Agenda()
    error = PickyError(1, 2)

    def steps() -> Generator[simpy.Event, None, None]:
        yield agenda.at(1, Moment.SAMPLE)
        raise error

    agenda.process(steps())
    with pytest.raises(PickyError) as raised:
        agenda.run(10)
    assert raised.value is error


def test_an_alarm_rings_at_the_earliest_time_it_was_set_to() -> None:
    agenda, rung = Agenda(), list[int]()
    alarm = Alarm(agenda, Moment.ARRIVE, lambda: rung.append(agenda.now_ns))
    alarm.set(None)
    alarm.set(50)
    alarm.set(20)
    alarm.set(30)
    agenda.run(100)
    assert rung == [20]


def test_an_alarm_can_be_set_again_when_it_rings() -> None:
    agenda, rung = Agenda(), list[int]()

    def ring() -> None:
        rung.append(agenda.now_ns)
        alarm.set(agenda.now_ns + 10)

    alarm = Alarm(agenda, Moment.ARRIVE, ring)
    alarm.set(5)
    agenda.run(30)
    assert rung == [5, 15, 25]
