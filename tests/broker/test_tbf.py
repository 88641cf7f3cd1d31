"""The law beside the kernel's token bucket, in short; `scripts/compare_tbf` shows the figures."""

from dataclasses import replace

import pytest

from broker.law import FronthaulLaw
from tests.broker.tbf import JUDGED_FROM_S, Carried, Comparison, Situation, compare, situations, through_law
from tests.namespaces import why_not

TRIES = 12
"""A kernel whose timer is late loses capacity that the bucket cannot hold; a busy host is so for seconds."""


@pytest.fixture(scope="module")
def kernel() -> None:
    """Skips where the kernel does not let us."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.mark.netns
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("name", ["90 % load, mixed sizes", "130 %, mixed, deep bucket"])
def test_the_kernel_delays_and_drops_alike(name: str) -> None:
    situation = next(one for one in situations(lasts_s=0.8) if one.name == name)
    said = []
    for _ in range(TRIES):
        both = compare(situation)
        assert len(both.kernel.delays_s) > 100
        assert both.kernel.p99_s > JUDGED_FROM_S
        assert (both.kernel.dropped > 20) is ("130 %" in name)
        if not both.faults:
            return
        said += both.faults
    pytest.fail(f"{TRIES} times: {said}")


@pytest.mark.netns
@pytest.mark.usefixtures("kernel")
def test_another_law_would_be_noticed() -> None:
    situation = next(one for one in situations(lasts_s=0.5) if "deep" in one.name and "130" in one.name)
    both = compare(situation)
    for wrong in (
        replace(situation, rate_bps=4_400_000),
        replace(situation, burst_bytes=0, limit_bytes=25_000),
    ):
        law = through_law(wrong, [round(1e9 * t_s) for t_s in situation.times_s])
        assert Comparison(situation, both.kernel, law).faults


def test_a_verdict_is_about_what_exceeds_five_milliseconds_and_drops() -> None:
    situation = Situation("one", 1, 1, 1, (0.0,), (100,))
    assert situation.law == FronthaulLaw(capacity_bps=1, burst_bytes=1, queue_bytes=1)

    def faults(kernel: Carried, law: Carried) -> list[str]:
        return Comparison(situation, kernel, law).faults

    assert faults(Carried((0.004,), 0), Carried((0.001,), 0)) == []
    assert faults(Carried((0.100,), 100), Carried((0.104,), 102)) == []
    assert faults(Carried((0.100,), 100), Carried((0.106,), 103)) == [
        "mean 106.00 ms instead of 100.00 ms",
        "p99 106.00 ms instead of 100.00 ms",
        "103 drops instead of 100",
    ]
    assert faults(Carried((0.001,), 0), Carried((0.001,), 1)) == ["1 drops instead of 0"]
