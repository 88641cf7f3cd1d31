"""Any measured or simulated set of CSI with positions: what an HDF5 file must hold, and its groups."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from models.dataset_places import TOLERANCES_M, closest_m, linked, told_apart, ways

AXES = "[sample, bs, slot, antenna, subcarrier]"
SAME_PLACE_M = 0.01
"""Positions that agree to a centimetre are one place, whatever the tolerance."""
CELLS = 100
"""About as many cells as the area is cut into where (almost) every sample has a place of its own."""
TALL = 3
"""Samples are cut by height where it varies this many times as much as the place on the ground."""
MIN_GROUPS = 6
HELD_OUT_SHARE = 0.15
"""Of the groups, for validation, and as many again for testing."""
PARTS = ("training", "validation", "test")
BY = ("trajectory_id", "position", "cell", "height")
PLACE = re.compile(r"-?[0-9]{1,19} -?[0-9]{1,19} -?[0-9]{1,19}")
"""The name of a place: its position in units of :data:`SAME_PLACE_M`."""
_STRICT = ConfigDict(extra="forbid")


class DatasetError(ValueError):
    """A data set that cannot be used: one clear line."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Snapshots of CSI and where they were taken.

    Attributes:
        csi: ``[sample, bs, slot, antenna, subcarrier]``: complex64, or float32 where only magnitudes
            are known. Zero where a base station did not hear the UE.
        heard: ``[sample, bs]``, bool.
        position_m: ``[sample, 3]``.
        trajectory: Name of each sample's trajectory ``[sample]``, or None.
        bs_position_m: ``[bs, 3]``, or None.
        carrier_hz, subcarrier_spacing_hz: Of the CSI.
        noise_variance: Noise power in the units of ``|csi|^2``; None: unknown.
        digest: Of samples, positions and trajectories, hexadecimal.
        unheard: Samples left out since no base station heard them.
        name: Of the file.
    """

    csi: NDArray[Any]
    heard: NDArray[np.bool_]
    position_m: NDArray[np.float64]
    trajectory: NDArray[np.str_] | None
    bs_position_m: NDArray[np.float64] | None
    carrier_hz: float
    subcarrier_spacing_hz: float
    noise_variance: float | None
    digest: str
    unheard: int
    name: str

    def __len__(self) -> int:
        return len(self.csi)

    @property
    def has_phase(self) -> bool:
        """Whether the CSI is complex."""
        return bool(np.iscomplexobj(self.csi))

    @property
    def num_bs(self) -> int:
        """Base stations."""
        return int(self.csi.shape[1])


@dataclass(frozen=True)
class Grouping:
    """Which samples belong together: they are never divided between training and test.

    Attributes:
        by: ``trajectory_id``; ``position`` if many samples share each place; ``cell`` if almost each has its
            own; ``height`` if those lie above each other.
        cell_m: Side of the square cells, or height of the slices.
        within_m: Steps up to which positions are connected to places; 0: positions are of one place if they
            agree to a centimetre, and squares may cut places.
    """

    by: str
    cell_m: float = 0.0
    within_m: float = 0.0

    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        if self.by not in BY:
            raise ValueError(f"by must be one of {', '.join(BY)}, not {self.by!r}")
        for name in ("cell_m", "within_m"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if self.by in ("cell", "height") and not self.cell_m:
            raise ValueError(f"cell_m must be positive where groups are made by {self.by}")

    def labels(self, dataset: Dataset) -> NDArray[np.str_]:
        """Name of each sample's group, ``[sample]``; found once for a data set.

        Raises:
            DatasetError: Groups are trajectories, and the data set names none.
        """
        found = _FOUND.setdefault(dataset, {})
        if self not in found:
            found[self] = self._labels(dataset)
        return found[self]

    def _labels(self, dataset: Dataset) -> NDArray[np.str_]:
        if self.by == "trajectory_id":
            if dataset.trajectory is None:
                raise DatasetError(f"{dataset.name}: trajectory_id is missing, by which the split was made")
            return dataset.trajectory
        position_m = dataset.position_m
        if self.by == "position":
            cells = np.round(position_m / SAME_PLACE_M).astype(np.int64)
            if self.within_m > 0:
                cells = _smallest(cells, linked(position_m, self.within_m))
            return _named(cells)
        if self.within_m > 0:
            place = linked(position_m, self.within_m)
            moved = ways(position_m, place, self.within_m)
            position_m = np.where(moved[:, None], position_m, _smallest(position_m, place))
        cut = position_m[:, 2:] if self.by == "height" else position_m[:, :2]
        return _named(np.floor(cut / self.cell_m).astype(np.int64))

    def known(self, dataset: Dataset, names: Collection[str]) -> NDArray[np.bool_]:
        """Which samples ``[sample]`` are of groups with these names, or of the places that they name.

        Raises:
            DatasetError: See :meth:`labels`.
        """
        if self.by != "position" or self.within_m <= 0 or not names:
            return np.isin(self.labels(dataset), list(names))
        cells = np.array([[int(number) for number in name.split()] for name in names])
        together = linked(np.concatenate([dataset.position_m, cells * SAME_PLACE_M]), self.within_m)
        return np.isin(together[: len(dataset)], together[len(dataset) :])

    def __str__(self) -> str:
        joined = f", joined within {self.within_m * 100:.0f} cm" if self.within_m > 0 else ""
        return {
            "trajectory_id": "by trajectory_id",
            "position": f"by position{joined}",
            "cell": f"by squares of {self.cell_m:.3g} m",
            "height": f"by slices of {self.cell_m:.3g} m of height",
        }[self.by]


_FOUND: WeakKeyDictionary[Dataset, dict[Grouping, NDArray[np.str_]]] = WeakKeyDictionary()
"""Labels that were found: a second for 100,000 samples, and asked for a dozen times."""


@dataclass(frozen=True)
class Split:
    """Which groups are for what.

    Attributes:
        grouping: How samples were grouped.
        seed: Of the drawing of groups.
        training, validation, test: Names of groups.
    """

    grouping: Grouping
    seed: int
    training: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    __pydantic_config__ = _STRICT

    def __post_init__(self) -> None:
        names = [name for part in PARTS for name in getattr(self, part)]
        if self.grouping.by == "position" and not all(map(PLACE.fullmatch, names)):
            raise ValueError("names of places must be three whole numbers")

    def rows(self, dataset: Dataset, part: str) -> NDArray[np.int64]:
        """Samples of a part, ``training``, ``validation`` or ``test``."""
        return np.flatnonzero(np.isin(self.grouping.labels(dataset), getattr(self, part)))

    def apart_m(self, dataset: Dataset) -> float:
        """Smallest distance between the position of a test sample and that of a training sample, m."""
        test, training = (self.rows(dataset, part) for part in ("test", "training"))
        return closest_m(dataset.position_m[test], dataset.position_m[training])


def split_of(dataset: Dataset, seed: int = 1) -> Split:
    """Groups for training, validation and test, drawn evenly; the same for the same file and seed.

    Raises:
        DatasetError: There are too few groups, or those to train on are all of one place.
    """
    grouping = grouping_of(dataset)
    names = np.unique(grouping.labels(dataset))
    if not (np.ptp(dataset.position_m, axis=0) > SAME_PLACE_M).any():
        raise DatasetError(f"{dataset.name}: all samples are of one place; there is nothing to learn")
    if len(names) < MIN_GROUPS:
        what = {"trajectory_id": "trajectories", "position": "places"}.get(
            grouping.by, f"{str(grouping).removeprefix('by ')} (trajectory_id can name other groups)"
        )
        raise DatasetError(
            f"{dataset.name}: samples of {len(names)} {what}; at least {MIN_GROUPS} are needed, since whole "
            "groups are held out, never single samples"
        )
    drawn = names[np.random.default_rng(seed).permutation(len(names))]
    held = max(1, round(HELD_OUT_SHARE * len(names)))
    test, validation, training = drawn[:held], drawn[held : 2 * held], drawn[2 * held :]
    split = Split(grouping, seed, *(tuple(map(str, sorted(part))) for part in (training, validation, test)))
    if not (dataset.position_m[split.rows(dataset, "training")].std(axis=0) > SAME_PLACE_M).any():
        raise DatasetError(
            f"{dataset.name}: positions of the training groups vary by less than "
            f"{SAME_PLACE_M * 100:.0f} cm; there is nothing to learn (are they in metres?)"
        )
    return split


def grouping_of(dataset: Dataset) -> Grouping:
    """By what samples of a data set belong together: its own names of trajectories, or their positions."""
    if dataset.trajectory is not None:
        return Grouping("trajectory_id")
    position_m = dataset.position_m
    by_position = Grouping("position")
    found = told_apart(position_m, len(np.unique(by_position.labels(dataset))))
    places = len(np.unique(position_m, axis=0)) if found.places is None else found.places
    if 2 * places <= len(dataset):
        return Grouping("position", within_m=found.within_m)
    extent = np.ptp(position_m[:, :2], axis=0)
    height_m = float(np.ptp(position_m[:, 2]))
    joined_m = max(found.largest_m, TOLERANCES_M[0])
    if height_m > TALL * float(extent.max()):
        return Grouping("height", height_m * 3 / CELLS, joined_m)
    side = max(float(np.sqrt(extent[0] * extent[1] / CELLS)), float(extent.max()) * 3 / CELLS)
    return Grouping("cell", side, joined_m) if side > 0 else by_position


def _smallest(values: NDArray[Any], number: NDArray[np.int64]) -> NDArray[Any]:
    """Of the rows ``[n, 3]`` with the same number the smallest, by the first axis, then the others."""
    order = np.lexsort((*values.T[::-1], number))
    _, first = np.unique(number[order], return_index=True)
    return values[order[first]][number]


def _named(numbers: NDArray[np.int64]) -> NDArray[np.str_]:
    places, inverse = np.unique(numbers, axis=0, return_inverse=True)
    names: NDArray[np.str_] = np.array([" ".join(map(str, place)) for place in places])[inverse.ravel()]
    return names


def read_dataset(path: Path) -> Dataset:
    """Read a data set.

    Links that hold a number that is not finite, or zeros alone, count as not heard. Samples that nobody heard
    are left out, and counted.

    Raises:
        DatasetError: The file is missing, is not HDF5, or a field is missing or of a wrong kind or shape.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read(path, file)
    except DatasetError:
        raise
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file") from error
    except MemoryError as error:
        raise DatasetError(f"{path}: takes more memory than there is ({error})") from error
    except (OSError, RuntimeError) as error:
        reason = "not an HDF5 file, or damaged" if path.is_file() else "not a file"
        raise DatasetError(f"{path}: {reason}") from error


