"""Links against queueing theory: exact where it is exact, inside a confidence interval where it is a mean."""

import math
from bisect import bisect_right
from fractions import Fraction
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import (
    BernoulliLoss,
    CapacityTrace,
    CrossTraffic,
    ExponentialJitter,
    Fate,
    FronthaulLaw,
    FronthaulLink,
    GilbertElliottLoss,
    Packet,
    stream,
)

SECOND_NS = 10**9
FAR_NS = 10**15


def carry(law: FronthaulLaw, times_ns: list[int], sizes_bits: list[int], seed: int = 1) -> list[Fate]:
    """Offer one packet at each time; give the fates in the order of the packets."""
    link = FronthaulLink("bs1", law, seed)
    fates = []
    for seq, (t_ns, size_bits) in enumerate(zip(times_ns, sizes_bits, strict=True)):
        fates += link.offer(Packet("bs1", "ue1", seq, size_bits, t_ns), t_ns)
        fates += link.advance(t_ns)
    while (next_ns := link.next_event_ns()) is not None:
        fates += link.advance(next_ns)
    return sorted(fates, key=lambda fate: fate.packet.seq)


def poisson_ns(rate_per_s: float, count: int, seed: int = 1) -> list[int]:
    gaps = stream(seed, "test arrivals", "").exponential(SECOND_NS / rate_per_s, count)
    return np.cumsum(gaps).round().astype(np.int64).tolist()  # type: ignore[no-any-return]


def mean_and_half_width(values: list[float], batches: int = 30) -> tuple[float, float]:
    """Give the mean and its 99 % interval, by batch means (Student's t, 29 degrees of freedom: 2.756)."""
    means = np.array([batch.mean() for batch in np.array_split(np.array(values), batches)])
    return float(means.mean()), 2.756 * float(means.std(ddof=1)) / math.sqrt(batches)


@pytest.mark.parametrize(
    ("capacity_bps", "size_bits", "gap_ns"),
    [(10_000_000, 8_640, 900_000), (3, 1, 1_000_000_000), (7_777_777, 999, 100_000), (40 * 10**9, 1, 0)],
)
def test_d_d_1_is_exact(capacity_bps: int, size_bits: int, gap_ns: int) -> None:
    times_ns = [k * gap_ns for k in range(500)]
    fates = carry(FronthaulLaw(capacity_bps=capacity_bps, latency_ns=11), times_ns, [size_bits] * 500)
    service_ns = Fraction(size_bits * SECOND_NS, capacity_bps)
    last = Fraction(0)
    for t_ns, fate in zip(times_ns, fates, strict=True):
        last = max(Fraction(t_ns), last) + service_ns
        assert fate.t_ns == math.ceil(last) + 11


def departures_ns(
    times_ns: list[int], sizes_bits: list[int], trace: CapacityTrace, burst_bits: int = 0
) -> list[float]:
    """Give the exact departures: the server's work W(t) = integral of the capacity, inverted.

    A token bucket lets each go as soon as all that is left of it and of those before fits into the bucket.
    """
    ends = [*trace.times_ns[1:], FAR_NS]
    done = [Fraction(0)]
    for start, end, capacity in zip(trace.times_ns, ends, trace.capacities_bps, strict=True):
        done.append(done[-1] + Fraction(capacity * (end - start), SECOND_NS))

    def work_at(t_ns: int) -> Fraction:
        piece = bisect_right(trace.times_ns, t_ns) - 1
        return done[piece] + Fraction(trace.capacities_bps[piece] * (t_ns - trace.times_ns[piece]), SECOND_NS)

    def reached_at(work: Fraction) -> float:
        if work <= 0:
            return 0
        for piece, capacity in enumerate(trace.capacities_bps):
            if work <= done[piece + 1]:
                return math.ceil(trace.times_ns[piece] + (work - done[piece]) * SECOND_NS / capacity)
        return math.inf

    departures, last = [], Fraction(0)
    for t_ns, size_bits in zip(times_ns, sizes_bits, strict=True):
        last = max(work_at(t_ns), last) + size_bits
        departures.append(max(t_ns, reached_at(last - burst_bits)))
    return departures


@given(
    times_ns=st.lists(st.integers(0, 2_000), min_size=1, max_size=20).map(sorted),
    sizes_bits=st.lists(st.integers(1, 5_000), min_size=20, max_size=20),
    pieces=st.dictionaries(st.integers(1, 4_000), st.integers(0, 20 * 10**9), max_size=6),
    first_bps=st.integers(0, 20 * 10**9),
    last_bps=st.integers(10**9, 2 * 10**9),
    burst_bytes=st.sampled_from([0, 0, 1, 60, 600, 6_000]),
)
def test_any_capacity_over_time_is_exact(
    times_ns: list[int],
    sizes_bits: list[int],
    pieces: dict[int, int],
    first_bps: int,
    last_bps: int,
    burst_bytes: int,
) -> None:
    pieces = {0: first_bps, **pieces, 5_000: last_bps}
    trace = CapacityTrace(tuple(sorted(pieces)), tuple(pieces[t_ns] for t_ns in sorted(pieces)))
    sizes_bits = sizes_bits[: len(times_ns)]
    fates = carry(FronthaulLaw(capacity_bps=trace, burst_bytes=burst_bytes), times_ns, sizes_bits)
    assert [fate.t_ns for fate in fates] == departures_ns(times_ns, sizes_bits, trace, 8 * burst_bytes)


