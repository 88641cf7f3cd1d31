"""Base stations whose messages do not arrive: what `--missing` means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from broker.streams import stream
from sim.errors import UserError


@dataclass(frozen=True)
class Missing:
    """Which base stations are missing from every snapshot.

    Attributes:
        bs: This one; None if it is left to chance, or none is.
        count: So many. One is taken in turn, so that every choice is judged on every snapshot; more are
            drawn for each snapshot.
    """

    bs: str | None = None
    count: int = 0

    def __str__(self) -> str:
        return self.bs or str(self.count)

    def choices(self, bs_ids: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the cases that are judged one by one."""
        if self.bs is not None:
            return (self.bs,)
        return bs_ids if self.count == 1 else ("",)

    def present(self, bs_ids: tuple[str, ...], count: int, seed: int, split: str) -> NDArray[np.bool_]:
        """Whose messages arrive, ``[choices, count, num_bs]``; the same seed gives the same."""
        names = self.choices(bs_ids)
        present = np.ones((len(names), count, len(bs_ids)), dtype=np.bool_)
        if names != ("",):
            for number, name in enumerate(names):
                present[number, :, bs_ids.index(name)] = False
        elif self.count:
            order = stream(seed, "missing", split).random((count, len(bs_ids))).argsort(axis=1)
            np.put_along_axis(present[0], order[:, : self.count], values=False, axis=1)
        return present


def missing_of(word: str, bs_ids: tuple[str, ...]) -> Missing:
    """What a word of the command line means: a base station, or a number of them; raises UserError."""
    if word in bs_ids:
        return Missing(bs=word, count=1)
    if word.isascii() and word.isdecimal() and int(word) < len(bs_ids):
        return Missing(count=int(word))
    raise UserError(f"unknown '{word}' missing; one of {', '.join(bs_ids)}, or 0 to {len(bs_ids) - 1}")
