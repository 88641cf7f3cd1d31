"""The fuzzer's harness without a fuzzer: readers refuse what is no message, and do nothing else."""

import pytest

from tests.broker.fuzz import guided, one_input, seeds


def test_ten_thousand_inputs_find_nothing() -> None:
    reached, kept = guided(10_000)
    assert reached > 80
    assert kept > 20, "it finds its way to lines that good messages do not reach"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 9])
def test_short_inputs(size: int) -> None:
    for first in range(8):
        one_input((bytes([first]) + b"\xff" * size)[:size])


def test_seeds_are_good_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.broker.fuzz as harness

    monkeypatch.setattr(harness, "FrameError", ZeroDivisionError)
    monkeypatch.setattr(harness, "ControlError", ZeroDivisionError)
    for seed in seeds():
        one_input(seed)
