import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import (
    BernoulliLoss,
    CapacityTrace,
    CrossTraffic,
    ExponentialJitter,
    FronthaulLaw,
    GilbertElliottLoss,
    Jitter,
    LognormalJitter,
    Loss,
    NoJitter,
    NoLoss,
    NormalJitter,
    UniformJitter,
)

LATENCY_NS = 1_000_000
# The quantiles (k + 1/2) / n: moments over them are those of the law, up to a small tail.
QUANTILES = [(k + 0.5) / 20_000 for k in range(20_000)]
JITTERS: list[Jitter] = [
    NoJitter(),
    UniformJitter(200_000),
    NormalJitter(300_000),
    ExponentialJitter(250_000),
    LognormalJitter(100_000, 0.8),
]
LOSSES: list[Loss] = [NoLoss(), BernoulliLoss(0.1), GilbertElliottLoss(0.05, 0.3, 0.9, 0.01)]


def delays_ns(jitter: Jitter, latency_ns: int = LATENCY_NS) -> np.ndarray:
    return np.array([jitter.delay_ns(u, latency_ns) for u in QUANTILES], dtype=np.float64)


def moments(jitter: Jitter, latency_ns: int = LATENCY_NS) -> tuple[float, float]:
    delays = delays_ns(jitter, latency_ns)
    return float(delays.mean()), float(delays.std())


@pytest.mark.parametrize("jitter", JITTERS, ids=lambda jitter: jitter.kind)
@given(u=st.floats(0.0, 1.0, exclude_min=True, exclude_max=True), latency_ns=st.integers(0, 10**9))
def test_a_delay_is_whole_and_never_negative(jitter: Jitter, u: float, latency_ns: int) -> None:
    delay_ns = jitter.delay_ns(u, latency_ns)
    assert type(delay_ns) is int
    assert delay_ns >= 0


@pytest.mark.parametrize("jitter", JITTERS, ids=lambda jitter: jitter.kind)
def test_a_larger_number_never_gives_a_smaller_delay(jitter: Jitter) -> None:
    assert (np.diff(delays_ns(jitter)) >= 0).all()


def test_moments_of_uniform() -> None:
    assert moments(UniformJitter(200_000)) == pytest.approx((LATENCY_NS, 200_000 / math.sqrt(3)), rel=1e-4)


def test_uniform_is_cut_off_at_zero() -> None:
    assert moments(UniformJitter(30), 10) == pytest.approx((20, 40 / math.sqrt(12)), rel=1e-2)


def test_moments_of_normal() -> None:
    assert moments(NormalJitter(100_000)) == pytest.approx((LATENCY_NS, 100_000), rel=1e-3)


@pytest.mark.parametrize("latency_ns", [0, 100_000, 400_000])
def test_moments_of_truncated_normal(latency_ns: int) -> None:
    sigma_ns, normal = 300_000, NormalDist()
    cut = -latency_ns / sigma_ns
    mills = normal.pdf(cut) / (1 - normal.cdf(cut))
    mean = latency_ns + sigma_ns * mills
    deviation = sigma_ns * math.sqrt(1 + cut * mills - mills**2)
    assert moments(NormalJitter(sigma_ns), latency_ns) == pytest.approx((mean, deviation), rel=1e-3)


def test_moments_of_exponential() -> None:
    assert moments(ExponentialJitter(250_000)) == pytest.approx((LATENCY_NS + 250_000, 250_000), rel=1e-3)


def test_moments_of_lognormal() -> None:
    mean = 100_000 * math.exp(0.8**2 / 2)
    deviation = mean * math.sqrt(math.expm1(0.8**2))
    assert moments(LognormalJitter(100_000, 0.8)) == pytest.approx((LATENCY_NS + mean, deviation), rel=5e-3)


def test_no_spread_is_no_jitter() -> None:
    for jitter in UniformJitter(0), NormalJitter(0), ExponentialJitter(0), LognormalJitter(0, 1.0):
        assert moments(jitter) == (LATENCY_NS, 0.0)


def test_gilbert_elliott_closed_forms() -> None:
    gilbert = GilbertElliottLoss(to_bad=0.02, to_good=0.25)
    assert gilbert.rate == pytest.approx(0.02 / 0.27)
    assert gilbert.mean_burst_frames == pytest.approx(4.0)
    same_in_both = GilbertElliottLoss(0.3, 0.6, loss_in_bad=0.2, loss_in_good=0.2)
    assert same_in_both.rate == pytest.approx(0.2)
    assert same_in_both.mean_burst_frames == pytest.approx(1 / (1 - 0.2))
    assert GilbertElliottLoss(0.1, 0.0).mean_burst_frames == math.inf


