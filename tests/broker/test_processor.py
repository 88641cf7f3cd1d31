"""What a part asks of the processor holds for it alone, and is no error where the system refuses."""

import os
import threading
from collections.abc import Callable

import pytest

from broker.processor import stay_on, work_through

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setscheduler"), reason="needs Linux")


def in_a_thread(work: Callable[[], None]) -> None:
    """Scheduling is a thread's own: what is asked here stays with it."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def test_a_part_works_through() -> None:
    def work() -> None:
        work_through()
        assert os.sched_getscheduler(0) == os.SCHED_BATCH

    in_a_thread(work)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_part_with_a_real_time_priority_keeps_the_lowest() -> None:
    def work() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
        except PermissionError:
            pytest.skip("needs the right to real-time priorities")
        work_through()
        assert os.sched_getscheduler(0) == os.SCHED_FIFO
        assert os.sched_getparam(0).sched_priority == 1

    in_a_thread(work)


def test_a_part_stays_on_a_core_it_may_use_counted_round_and_round() -> None:
    cores = sorted(os.sched_getaffinity(0))

    def work() -> None:
        stay_on(len(cores) + 1)
        assert os.sched_getaffinity(0) == {cores[1 % len(cores)]}

    in_a_thread(work)
    assert sorted(os.sched_getaffinity(0)) == cores