def _read(path: Path, file: Any) -> Dataset:
    csi = _csi(path, file)
    count, num_bs = csi.shape[:2]
    position = _numbers(path, file, "position_m", (count, 3))
    assert position is not None
    trajectory = _trajectory(path, file, count)
    _numbers(path, file, "time_s", (count,), optional=True)
    sites = _numbers(path, file, "bs_position_m", (num_bs, 3), optional=True)
    carrier = _attribute(path, file, "carrier_hz")
    spacing = _attribute(path, file, "subcarrier_spacing_hz")
    noise = _attribute(path, file, "noise_variance") if "noise_variance" in file.attrs else None
    links = csi.reshape(count, num_bs, -1)
    heard = np.isfinite(links).all(axis=2) & (links != 0).any(axis=2)
    used = heard.any(axis=1)
    if not used.any():
        raise DatasetError(f"{path}: no base station heard anything: {_why_unheard(csi)}")
    csi[~heard] = 0
    if not used.all():
        csi, heard, position = csi[used], heard[used], position[used]
        trajectory = None if trajectory is None else trajectory[used]
    digest = hashlib.blake2b(digest_size=16)
    for values in (csi, position, *([] if trajectory is None else [trajectory])):
        digest.update(f"{values.shape} {values.dtype}".encode())
        digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    return Dataset(
        csi, heard, position, trajectory, sites, carrier, spacing, noise,
        digest.hexdigest(), int((~used).sum()), str(path),
    )  # fmt: skip


