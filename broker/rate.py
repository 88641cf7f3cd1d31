"""Rate: so much per second, and so much at once."""

import time
from collections.abc import Callable


class RateLimit:
    """Lets `rate_hz` things through per second, in bursts of up to `burst`.

    Args:
        rate_hz: on average.
        burst: at once.
        clock: gives seconds that never go back.
    """

    __slots__ = ("_at_s", "_burst", "_clock", "_left", "_rate_hz")

    def __init__(self, rate_hz: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_hz = rate_hz
        self._burst = burst
        self._clock = clock
        self._left = float(burst)
        self._at_s = clock()

    def takes(self) -> bool:
        """Whether one more may pass now."""
        now_s = self._clock()
        self._left = min(self._left + (now_s - self._at_s) * self._rate_hz, self._burst)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
