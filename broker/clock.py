"""The clock of a run by the wall: nanoseconds since its start, the same in all its processes."""

import time


class WallClock:
    """Run time, from the time of day once and from the monotonic clock ever after.

    A step of the time of day after this clock was made does not move it. Hosts apart must agree on the time
    of day (NTP, PTP): what they differ by shows up as delay.

    Args:
        epoch_unix_ns: time of day at which the run time is 0.
        speed: run seconds per second, positive.
    """

    def __init__(self, epoch_unix_ns: int, speed: float = 1.0) -> None:
        if not 0.0 < speed < float("inf"):
            raise ValueError(f"speed is {speed}, must be positive")
        self.epoch_unix_ns = epoch_unix_ns
        self.speed = speed
        self._ahead_ns = time.time_ns() - epoch_unix_ns - time.monotonic_ns()

    def now_ns(self) -> int:
        """Nanoseconds of the run; negative before its start."""
        return int((time.monotonic_ns() + self._ahead_ns) * self.speed)

    def seconds_until(self, t_ns: int) -> float:
        """How long to wait for a run time, in seconds of the wall; 0 if it has passed."""
        return max(0.0, (t_ns - self.now_ns()) / self.speed / 1e9)
