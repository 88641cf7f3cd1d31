"""The summary on the terminal."""

import io

import pytest
from rich.console import Console

from sim.summary_text import metres, percent, print_summary, seconds
from tests.sim.kit import run_quietly


def printed(summary: dict[str, object], width: int = 100) -> str:
    stream = io.StringIO()
    print_summary(summary, Console(file=stream, width=width))
    return stream.getvalue()


def test_a_run_in_words() -> None:
    loss = {"bs2": {"loss": {"kind": "bernoulli", "rate": "100 %"}}}
    result = run_quietly({"fronthaul": {"default": {"latency": "1 ms"}, "links": loss}})
    text = printed(result.summary)
    lines = text.splitlines()
    assert lines[0].startswith("test: 300.0 ms simulated in ")
    assert lines[1].split()[:3] == ["3D", "error", "mean"]
    assert any(line.split()[:5] == ["bs2", "3", "0", "0", "3"] for line in lines)
    assert any(line.split()[:5] == ["all", "18", "15", "15", "3"] for line in lines)
    assert "fixes 3, missed 0" in text
    assert "latency p50 55.0 ms, p99 55.0 ms" in text
    assert "of the CSI (η), on the wire" in text
    assert result.fingerprint in text
    assert result.digest in text


def test_a_run_without_a_fix_has_dashes() -> None:
    result = run_quietly({"fronthaul": {"default": {"loss": {"kind": "bernoulli", "rate": "100 %"}}}})
    text = printed(result.summary)
    assert "fixes 0, missed 3" in text
    assert "latency p50 –, p99 –" in text


def test_an_invalid_run_says_so_first() -> None:
    summary = run_quietly().summary | {"errors": ["frames are not conserved"], "complete": False}
    lines = printed(summary).splitlines()
    assert "(incomplete)" in lines[0]
    assert lines[1] == "INVALID: frames are not conserved"


def test_it_fits_a_narrow_terminal() -> None:
    assert max(map(len, printed(run_quietly().summary, width=80).splitlines())) <= 80


def test_long_times_break_no_line() -> None:
    summary = run_quietly().summary
    times = {"latency_p50_s": 0.257, "latency_p99_s": 0.2571, "age_p50_s": 0.3068, "age_p99_s": 0.356}
    lines = printed(summary | times, width=80).splitlines()
    assert "latency p50 257.0 ms, p99 257.1 ms" in lines
    assert "age of information p50 306.8 ms, p99 356.0 ms" in lines


@pytest.mark.parametrize("width", [80, 40])
def test_many_causes_break_no_number_and_no_name(width: int) -> None:
    summary = run_quietly().summary
    counts = summary["frames"]
    causes = {"link_down": 31_000, "queue_full": 123_456, "superseded": 7, "bs_down": 654_321, "late": 12}
    for count in (counts, *counts["per_bs"].values()):
        count["dropped"] = dict(causes)
    lines = printed(summary, width).splitlines()
    heads = [line.split("  ") for line in lines if line.startswith(("frames", "dropped"))]
    assert [[name.strip() for name in head if name.strip()] for head in heads] == [
        ["frames", "sent", "delivered", "used", "dropped", "in flight", "delay p50", "p99"],
        ["dropped", "link down", "queue full", "superseded", "bs down", "late"],
    ]
    rows = [line.split() for line in lines if line.startswith("bs2")]
    assert rows[0][4] == str(sum(causes.values()))
    assert rows[1][1:] == [str(count) for count in causes.values()]
    lines = printed(summary, 200).splitlines()
    (head,) = [line for line in lines if line.startswith(("frames", "dropped"))]
    assert "superseded" in head, "with room for all it is one table"


def test_quantities() -> None:
    assert (metres(1.234), metres(None)) == ("1.23 m", "–")
    assert (seconds(0.0123), seconds(12.3), seconds(None)) == ("12.3 ms", "12.3 s", "–")
    assert (seconds(1234.5), seconds(9999.9), seconds(86_400.0)) == ("1234 s", "10000 s", "86400 s")
    assert (percent(0.0625), percent(None)) == ("6.25 %", "–")
