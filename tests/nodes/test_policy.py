import math

import numpy as np
import pytest

from nodes.base_station import Heard, Payload, Place
from nodes.policy import DeltaPolicy, FitPolicy, InnovationPolicy, Link

MS = 1_000_000
FULL = Payload(10, 768)


def heard(t_ms: int, latent: list[float] | None = None, ue: str = "ue1") -> Heard:
    return Heard("bs1", ue, t_ms, t_ms * MS, 20.0, FULL, np.array(latent or [1.0, 0.0], np.float32))


def link(capacity_bps: float) -> Link:
    return Link(capacity_bps, latency_ns=MS, deadline_ns=50 * MS, processing_ns=2 * MS, overhead_bytes=150)


def test_fit_sends_all_where_nothing_limits() -> None:
    assert FitPolicy(link(math.inf))(heard(0)) == FULL
    assert FitPolicy(link(1e7))(heard(0)) == FULL


@pytest.mark.parametrize(("bits", "bytes_"), [(9, 864), (4, 384), (2, 192)])
def test_fit_sends_the_longest_message_that_is_in_time(bits: int, bytes_: int) -> None:
    exact_bps = 8 * (bytes_ + 150) / 0.047
    assert FitPolicy(link(exact_bps * 1.0001))(heard(0)) == Payload(bits, 768)
    shorter = FitPolicy(link(exact_bps * 0.9999))(heard(0))
    assert shorter == (Payload(bits - 1, 768) if bits > 2 else None)


def test_fit_is_silent_where_nothing_gets_through() -> None:
    assert FitPolicy(link(0.0))(heard(0)) is None


def test_fit_remembers_what_is_on_its_way() -> None:
    policy = FitPolicy(link(8 * (960 + 150) / 0.040))  # a full message takes 40 ms
    assert policy(heard(0)) == FULL
    second = policy(heard(1))
    assert second is None  # what is left until its deadline does not do for 2 bits
    assert policy(heard(50)) == FULL


def test_delta_is_silent_while_nothing_changes() -> None:
    policy = DeltaPolicy(bound=0.1, at_least_every_ns=300 * MS)
    assert policy(heard(0)) == FULL
    assert policy(heard(100, [1.05, 0.0])) is None
    assert policy(heard(200, [1.2, 0.0])) == FULL
    assert policy(heard(300, [1.2, 0.0])) is None
    assert policy(heard(300, [5.0, 0.0], "ue2")) == FULL
    assert policy(heard(500, [1.2, 0.0])) == FULL


def placed(t_ms: int, x_m: float, ue: str = "ue1") -> Heard:
    place = Place(np.array([x_m, 0.0, 0.0]), 0.01 * np.eye(3))
    return Heard("bs1", ue, t_ms, t_ms * MS, 20.0, FULL, locate=lambda: place)


def sent(policy: InnovationPolicy, x_m: list[float], every_ms: int = 100) -> list[int]:
    """Numbers of the snapshots that were sent."""
    return [seq for seq, x in enumerate(x_m) if policy(placed(every_ms * seq, x)) is not None]


def test_innovation_is_silent_about_what_moves_as_predicted() -> None:
    policy = InnovationPolicy(bound_m=0.5, at_least_every_ns=100_000 * MS)
    steady = [0.3 * seq for seq in range(60)]
    numbers = sent(policy, steady)
    assert numbers[0] == 0
    assert len(numbers) < 8
    assert max(numbers) < 20  # once both know the speed there is nothing to tell


def test_innovation_tells_of_a_turn() -> None:
    policy = InnovationPolicy(bound_m=0.5, at_least_every_ns=100_000 * MS)
    there_and_back = [0.3 * seq for seq in range(40)] + [12.0 - 0.3 * seq for seq in range(20)]
    numbers = sent(policy, there_and_back)
    assert [seq for seq in numbers if 20 <= seq < 40] == []
    assert 40 < next(seq for seq in numbers if seq >= 40) <= 44


def test_a_wider_bound_sends_less() -> None:
    wild = np.cumsum(np.random.default_rng(1).normal(0, 0.5, 200)).tolist()
    counts = [len(sent(InnovationPolicy(bound_m), wild)) for bound_m in (0.1, 0.5, 2.0)]
    assert counts[0] > counts[1] > counts[2] >= 20


def test_innovation_breaks_its_silence_with_each_multiple_of_a_time() -> None:
    policy = InnovationPolicy(bound_m=5.0, at_least_every_ns=1000 * MS)
    assert sent(policy, [0.0] * 31) == [0, 10, 20, 30]
    late = InnovationPolicy(bound_m=5.0, at_least_every_ns=1000 * MS)
    assert late(placed(700, 0.0)) == FULL
    assert late(placed(900, 0.0)) is None
    assert late(placed(1000, 0.0)) == FULL


def test_ues_have_nothing_to_do_with_each_other() -> None:
    policy = InnovationPolicy(bound_m=1.0, at_least_every_ns=100_000 * MS)
    assert policy(placed(0, 0.0)) == FULL
    assert policy(placed(0, 9.0, "ue2")) == FULL
    assert policy(placed(100, 0.0)) is None
    assert policy(placed(100, 9.0, "ue2")) is None


def test_what_cannot_be_located_is_not_sent() -> None:
    nowhere = Heard("bs1", "ue1", 0, 0, 20.0, FULL, locate=lambda: None)
    assert InnovationPolicy(1.0)(nowhere) is None
