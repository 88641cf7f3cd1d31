"""Path tables: the propagation paths between UE positions and base stations, kept in HDF5."""

from __future__ import annotations

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
_MIRROR_SCALE = 127.0


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


def read_path_table(path: Path) -> PathTable:
    """Read a path table.

    Raises:
        PathTableError: The file is missing, damaged, of another version, or its parts do not fit together.
    """
    if not path.is_file():
        raise PathTableError(f"{path}: no such path table")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != "fronthaul-sim path table":
                raise PathTableError(f"{path}: not a path table")
            if int(file.attrs["version"]) != FORMAT_VERSION:
                raise PathTableError(
                    f"{path}: path table version {file.attrs['version']}, expected {FORMAT_VERSION}"
                )
            column = {name: file[name][...] for name in file}
            world_key = str(file.attrs["world_key"])
            bs_ids = tuple(str(bs) for bs in file.attrs["bs_ids"])
            attributes = {k[len("about.") :]: v for k, v in file.attrs.items() if k.startswith("about.")}
    except PathTableError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise PathTableError(f"{path}: damaged path table ({str(error).splitlines()[0]})") from error
    missing = {"position_m", "count", "dropped_energy", *_PATH_COLUMNS} - column.keys()
    if missing:
        raise PathTableError(f"{path}: damaged path table (no {', '.join(sorted(missing))})")
    count = column["count"].astype(np.int32)
    ends = np.cumsum(count.reshape(-1), dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    num_ue = len(column["position_m"])
    wanted = {
        "position_m": (num_ue, 3),
        "count": (num_ue, len(bs_ids)),
        "dropped_energy": (num_ue, len(bs_ids)),
        **{name: (total, *_PER_PATH.get(name, ())) for name in _PATH_COLUMNS},
    }
    if any(column[name].shape != shape for name, shape in wanted.items()):
        raise PathTableError(f"{path}: damaged path table (its parts differ in length)")
    finite = all(np.isfinite(column[n]).all() for n in ("position_m", "gain_re", "gain_im", "delay_s"))
    if not finite:
        raise PathTableError(f"{path}: damaged path table (numbers that are not finite)")
    return PathTable(
        world_key,
        bs_ids,
        column["position_m"],
        (ends - count.reshape(-1)).reshape(count.shape),
        count,
        (column["gain_re"] + 1j * column["gain_im"]).astype(np.complex64),
        column["delay_s"],
        column["ue_direction"],
        column["bs_direction"],
        column["mirror"].astype(np.float32) / np.float32(_MIRROR_SCALE),
        column["image_distance_m"],
        column["line_of_sight"],
        column["dropped_energy"].astype(np.float32),
        attributes,
    )
