"""Path tables: the propagation paths between UE positions and base stations, kept in HDF5."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

FORMAT_VERSION = 1
Array = NDArray[Any]


class PathTableError(ValueError):
    """A path table that is damaged, incomplete or of another version: one line that names the file."""


@dataclass(frozen=True)
class PathTable:
    """Paths of ``P`` UE positions to ``L`` base stations, ragged over the links.

    Link ``(p, l)`` owns the rows from ``first[p, l]`` on, ``count[p, l]`` of them, strongest first.

    Attributes:
        world_key: Digest of everything but the positions that shapes the paths.
        bs_ids: Names of the base stations, ``[L]``.
        position_m: UE positions in world axes, ``[P, 3]``, m, float64.
        first, count: Row ranges of the links, ``[P, L]``, int64 and int32.
        gain: Complex gains with the element pattern and polarisation, without the carrier phase, ``[R]``.
        delay_s: Propagation delays, ``[R]``, s, float64.
        ue_direction: Unit vectors from the UE along the departing rays, world axes, ``[R, 3]``.
        bs_direction: Unit vectors from the BS towards the arriving rays, world axes, ``[R, 3]``.
        mirror: Product of the mirrors between UE and BS side, ``[R, 3, 3]``; :func:`displace` uses it.
        image_distance_m: Distance from the UE to the point that stays put when the UE moves, ``[R]``, m.
        line_of_sight: Whether the path is the direct one, ``[R]``.
        dropped_energy: Share of the link's energy that was cut off with the weakest paths, ``[P, L]``.
        attributes: What else is known about the making of the table.
    """

    world_key: str
    bs_ids: tuple[str, ...]
    position_m: Array
    first: Array
    count: Array
    gain: Array
    delay_s: Array
    ue_direction: Array
    bs_direction: Array
    mirror: Array
    image_distance_m: Array
    line_of_sight: Array
    dropped_energy: Array
    attributes: dict[str, Any]

    def __len__(self) -> int:
        return int(self.position_m.shape[0])

    @property
    def num_bs(self) -> int:
        """Base stations, L."""
        return len(self.bs_ids)

    def select(self, rows: Array) -> PathTable:
        """The table of the given positions only (indices ``[n]``, in that order)."""
        count = self.count[rows]
        flat_count = count.reshape(-1)
        flat_first = self.first[rows].reshape(-1)
        ends = np.cumsum(flat_count, dtype=np.int64)
        starts = ends - flat_count
        total = int(ends[-1]) if len(ends) else 0
        source = np.repeat(flat_first - starts, flat_count) + np.arange(total, dtype=np.int64)
        return PathTable(
            self.world_key,
            self.bs_ids,
            self.position_m[rows],
            starts.reshape(count.shape),
            count,
            self.gain[source],
            self.delay_s[source],
            self.ue_direction[source],
            self.bs_direction[source],
            self.mirror[source],
            self.image_distance_m[source],
            self.line_of_sight[source],
            self.dropped_energy[rows],
            dict(self.attributes),
        )

    def at(self, row: int) -> tuple[PathTable, int]:
        """A table that has the row, and which of its rows it is: this one. See also :class:`PathFile`."""
        return self, row

    def power(self) -> Array:
        """Sum of the squared gains of each link, ``[P, L]``."""
        power = np.abs(self.gain.astype(np.complex128)) ** 2
        cumulated = np.concatenate([[0.0], np.cumsum(power)])
        result: Array = cumulated[self.first + self.count] - cumulated[self.first]
        return np.maximum(result, 0.0)

    def sites_in_sight(self) -> Array:
        """Number of base stations with a line-of-sight path, ``[P]``."""
        cumulated = np.concatenate([[0], np.cumsum(self.line_of_sight.astype(np.int64))])
        seen = cumulated[self.first + self.count] > cumulated[self.first]
        result: Array = seen.sum(axis=1)
        return result


_PATH_COLUMNS = {
    "gain_re": "float32",
    "gain_im": "float32",
    "delay_s": "float64",
    "ue_direction": "float32",
    "bs_direction": "float32",
    "mirror": "int8",
    "image_distance_m": "float32",
    "line_of_sight": "bool",
}
_PER_PATH = {"ue_direction": (3,), "bs_direction": (3,), "mirror": (3, 3)}
_MUST_BE_FINITE = ("gain_re", "gain_im", "delay_s")
_MIRROR_SCALE = 127.0
CHECKED_AT_ONCE = 1 << 17
"""Paths that are in memory while a file is checked."""


def concatenate(tables: list[PathTable]) -> PathTable:
    """One table of all the positions of several, which must be of one world."""
    head = tables[0]
    for table in tables[1:]:
        if table.world_key != head.world_key or table.bs_ids != head.bs_ids:
            raise PathTableError("path tables of different worlds cannot be joined")
    offsets = np.cumsum([0] + [len(table.gain) for table in tables[:-1]])
    joined = {
        name: np.concatenate([getattr(table, name) for table in tables])
        for name in (
            "position_m", "count", "gain", "delay_s", "ue_direction", "bs_direction", "mirror",
            "image_distance_m", "line_of_sight", "dropped_energy",
        )
    }  # fmt: skip
    first = np.concatenate([table.first + offset for table, offset in zip(tables, offsets, strict=True)])
    return PathTable(
        world_key=head.world_key, bs_ids=head.bs_ids, first=first, attributes=dict(head.attributes), **joined
    )


def write_path_table(table: PathTable, path: Path) -> None:
    """Write ``table`` to ``path`` as HDF5; the file appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with h5py.File(partial, "w") as file:
        file.attrs["format"] = "fronthaul-sim path table"
        file.attrs["version"] = FORMAT_VERSION
        file.attrs["world_key"] = table.world_key
        file.attrs["bs_ids"] = list(table.bs_ids)
        for key, value in table.attributes.items():
            file.attrs[f"about.{key}"] = value
        kept: dict[str, Array] = {
            "position_m": table.position_m.astype(np.float64),
            "count": table.count.astype(np.uint16),
            "dropped_energy": table.dropped_energy.astype(np.float16),
            "gain_re": table.gain.real.astype(np.float32),
            "gain_im": table.gain.imag.astype(np.float32),
            "delay_s": table.delay_s.astype(np.float64),
            "ue_direction": table.ue_direction.astype(np.float32),
            "bs_direction": table.bs_direction.astype(np.float32),
            "mirror": np.rint(table.mirror * _MIRROR_SCALE).astype(np.int8),
            "image_distance_m": table.image_distance_m.astype(np.float32),
            "line_of_sight": table.line_of_sight.astype(np.bool_),
        }
        for name, values in kept.items():
            compressed = (
                {"compression": "gzip", "compression_opts": 4, "shuffle": True} if values.size else {}
            )
            file.create_dataset(name, data=values, **compressed)
    partial.replace(path)


