"""How a part that goes by the wall clock asks the processor to treat it: let it finish, and where."""

import logging
import os

_LOG = logging.getLogger(__name__)


def work_through() -> None:
    """Finish what is begun before others get their turn, and do not interrupt others when woken.

    Parts that are woken by the same instant would otherwise take turns on a core every few milliseconds: all
    of them would be ready last, and would have thrown one another's work out of the caches. Where whoever
    started the run gave it a real-time priority, the part keeps the lowest: what carries comes first.
    """
    try:
        if os.sched_getscheduler(0) == os.SCHED_FIFO:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        else:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except (AttributeError, OSError) as error:  # not Linux, or not allowed
        _LOG.debug("scheduled as usual (%s)", error)


def stay_on(core: int) -> None:
    """Keep to one of the cores that this process may use, counted from 0 and beyond the last from 0 again."""
    try:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})
    except (AttributeError, OSError) as error:
        _LOG.debug("not kept to a core (%s)", error)
