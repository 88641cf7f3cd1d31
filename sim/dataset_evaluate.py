"""What `python -m sim evaluate --dataset FILE --model FOLDER` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from broker.streams import stream
from sim.dataset_train import describe
from sim.errors import UserError
from sim.evaluate import FEWEST_GROUPS, NORMAL_95, Estimates, figures, intervals, lengths
from sim.evaluate import errors as errors_of

if TYPE_CHECKING:
    from models.dataset import Dataset, Split

Floats = NDArray[np.float64]
OURS = "network and regression"
CENTROID, NEIGHBOURS = "centroid of training positions", "nearest neighbours"
CANNOT_BE_WRONG_M = 1e-4
"""Errors up to this are rounding, along an axis on which all training places are one."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The samples that a model is judged on.

    Attributes:
        rows: Samples of the data set.
        group: Number of each one's group.
        about: Where they come from, in words.
    """

    rows: NDArray[np.int64]
    group: NDArray[np.int64]
    about: str


def evaluate_on_dataset(
    path: Path, folder: Path, *, whole: bool = False, seed: int = 1, report: Any = print
) -> list[dict[str, Any]]:
    """Judge a model on the groups of a data set that its training held out, beside two references.

    Args:
        path: The data set (HDF5).
        folder: The model's.
        whole: Judge all of another file, which the model was not trained on. There are no references then.
        seed: Of the bootstrap.
        report: Gets lines.

    Returns:
        One row per system.

    Raises:
        DatasetError: The set cannot be used.
        ModelError: The model cannot, or the set is of another shape or radio.
        UserError: The file is not the one that the model was trained on, or is, and ``whole`` is asked for.
    """
    from models.dataset import read_dataset
    from models.dataset_runtime import load_dataset_model

    model = load_dataset_model(folder)
    dataset = read_dataset(path)
    model.check(dataset)
    same = dataset.digest == model.trained_on.digest
    if same and whole:
        raise UserError(
            f"{path}: the model was trained on this file; without --whole, its test groups are judged"
        )
    if not same and not whole:
        raise UserError(
            f"{path}: not the file that {folder} was trained on ({model.trained_on.file}), so none of its "
            "groups are known to be held out; --whole judges all of it"
        )
    if same:
        describe(dataset, model.split, report)
    judged = judged_rows(dataset, model.split, whole=whole)
    report(f"judged on {judged.about}")
    truth = dataset.position_m[judged.rows]
    noise_variance = None if same else dataset.noise_variance
    position, covariance = model.locate(dataset.csi[judged.rows], dataset.heard[judged.rows], noise_variance)
    found: dict[str, tuple[Floats, Floats | None]] = {OURS: (position, covariance)}
    if same:
        found |= {name: (one, None) for name, one in references(dataset, model.split, judged.rows).items()}
    bits = {OURS: model.payload_bits}
    return [
        row_of(name, one - truth, claimed, judged, seed, model.free_axes) | {"payload_bits": bits.get(name)}
        for name, (one, claimed) in found.items()
    ]


def judged_rows(dataset: Dataset, split: Split, *, whole: bool) -> Judged:
    """Samples of the held-out test groups, or all of another file."""
    if not whole:
        rows = split.rows(dataset, "test")
        labels = split.grouping.labels(dataset)[rows]
        about = f"{len(rows)} samples of the {len(split.test)} groups held out for testing"
    else:
        rows = np.arange(len(dataset))
        about = f"all {len(rows)} samples of another file"
        if split.grouping.by == "trajectory_id" and dataset.trajectory is None:
            from models.dataset import grouping_of

            labels = grouping_of(dataset).labels(dataset)
            about += ", which has no trajectory_id to tell which of them the training knew"
        else:
            labels = split.grouping.labels(dataset)
            known = split.grouping.known(dataset, [*split.training, *split.validation])
            about += f"; {known.sum()} of them are of groups named like groups of the training"
    order = np.argsort(labels, kind="stable")
    _, number = np.unique(labels[order], return_inverse=True)
    return Judged(rows[order], number.astype(np.int64), about)


def references(dataset: Dataset, split: Split, rows: NDArray[np.int64]) -> dict[str, Floats]:
    """Positions by the two references, which saw the same groups as the network did."""
    from models.fingerprinting import FingerprintSpace, tuned

    training, validation = (split.rows(dataset, part) for part in ("training", "validation"))
    gain_db, spectrum = levels(dataset)
    heard = dataset.heard & dataset.heard[training].any(axis=0)

    def sample(chosen: NDArray[np.int64]) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        return gain_db[chosen], spectrum[chosen], heard[chosen]

    place = dataset.position_m
    space = FingerprintSpace.of(*sample(training))
    prints = tuned(space, sample(training), sample(validation), place[training], place[validation])
    centroid = np.tile(place[training].mean(axis=0), (len(rows), 1))
    named = f"{NEIGHBOURS} ({prints.neighbours}, {prints.kind})"
    return {named: prints.locate(space.points(prints.kind, *sample(rows))), CENTROID: centroid}


def levels(dataset: Dataset) -> tuple[Floats, Floats]:
    """Gain ``[sample, bs]`` and magnitudes over antennas and subcarriers, relative to it; dB, finite."""
    power = np.square(np.abs(dataset.csi).astype(np.float64)).mean(axis=2)
    power = power.reshape(*power.shape[:2], -1)
    mean = np.where(dataset.heard, power.mean(axis=2), 1.0)
    spectrum = 10 * np.log10(power / mean[..., None] + 1e-2)
    return 10 * np.log10(mean), spectrum


def row_of(
    name: str, error_m: Floats, covariance: Floats | None, judged: Judged, seed: int, free_axes: int
) -> dict[str, Any]:
    """Figures of one system, with confidence intervals over groups.

    Axes along which all training places are one, such as the height of a survey by hand, cannot be wrong: the
    squared error over what is claimed is divided by the number of the others alone, and along a corridor the
    ellipse is an interval.
    """
    draws = stream(seed, "bootstrap", "dataset")
    common = {"system": name, "samples": len(error_m), "groups": int(judged.group.max()) + 1}
    if covariance is None:
        estimates = Estimates(error_m, np.tile(np.eye(3), (len(error_m), 1, 1)))
        around = intervals(estimates, judged.group, draws)
        around.pop("anees", None)
        return common | errors_of(lengths(error_m)) | {"intervals": around}
    estimates = Estimates(error_m, covariance)
    values, around = figures(estimates), intervals(estimates, judged.group, draws)
    values["anees"] = (values["anees"] or 0.0) * 3 / free_axes
    if "anees" in around:
        around["anees"] = [value * 3 / free_axes for value in around["anees"]]
    wrong = np.flatnonzero(np.abs(error_m[:, :2]).max(axis=0) > CANNOT_BE_WRONG_M)
    if len(wrong) == 1:
        axis = wrong[0]
        inside = np.abs(error_m[:, axis]) <= NORMAL_95 * np.sqrt(covariance[:, axis, axis])
        values["coverage_h95"] = float(inside.mean())
    return common | values | {"intervals": around}


def print_dataset_rows(rows: Sequence[dict[str, Any]], console: Console | None = None) -> None:
    """Print the systems side by side."""
    from sim.evaluate_text import empty_table, metres, share
    from sim.summary_text import MISSING

    console = console or Console()
    errors = empty_table("system", "mean", "95 %", "median", "e90", left=1)
    axes = empty_table("", "H 50", "H 90", "V 50", "V 90", "within 1 m H, 3 m V", left=1)
    for table in (errors, axes):
        table.columns[0].no_wrap = False  # where a line is too short for all, names give way, not numbers
    for row in rows:
        around = row["intervals"].get("mean_m")
        errors.add_row(
            row["system"],
            metres(row["mean_m"]),
            f"{metres(around[0])}–{metres(around[1])}" if around else MISSING,
            metres(row["e50_m"]),
            metres(row["e90_m"]),
        )
        quantiles = (metres(row[name]) for name in ("h50_m", "h90_m", "v50_m", "v90_m"))
        axes.add_row(row["system"], *quantiles, share(row["availability"]))
    console.print(errors)
    console.print(axes)
    ours = rows[0]
    around = ours["intervals"].get("anees")
    between = f" ({metres(around[0])}–{metres(around[1])})" if around else ""
    few = "" if ours["intervals"] else f"; {FEWEST_GROUPS} are needed"
    console.print(
        f"Errors in m, intervals by bootstrap over groups{few}. A base station sends {ours['payload_bits']} "
        f"bits, and its gain. Covariances: ANEES {metres(ours['anees'])}{between}, 1 if honest; "
        f"{share(ours['coverage_h95'])} in the 95 % ellipse, {share(ours['coverage_v95'])} in the 95 % "
        "interval of height.",
        style="dim", soft_wrap=True,
    )  # fmt: skip