@pytest.mark.parametrize("queued", [0, 2, 3])
def test_a_bucket_lets_a_burst_out_at_once_and_the_rest_at_the_capacity(queued: int) -> None:
    law = FronthaulLaw(capacity_bps=8_000_000, burst_bytes=3_000, queue_bytes=1_000 * queued)
    fates = carry(law, [0] * 8 + [20_000_000] * 4, [8_000] * 12)
    assert [fate.t_ns // 1_000_000 for fate in fates if fate.cause is None] == [
        *[0, 0, 0, 1, 2, 3][: 3 + queued],
        *[20, 20, 20, 21][: 4 if queued else 3],
    ]
    assert sum(fate.cause == "queue_full" for fate in fates) == 8 - 3 - queued + (not queued)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_m_d_1_waits_as_pollaczek_and_khinchine_say(load: float) -> None:
    size_bits, capacity_bps, count = 8_640, 10_000_000, 40_000
    service_ns = size_bits * SECOND_NS / capacity_bps
    times_ns = poisson_ns(load * capacity_bps / size_bits, count)
    fates = carry(FronthaulLaw(capacity_bps=capacity_bps), times_ns, [size_bits] * count)
    mean_ns, half_width_ns = mean_and_half_width([fate.queued_ns for fate in fates])
    expected_ns = load * service_ns / (2 * (1 - load))
    assert half_width_ns < 0.1 * expected_ns
    assert abs(mean_ns - expected_ns) < half_width_ns


@pytest.mark.parametrize("load", [0.5, 2.0])
def test_without_a_queue_the_loss_is_erlangs(load: float) -> None:
    size_bits, capacity_bps, count = 1_000, 10_000_000, 30_000
    times_ns = poisson_ns(load * capacity_bps / size_bits, count)
    law = FronthaulLaw(capacity_bps=capacity_bps, queue_bytes=0)
    fates = carry(law, times_ns, [size_bits] * count)
    blocked, half_width = mean_and_half_width([float(fate.cause == "queue_full") for fate in fates])
    assert half_width < 0.02
    assert abs(blocked - load / (1 + load)) < half_width


def test_cross_traffic_keeps_a_probe_waiting_as_m_d_1() -> None:
    load, capacity_bps, count = 0.6, 10_000_000, 8_000
    service_ns = 12_000 * SECOND_NS / capacity_bps
    law = FronthaulLaw(
        capacity_bps=capacity_bps, cross_traffic=CrossTraffic("poisson", round(load * capacity_bps))
    )
    fates = carry(law, [k * 5_000_000 for k in range(1, count + 1)], [1] * count)
    mean_ns, half_width_ns = mean_and_half_width([fate.queued_ns for fate in fates])
    expected_ns = load * service_ns / (2 * (1 - load))
    assert half_width_ns < 0.1 * expected_ns
    assert abs(mean_ns - expected_ns) < half_width_ns


def test_constant_cross_traffic_takes_exactly_its_share() -> None:
    law = FronthaulLaw(capacity_bps=10_000_000, cross_traffic=CrossTraffic("constant", 2_000_000, 1_250))
    link = FronthaulLink("bs1", law, seed=1)
    link.advance(100 * SECOND_NS)
    assert link.cross_bits == pytest.approx(200_000_000, abs=10_000)
    assert link.utilisation() == pytest.approx(0.2, abs=1e-4)
    assert link.counts().sent == 0


@pytest.mark.parametrize(
    "loss",
    [
        BernoulliLoss(0.02),
        GilbertElliottLoss(to_bad=0.01, to_good=0.2),
        GilbertElliottLoss(to_bad=0.05, to_good=0.4, loss_in_bad=0.7, loss_in_good=0.02),
    ],
)
def test_losses_come_as_often_and_as_long_as_they_should(loss: BernoulliLoss | GilbertElliottLoss) -> None:
    count = 60_000
    fates = carry(FronthaulLaw(loss=loss), list(range(count)), [1] * count)
    lost = [fate.cause == "loss" for fate in fates]
    rate, half_width = mean_and_half_width([float(one) for one in lost])
    assert half_width < 0.2 * loss.rate
    assert abs(rate - loss.rate) < half_width
    bursts = [float(len(list(run))) for is_lost, run in groupby(lost) if is_lost]
    expected = loss.mean_burst_frames if isinstance(loss, GilbertElliottLoss) else 1 / (1 - loss.rate)
    mean, half_width = mean_and_half_width(bursts)
    assert half_width < 0.1 * expected
    assert abs(mean - expected) < half_width


def test_jitter_through_a_link_has_its_moments() -> None:
    count = 20_000
    law = FronthaulLaw(latency_ns=1_000_000, jitter=ExponentialJitter(200_000))
    fates = carry(law, [k * 1_000_000 for k in range(count)], [1] * count)
    extra_ns = [fate.t_ns - fate.packet.t_sample_ns - 1_000_000 for fate in fates]
    mean_ns, half_width_ns = mean_and_half_width([float(extra) for extra in extra_ns])
    assert half_width_ns < 0.05 * 200_000
    assert abs(mean_ns - 200_000) < half_width_ns
    assert np.std(extra_ns) == pytest.approx(200_000, rel=0.05)
