"""Ctrl-C and SIGTERM end a run once, and not while something is written down."""

import os
import signal

import pytest

from sim.interruption import interruptible


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_interrupts_and_the_second_does_not(number: signal.Signals) -> None:
    with interruptible() as interruption:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert interruption.is_asked_for


def test_held_it_interrupts_where_the_run_looks() -> None:
    with interruptible() as interruption:
        interruption.look()
        interruption.held = True
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            interruption.look()


def test_an_ignored_ctrl_c_stays_ignored_and_handlers_come_back() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible() as interruption:
            os.kill(os.getpid(), signal.SIGINT)
            assert not interruption.is_asked_for
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
