"""Arrays of an `.npz` file that somebody else may have made: never code, and only so much."""

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 1 << 28
"""Of one array, unpacked; what is packed may be a thousandth of it."""


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Some arrays of a file, by name.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged, lacks one of them, or one is larger than `MOST_BYTES`.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            return {name: _read(archive, name) for name in names}
    except KeyError as error:
        raise ValueError(str(error.args[0])) from error
    except (
        EOFError,
        MemoryError,
        NotImplementedError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _read(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    member = archive.getinfo(f"{name}.npy")
    if member.file_size > MOST_BYTES:
        raise ValueError(f"{name} is of {member.file_size} bytes, at most {MOST_BYTES}")
    with archive.open(member) as stream:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array