class PathFile:
    """A path table on disk, read in parts: what is in memory does not grow with the number of paths.

    Args:
        path: The file; its positions and counts are read, everything is checked.

    Raises:
        PathTableError: The file is missing, damaged, of another version, or its parts do not fit together.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise PathTableError(f"{path}: no such path table")
        with self._reading() as file:
            if file.attrs.get("format") != "fronthaul-sim path table":
                raise PathTableError(f"{path}: not a path table")
            version = int(file.attrs["version"])
            if version != FORMAT_VERSION:
                raise PathTableError(f"{path}: path table version {version}, expected {FORMAT_VERSION}")
            self.world_key = str(file.attrs["world_key"])
            self.bs_ids = tuple(str(bs) for bs in file.attrs["bs_ids"])
            about = {key: value for key, value in file.attrs.items() if key.startswith("about.")}
            self.attributes = {key[len("about.") :]: value for key, value in about.items()}
            missing = {"position_m", "count", "dropped_energy", *_PATH_COLUMNS} - file.keys()
            if missing:
                raise PathTableError(f"{path}: damaged path table (no {', '.join(sorted(missing))})")
            self.position_m: Array = file["position_m"][...]
            self.count: Array = file["count"][...].astype(np.int32)
            self.dropped_energy: Array = file["dropped_energy"][...].astype(np.float32)
            ends = np.cumsum(self.count.reshape(-1), dtype=np.int64)
            self.num_paths = int(ends[-1]) if len(ends) else 0
            self._check_shapes({name: file[name].shape for name in file})
            self.first: Array = (ends - self.count.reshape(-1)).reshape(self.count.shape)
            self._check_finite(file)

    def __len__(self) -> int:
        return len(self.position_m)

    def rows(self, rows: Array) -> PathTable:
        """The positions with these indices, ``[n]``, in that order; best close together in the file."""
        first, count = self.first[rows], self.count[rows]
        low = int(first.min(initial=self.num_paths))
        high = max(int((first + count).max(initial=0)), low)
        with self._reading() as file:
            column = {name: file[name][low:high] for name in _PATH_COLUMNS}
        return PathTable(
            self.world_key,
            self.bs_ids,
            self.position_m[rows],
            first - low,
            count,
            (column["gain_re"] + 1j * column["gain_im"]).astype(np.complex64),
            column["delay_s"],
            column["ue_direction"],
            column["bs_direction"],
            column["mirror"].astype(np.float32) / np.float32(_MIRROR_SCALE),
            column["image_distance_m"],
            column["line_of_sight"],
            self.dropped_energy[rows],
            dict(self.attributes),
        )

    @contextmanager
    def _reading(self) -> Iterator[h5py.File]:
        try:
            with h5py.File(self.path, "r") as file:
                yield file
        except PathTableError:
            raise
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            why = str(error).splitlines()[0]
            raise PathTableError(f"{self.path}: damaged path table ({why})") from error

    def _check_shapes(self, found: dict[str, tuple[int, ...]]) -> None:
        links = (len(self.position_m), len(self.bs_ids))
        wanted = {
            "position_m": (len(self.position_m), 3),
            "count": links,
            "dropped_energy": links,
            **{name: (self.num_paths, *_PER_PATH.get(name, ())) for name in _PATH_COLUMNS},
        }
        if any(found[name] != shape for name, shape in wanted.items()):
            raise PathTableError(f"{self.path}: damaged path table (its parts differ in length)")

    def _check_finite(self, file: h5py.File) -> None:
        finite = bool(np.isfinite(self.position_m).all())
        for name in _PATH_COLUMNS:
            for start in range(0, self.num_paths, CHECKED_AT_ONCE):
                part = file[name][start : start + CHECKED_AT_ONCE]
                finite = finite and (name not in _MUST_BE_FINITE or bool(np.isfinite(part).all()))
        if not finite:
            raise PathTableError(f"{self.path}: damaged path table (numbers that are not finite)")


def read_path_table(path: Path) -> PathTable:
    """Read a whole path table.

    Raises:
        PathTableError: The file is missing, damaged, of another version, or its parts do not fit together.
    """
    file = PathFile(path)
    return file.rows(np.arange(len(file)))
