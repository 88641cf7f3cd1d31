import math

import numpy as np
import pytest

from nodes.base_station import Heard, Payload
from nodes.policy import FitPolicy, InnovationPolicy, Link

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


def test_fit_remembers_what_is_on_its_way() -> None:
    policy = FitPolicy(link(8 * (960 + 150) / 0.040))  # a full message takes 40 ms
    assert policy(heard(0)) == FULL
    second = policy(heard(1))
    assert second is None  # what is left until its deadline does not do for 2 bits
    assert policy(heard(50)) == FULL


def test_innovation_is_silent_while_nothing_changes() -> None:
    policy = InnovationPolicy(bound=0.1, at_least_every_ns=300 * MS)
    assert policy(heard(0)) == FULL
    assert policy(heard(100, [1.05, 0.0])) is None
    assert policy(heard(200, [1.2, 0.0])) == FULL
    assert policy(heard(300, [1.2, 0.0])) is None
    assert policy(heard(300, [5.0, 0.0], "ue2")) == FULL
    assert policy(heard(500, [1.2, 0.0])) == FULL