@given(
    st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(0.01, 1.0), st.floats(0.0, 1.0, exclude_max=True)
)
@settings(max_examples=25)
def test_rate_and_bursts_are_those_of_the_chain_in_matrices(
    to_bad: float, to_good: float, loss_in_bad: float, loss_in_good: float
) -> None:
    turns = np.array([[1 - to_bad, to_bad], [to_good, 1 - to_good]])  # from good and bad to good and bad
    share = np.linalg.solve(np.stack([turns[:, 0] - np.array([1, 0]), np.ones(2)]), [0, 1])
    assert share @ turns == pytest.approx(share)
    lost = np.array([loss_in_good, loss_in_bad])
    rate, twice = share @ lost, (share * lost) @ turns @ lost
    loss = GilbertElliottLoss(to_bad, to_good, loss_in_bad, loss_in_good)
    assert loss.bad_share == pytest.approx(share[1])
    assert loss.rate == pytest.approx(rate)
    # Each burst has one end, so bursts come as often as a loss is followed by none.
    assert loss.rate / loss.mean_burst_frames == pytest.approx(rate - twice, abs=1e-12)


def test_what_a_draw_means_turns_at_the_probabilities_themselves() -> None:
    bernoulli = BernoulliLoss(0.25)
    assert [bernoulli.draw(False, u, 0.5) for u in (0.249, 0.25)] == [(True, False), (False, False)]
    gilbert = GilbertElliottLoss(to_bad=0.25, to_good=0.5, loss_in_bad=0.75, loss_in_good=0.125)
    assert [gilbert.draw(True, u, 0.0)[0] for u in (0.749, 0.75)] == [True, False]
    assert [gilbert.draw(False, u, 0.0)[0] for u in (0.124, 0.125)] == [True, False]
    assert [gilbert.draw(True, 0.0, u)[1] for u in (0.499, 0.5)] == [False, True]
    assert [gilbert.draw(False, 0.0, u)[1] for u in (0.249, 0.25)] == [True, False]
    assert [gilbert.first_state(u) for u in (0.333, 0.334)] == [True, False]
    assert not bernoulli.first_state(0.0)
    assert NoLoss().draw(False, 0.0, 0.0) == (False, False)


def test_a_packet_of_cross_traffic_has_eight_bits_a_byte() -> None:
    assert CrossTraffic("constant", 1, packet_bytes=100).packet_bits == 800


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.kind)
def test_kinds_are_comparable_values(loss: Loss) -> None:
    assert loss in LOSSES
    assert FronthaulLaw(loss=loss) == FronthaulLaw(loss=loss)
    assert hash(FronthaulLaw(loss=loss)) == hash(FronthaulLaw(loss=loss))


def test_trace_holds_from_its_times_on() -> None:
    trace = CapacityTrace((0, 10, 20), (5, 0, 7))
    pieces = [trace.piece_at(t_ns) for t_ns in (0, 9, 10, 19, 20, 10**18)]
    assert pieces == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda: FronthaulLaw(capacity_bps=-1),
        lambda: FronthaulLaw(capacity_bps=math.nan),
        lambda: FronthaulLaw(capacity_bps=math.inf),
        lambda: FronthaulLaw(latency_ns=-1),
        lambda: FronthaulLaw(queue_bytes=-1),
        lambda: FronthaulLaw(discipline="lifo"),  # type: ignore[arg-type]
        lambda: FronthaulLaw(outages=((5, 5),)),
        lambda: FronthaulLaw(outages=((5, 9), (8, 12))),
        lambda: FronthaulLaw(outages=((5, 9), (9, 12))),
        lambda: FronthaulLaw(burst_bytes=-1),
        lambda: CapacityTrace((), ()),
        lambda: CapacityTrace((1,), (5,)),
        lambda: CapacityTrace((0, 0), (5, 5)),
        lambda: CapacityTrace((0, 1), (5,)),
        lambda: CapacityTrace((0,), (-5,)),
        lambda: UniformJitter(-1),
        lambda: NormalJitter(-1),
        lambda: ExponentialJitter(-1),
        lambda: LognormalJitter(1, math.nan),
        lambda: BernoulliLoss(1.01),
        lambda: BernoulliLoss(math.nan),
        lambda: GilbertElliottLoss(-0.1, 0.5),
        lambda: GilbertElliottLoss(0.0, 0.0),
        lambda: GilbertElliottLoss(0.1, 1.1),
        lambda: GilbertElliottLoss(0.1, 0.1, loss_in_bad=-0.1),
        lambda: GilbertElliottLoss(0.1, 0.1, loss_in_good=1.1),
        lambda: CrossTraffic("poisson", 0),
        lambda: CrossTraffic("poisson", 1, packet_bytes=0),
        lambda: CrossTraffic("bursty", 1),  # type: ignore[arg-type]
    ],
)
def test_impossible_values_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError):
        make()
