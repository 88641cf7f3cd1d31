"""One contract over both disciplines, then what only `freshest` does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import Packet
from broker.queue import Carried, FifoQueue, FreshestQueue, Queue

DISCIPLINES = [FifoQueue, FreshestQueue]


def snapshot(seq: int, *, ue: str = "ue1", bits: int = 100) -> Carried:
    return Carried(Packet("bs1", ue, seq, bits, t_sample_ns=1000 * seq), bits, 0)


def cross(bits: int = 100) -> Carried:
    return Carried(None, bits, 0)


@pytest.mark.parametrize("discipline", DISCIPLINES)
def test_first_come_first_served(discipline: type[Queue]) -> None:
    queue = discipline(None)
    arriving = [snapshot(0), cross(), snapshot(0, ue="ue2"), cross()]
    assert [queue.put(carried) for carried in arriving] == [None] * 4
    assert list(queue.waiting) == arriving
    assert [queue.get() for _ in range(5)] == [*arriving, None]
    assert queue.bits == 0


@pytest.mark.parametrize("discipline", DISCIPLINES)
def test_full_to_the_last_bit(discipline: type[Queue]) -> None:
    queue = discipline(300)
    assert queue.put(snapshot(0, bits=200)) is None
    refused = snapshot(0, ue="ue2", bits=101)
    assert queue.put(refused) == (refused, "queue_full")
    assert queue.put(cross(100)) is None
    assert queue.bits == 300


@pytest.mark.parametrize("discipline", DISCIPLINES)
@given(offers=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(1, 80)), max_size=40))
def test_what_goes_in_comes_out_or_fell_out(
    discipline: type[Queue], offers: list[tuple[int, int, int]]
) -> None:
    queue, left = discipline(200), []
    for ue, seq, bits in offers:
        carried = snapshot(seq, ue=f"ue{ue}", bits=bits) if ue else cross(bits)
        fell_out = queue.put(carried)
        if fell_out is not None:
            left.append(fell_out[0])
        assert queue.bits == sum(waiting.size_bits for waiting in queue.waiting) <= 200
        if seq == 0 and (served := queue.get()) is not None:
            left.append(served)
    assert len(left) + len(queue.waiting) == len(offers)
    assert len({id(carried) for carried in [*left, *queue.waiting]}) == len(offers)


def test_newer_snapshot_takes_the_place_of_the_waiting_one() -> None:
    queue = FreshestQueue(None)
    old, other, new = snapshot(0), snapshot(0, ue="ue2"), snapshot(1)
    queue.put(old)
    queue.put(other)
    assert queue.put(new) == (old, "superseded")
    assert list(queue.waiting) == [new, other]


def test_older_snapshot_gives_way_to_the_waiting_one() -> None:
    queue = FreshestQueue(None)
    new, old = snapshot(5), snapshot(4)
    queue.put(new)
    assert queue.put(old) == (old, "superseded")
    assert list(queue.waiting) == [new]


def test_the_same_snapshot_once_more_takes_the_place_of_the_first() -> None:
    queue = FreshestQueue(None)
    first, again = snapshot(5), snapshot(5)
    queue.put(first)
    assert queue.put(again) == (first, "superseded")
    assert list(queue.waiting) == [again]


def test_newer_snapshot_that_does_not_fit_leaves_the_old_one() -> None:
    queue = FreshestQueue(250)
    old, large = snapshot(0), snapshot(1, bits=251)
    queue.put(old)
    assert queue.put(large) == (large, "queue_full")
    assert list(queue.waiting) == [old]
    assert queue.bits == 100


def test_newer_snapshot_fits_where_the_old_one_was() -> None:
    queue = FreshestQueue(100)
    old, new = snapshot(0), snapshot(1)
    queue.put(old)
    assert queue.put(new) == (old, "superseded")
    assert list(queue.waiting) == [new]
    assert queue.bits == 100


def test_same_ue_heard_by_two_base_stations_is_two_snapshots() -> None:
    queue = FreshestQueue(None)
    queue.put(snapshot(0))
    assert queue.put(Carried(Packet("bs2", "ue1", 1, 100, 1000), 100, 0)) is None
    assert len(queue.waiting) == 2
