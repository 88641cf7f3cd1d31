"""The one place that converts between seconds, as people write them, and the integer nanoseconds of a run."""

NANOSECONDS_PER_SECOND = 1_000_000_000


def ns_from_s(seconds: float) -> int:
    """Nanoseconds nearest to a time in seconds."""
    return round(seconds * NANOSECONDS_PER_SECOND)


def s_from_ns(nanoseconds: int) -> float:
    """Seconds of a time in nanoseconds; ``ns_from_s`` gives the same back for runs of weeks."""
    return nanoseconds / NANOSECONDS_PER_SECOND