def _why_unheard(csi: NDArray[Any]) -> str:
    """What is wrong with all links; subcarriers that are not finite in any but links of zeros are named."""
    measured = csi[(np.nan_to_num(csi) != 0).any(axis=(2, 3, 4))]
    broken = np.flatnonzero(~np.isfinite(measured).any(axis=(0, 1, 2)))
    if not 0 < len(broken) < csi.shape[-1]:
        return "all CSI is zero or not finite"
    numbers = ", ".join(map(str, broken[:5])) + (", …" if len(broken) > 5 else "")
    which = f"subcarrier {numbers} is" if len(broken) == 1 else f"subcarriers {numbers} are"
    return f"{which} not finite in every link; leave out what is never measured"


def _csi(path: Path, file: Any) -> NDArray[Any]:
    given = [name for name in ("csi", "csi_magnitude") if name in file]
    if len(given) != 1:
        found = "both are there" if given else f"found: {', '.join(sorted(file)) or 'nothing'}"
        raise DatasetError(f"{path}: exactly one of csi (complex) and csi_magnitude is needed; {found}")
    name = given[0]
    stored = _stored(path, file, name)
    if stored.ndim != 5 or 0 in stored.shape:
        raise DatasetError(f"{path}: {name} must be {AXES}, none of them empty, not {list(stored.shape)}")
    kinds, wanted = ("c", "complex64") if name == "csi" else ("fiu", "float32")
    if stored.dtype.kind not in kinds:
        other = ""
        if name == "csi":
            fields = stored.dtype.names or ()
            pair = f"; its fields {' and '.join(fields)} have to be put together as one complex number"
            other = pair if len(fields) == 2 else "; magnitudes alone go into csi_magnitude"
        raise DatasetError(f"{path}: {name} must be {wanted}, not {stored.dtype}{other}")
    values: NDArray[Any] = stored[()].astype(wanted, copy=False)
    if name == "csi_magnitude" and (values < 0).any():
        raise DatasetError(f"{path}: csi_magnitude must not be negative (are these decibels?)")
    return values


