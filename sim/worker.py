"""The worker of a process: made once, called by name."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

_worker: Any = None


def begin(make_worker: Callable[[], Any]) -> None:
    """Make the worker of this process, which ends when its parent does, however that ended."""
    global _worker
    _worker = make_worker()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def perform(method: str, argument: Any) -> Any:
    """Call the worker of this process."""
    return getattr(_worker, method)(argument)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
