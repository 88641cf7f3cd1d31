"""What is wrong in a scenario file, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic_core import PydanticCustomError

from sim.errors import UserError

PROBLEM = "scenario_problem"
LONGEST_QUOTE = 60


class ScenarioError(UserError):
    """One mistake in a scenario: ``str(error)`` is ``file:line:column key: message``."""

    def __init__(self, file: str, line: int | None, column: int | None, key: str, message: str) -> None:
        self.file = file
        self.line = line
        self.column = column
        self.key = key
        self.message = message
        super().__init__(str(self))

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"
        place = f"{where} {self.key}" if self.key else where
        return " ".join(f"{place}: {self.message}".splitlines())


def problem(message: str, path: tuple[str | int, ...] = (), *, at_key: bool = False) -> PydanticCustomError:
    """A validation error whose place is ``path`` below the part being validated.

    ``at_key`` points at the key itself instead of its value.
    """
    return PydanticCustomError(PROBLEM, "{text}", {"text": message, "path": path, "at_key": at_key})


def suggestion(word: str, allowed: Iterable[str]) -> str:
    """``did you mean 'rate'? `` when an allowed word is close, else nothing; then all allowed words."""
    words = [str(candidate) for candidate in allowed]
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    hint = f"did you mean {quoted(close[0])}? " if close else ""
    return f"{hint}allowed: {', '.join(words)}" if words else "nothing is allowed here"


def quoted(text: object) -> str:
    """A wrong word in quotes, cut if it is long."""
    word = str(text)
    return f"'{word}'" if len(word) <= LONGEST_QUOTE else f"'{word[:LONGEST_QUOTE]}…'"
