"""Embeddings of a scenario in a file, block by block in order of time: nobody has to hold all of them."""

from __future__ import annotations

import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Block = tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]
"""Of some snapshots ``latent [n, num_bs, dims]`` and ``gain_db [n, num_bs]``."""

DAMAGED = (ValueError, TypeError, AttributeError, KeyError, EOFError, zipfile.BadZipFile)
"""What NumPy says of a file that is not what it should be."""


class EmbeddingsFileError(ValueError):
    """A file of embeddings that is damaged, or does not hold what is asked for."""


class EmbeddingsFile:
    """What an `EmbeddingsWriter` wrote: an ``.npz`` archive whose members carry checksums.

    Args:
        path: where it is.

    Raises:
        OSError: it cannot be read.
        EmbeddingsFileError: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = path.open("rb")
        try:
            if not zipfile.is_zipfile(self._stream):
                raise EmbeddingsFileError("not an archive, or cut short")
            self._stream.seek(0)
            self._arrays = np.load(self._stream, allow_pickle=False)
            slots, antennas, subcarriers = self._arrays["csi_shape"].tolist()
        except BaseException as error:
            self._stream.close()
            if isinstance(error, DAMAGED):
                raise EmbeddingsFileError(_line_of(error)) from error
            raise
        self.csi_shape: tuple[int, int, int] = (slots, antennas, subcarriers)
        """Of the pilots: slots, antennas, subcarriers."""

    def block(self, number: int, size: int) -> Block:
        """One block, which has to be of so many snapshots; raises OSError and EmbeddingsFileError."""
        latent, gain_db = self._member(f"latent/{number}"), self._member(f"gain_db/{number}")
        if len(latent) != size or gain_db.shape != latent.shape[:2]:
            raise EmbeddingsFileError(f"block {number} is not of {size} snapshots")
        return latent, gain_db

    def _member(self, name: str) -> npt.NDArray[Any]:
        try:
            found: npt.NDArray[Any] = self._arrays[name]
        except DAMAGED as error:
            raise EmbeddingsFileError(_line_of(error)) from error
        return found

    def close(self) -> None:
        """Give the file back."""
        self._arrays.close()
        self._stream.close()


class EmbeddingsWriter:
    """Writes embeddings under another name until they are complete: whole, or not at all.

    Args:
        path: where they go.

    Raises:
        OSError: from all methods but `abandon`: there is no room, or no right to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._unfinished = path.with_name(f"{path.name}.{os.getpid()}.writing")
        self._archive = zipfile.ZipFile(self._unfinished, "w")
        self._blocks = 0

    def add(self, latent: npt.NDArray[np.float32], gain_db: npt.NDArray[np.float64]) -> None:
        """The next block."""
        self._write(f"latent/{self._blocks}", latent)
        self._write(f"gain_db/{self._blocks}", gain_db)
        self._blocks += 1

    def finish(self, csi_shape: tuple[int, int, int]) -> None:
        """That was the last one."""
        self._write("csi_shape", np.array(csi_shape))
        self._archive.close()
        self._unfinished.rename(self.path)

    def abandon(self) -> None:
        """Leave nothing behind; after `finish` there is nothing to leave."""
        with suppress(OSError, ValueError):  # there may be no room for its end
            self._archive.close()
        self._unfinished.unlink(missing_ok=True)

    def _write(self, name: str, array: npt.NDArray[Any]) -> None:
        with self._archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)


def _line_of(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
