"""The state of a training in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def keep_state(state: dict[str, Any], path: Path) -> None:
    """Write a state; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def take_state(
    path: Path, device: str, take: Callable[[dict[str, Any]], None], refused: type[Exception]
) -> None:
    """Hand a kept state to ``take``; what goes wrong there is one line that names the file.

    Args:
        path: Of the state.
        device: Where its arrays are wanted.
        take: Gets the state. What it raises of type ``refused`` is passed on as it is.
        refused: What is raised if the file is missing, damaged, or does not fit.
    """
    try:
        take(torch.load(path, map_location=device, weights_only=True))
    except refused:
        raise
    except Exception as error:  # a damaged file can fail in any way there is
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise refused(f"{path}: damaged, or of another configuration ({reason})") from error