def _stored(path: Path, file: Any, name: str) -> Any:
    if name not in file:
        raise DatasetError(f"{path}: {name} is missing; found: {', '.join(sorted(file))}")
    try:
        stored = file[name]
    except (KeyError, OSError) as error:
        raise DatasetError(f"{path}: {name} is a link to something that is not there") from error
    if not isinstance(stored, h5py.Dataset):
        raise DatasetError(f"{path}: {name} must be an array, not a group")
    if stored.shape is None:
        raise DatasetError(f"{path}: {name} is empty")
    return stored


def _numbers(
    path: Path, file: Any, name: str, shape: tuple[int, ...], *, optional: bool = False
) -> NDArray[np.float64] | None:
    if optional and name not in file:
        return None
    stored = _stored(path, file, name)
    if name == "position_m" and stored.shape == (shape[0], 2):
        raise DatasetError(
            f"{path}: position_m must be {list(shape)}, not {list(stored.shape)}: give it a third column, "
            "the height, zero if it is not known"
        )
    if stored.dtype.kind not in "fiu" or stored.shape != shape:
        raise DatasetError(
            f"{path}: {name} must be numbers {list(shape)}, as many as csi has, "
            f"not {stored.dtype} {list(stored.shape)}"
        )
    values: NDArray[np.float64] = stored[()].astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if len(wrong):
        remedy = f"give all of them, or no {name}" if optional else "leave them out"
        raise DatasetError(
            f"{path}: {name} is not finite in {len(wrong)} of {len(values)} rows, first in row {wrong[0]}: "
            f"{remedy}"
        )
    return values


def _trajectory(path: Path, file: Any, count: int) -> NDArray[np.str_] | None:
    if "trajectory_id" not in file:
        return None
    stored = _stored(path, file, "trajectory_id")
    text = h5py.check_string_dtype(stored.dtype) is not None
    if stored.shape != (count,) or not (text or stored.dtype.kind in "iu"):
        raise DatasetError(
            f"{path}: trajectory_id must be whole numbers or text [{count}], "
            f"not {stored.dtype} {list(stored.shape)}"
        )
    try:
        values = stored.asstr("utf-8")[()] if text else stored[()]
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: trajectory_id holds bytes that are no UTF-8 text") from error
    return np.array([str(value) for value in values])


def _attribute(path: Path, file: Any, name: str) -> float:
    if name not in file.attrs:
        raise DatasetError(f"{path}: attribute {name} is missing; found: {', '.join(file.attrs) or 'none'}")
    try:
        value = float(np.asarray(file.attrs[name]).item())
    except (TypeError, ValueError):
        value = float("nan")
    if not (np.isfinite(value) and value > 0):
        raise DatasetError(f"{path}: attribute {name} must be a positive number, not {file.attrs[name]!r}")
    return value
