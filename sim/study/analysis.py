"""What the results of a study say: figures against parameters with confidence, Pareto front, knee."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sim.study.results import column_of

Floats = npt.NDArray[np.float64]

ERROR = "track_error_3d_mean_m"
AVAILABILITY = "availability"
LATENCY = "latency_p99_s"
AGE = "age_p50_s"
WIRE = "wire_bps"

# Two-sided 95 % quantile of Student's t for 1 to 30 degrees of freedom.
T_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145),
    *(2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048),
    *(2.045, 2.042),
)
BENDS = 0.15
"""A curve has a knee when it bends away from its chord by this share of its height."""
MATTERS = 0.05
"""A figure does not depend on a parameter that changes it by less than this share."""
ENOUGH = 0.99
"""A system is taken to work where so many snapshots have a fix."""
AVAILABLE = 0.9
"""Combinations with fewer fixes have no place on the Pareto front: a track that is lost costs nothing."""


@dataclass(frozen=True, slots=True)
class StudyAxis:
    """An axis as the manifest describes it."""

    name: str
    labels: tuple[str, ...]
    numbers: tuple[float, ...] | None
    """One for each label; None where they are words."""

    @property
    def column(self) -> str:
        """Its column in the results."""
        return column_of(self.name)

    @property
    def short(self) -> str:
        """The name without the path."""
        return self.name.rpartition(".")[2]

    @property
    def log(self) -> bool:
        """Whether its values are spread over more than a decade."""
        numbers = self.numbers
        return numbers is not None and min(numbers) > 0 and max(numbers) / min(numbers) > 10

    def places(self) -> Floats:
        """Where its values stand on a drawing, in its own unit, logarithm or number of value."""
        if self.numbers is None:
            return np.arange(len(self.labels), dtype=np.float64)
        return np.log10(self.numbers) if self.log else np.array(self.numbers)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A figure at each value of an axis: mean over all else, and the 95 % interval of that over seeds."""

    mean: Floats
    low: Floats
    high: Floats


def axes_of(manifest: Mapping[str, Any]) -> tuple[StudyAxis, ...]:
    """The axes of a study that have more than one value, numbers in rising order."""
    axes = []
    for axis in manifest["study"]["axes"]:
        pairs = [(label, number) for label, number in axis["values"]]
        if axis["numeric"]:
            pairs.sort(key=lambda pair: pair[1])
        if len(pairs) > 1:
            numbers = tuple(number for _, number in pairs) if axis["numeric"] else None
            axes.append(StudyAxis(axis["name"], tuple(label for label, _ in pairs), numbers))
    return tuple(axes)


class Results:
    """The table of a study, its columns as arrays.

    Args:
        table: of a `StudyFolder`.
        axes: its axes.
    """

    def __init__(self, table: pa.Table, axes: Sequence[StudyAxis]) -> None:
        self.axes = tuple(axes)
        self._table = table
        self.ok = np.asarray(table.column("error").is_null())
        """[n] whether a run has figures."""
        self.repeat = np.asarray(table.column("repeat"))
        self.group = np.asarray(table.column("group"))
        self._at = {axis.name: self._positions(axis, table.column(axis.column).to_pylist()) for axis in axes}

    def __len__(self) -> int:
        return len(self._table)

    def figure(self, name: str) -> Floats:
        """A column, NaN where there is no value."""
        column = self._table.column(name).to_numpy()
        return np.asarray(column, dtype=np.float64)

    def at(self, axis: StudyAxis) -> npt.NDArray[np.int64]:
        """The number of each row's value on an axis."""
        return self._at[axis.name]

    def curve(self, figure: str, axis: StudyAxis, rows: npt.NDArray[np.bool_] | None = None) -> Curve:
        """A figure against an axis: averaged per seed over all other axes, then over seeds."""
        values, at = self.figure(figure), self.at(axis)
        use = np.isfinite(values) & (np.ones(len(values), np.bool_) if rows is None else rows)
        mean, half = np.full(len(axis.labels), np.nan), np.zeros(len(axis.labels))
        for position in range(len(axis.labels)):
            here: npt.NDArray[np.bool_] = use & (at == position)
            per_seed = [values[here & (self.repeat == seed)].mean() for seed in np.unique(self.repeat[here])]
            if per_seed:
                mean[position], half[position] = interval(per_seed)
        return Curve(mean, mean - half, mean + half)

    def table_of(self, figure: str, one: StudyAxis, other: StudyAxis) -> Floats:
        """Mean of a figure at each pair of values, ``[len(other), len(one)]``, NaN where there is none."""
        values = self.figure(figure)
        use = np.isfinite(values)
        shape = (len(other.labels), len(one.labels))
        place = (self.at(other)[use], self.at(one)[use])
        total, count = np.zeros(shape), np.zeros(shape)
        np.add.at(total, place, values[use])
        np.add.at(count, place, 1)
        with np.errstate(invalid="ignore"):
            return np.asarray(total / count)

    def combinations(self, figures: Sequence[str]) -> tuple[npt.NDArray[np.int64], Floats]:
        """Numbers of all combinations, and the mean of each figure over seeds: ``[num, len(figures)]``."""
        groups, index = np.unique(self.group, return_inverse=True)
        columns = []
        for name in figures:
            values = self.figure(name)
            use = np.isfinite(values)
            total = np.bincount(index[use], values[use], len(groups))
            count = np.bincount(index[use], minlength=len(groups))
            with np.errstate(invalid="ignore"):
                columns.append(total / count)
        return groups, np.stack(columns, axis=1)

    def name_of(self, group: int) -> str:
        """The values of a combination."""
        row = int(np.argmax(self.group == group))
        return ", ".join(f"{axis.short} {axis.labels[self.at(axis)[row]]}" for axis in self.axes)

    def alike(self, axis: StudyAxis) -> npt.NDArray[np.bool_]:
        """Rows in which values of an axis can be compared: the same others at each, and enough fixes.

        Values with too few fixes, whatever the others are, are left out.
        """
        if len(self.axes) == 1:
            return np.ones(len(self), np.bool_)
        at = self.at(axis)
        combined = np.zeros(len(self), np.int64)
        for other in self.axes:
            if other.name != axis.name:
                combined = combined * len(other.labels) + self.at(other)
        comes = self.figure(AVAILABILITY)
        table = np.full((int(combined.max(initial=0)) + 1, len(axis.labels)), -1.0)
        for row in np.flatnonzero(np.isfinite(comes)):
            cell = (combined[row], at[row])
            table[cell] = comes[row] if table[cell] < 0 else min(table[cell], comes[row])
        there = table >= AVAILABLE
        if not there.any():
            return np.ones(len(self), np.bool_)
        places = there[int(there.sum(axis=1).argmax())]
        whole = (there | ~places).all(axis=1)
        return np.asarray(whole[combined] & places[at])

    def front(self) -> list[tuple[int, float, float]]:
        """The Pareto front of error against bits on the wire: group, bit/s and error, by rising bit/s."""
        groups, means = self.combinations((WIRE, ERROR, AVAILABILITY))
        known = np.asarray(np.isfinite(means[:, :2]).all(axis=1))
        good = known & (means[:, 2] >= AVAILABLE)
        good = good if good.any() else known
        front: list[tuple[int, float, float]] = []
        candidates = zip(groups[good].tolist(), *means[good, :2].T.tolist(), strict=True)
        for group, wire, error in sorted(candidates, key=lambda point: (point[1], point[2])):
            if not front or error < front[-1][2]:
                front.append((group, wire, error))
        return front

    def _positions(self, axis: StudyAxis, values: Sequence[Any]) -> npt.NDArray[np.int64]:
        if axis.numbers is None:
            known = {label: position for position, label in enumerate(axis.labels)}
            return np.array([known[value] for value in values])
        return np.array([axis.numbers.index(value) for value in values])


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % confidence interval (Student's t); 0 for a single value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, 0.0
    t = T_95[len(values) - 2] if len(values) - 2 < len(T_95) else 1.96
    return mean, float(t * np.std(values, ddof=1) / len(values) ** 0.5)


def knee(places: Floats, values: Floats) -> int | None:
    """The point of a curve that lies furthest from its chord, if it bends at all.

    Satopaa et al., "Finding a kneedle in a haystack", ICDCS workshops 2011, without smoothing.
    """
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 3:
        return None
    x, y = places[known], values[known]
    height = y.max() - y.min()
    if height <= 0:
        return None
    x, y = (x - x[0]) / (x[-1] - x[0]), (y - y.min()) / height
    distance = np.abs(y - (y[0] + x * (y[-1] - y[0])))
    at = int(np.argmax(distance))
    return int(known[at]) if distance[at] >= BENDS else None


def in_words(results: Results, *, error: bool = True) -> list[str]:
    """What the study found, a sentence or two for each axis.

    Args:
        results: of the study.
        error: whether its points can be compared by their error; else by their latency.
    """
    lines = []
    pair = len(results.axes) > 1 and results.axes[0].numbers is not None
    needs = needs_in_words(results, *results.axes[:2]) if pair else ""
    for axis in results.axes:
        lines.append(error_in_words(results, axis) if error else latency_in_words(results, axis))
        availability = "" if needs else availability_in_words(results, axis)
        if availability:
            lines.append(availability)
        age = age_in_words(results, axis)
        if age:
            lines.append(age)
    if needs:
        lines.insert(0, needs)
    front = results.front() if error else []
    if len(front) > 1:
        (cheap, least, worst), (_, most, best) = front[0], front[-1]
        enough = next(point for point in front if point[2] <= 1.1 * best)
        lines.append(
            f"On the Pareto front {rate(least)} ({results.name_of(cheap)}) give {worst:.2f} m and "
            f"{rate(most)} give {best:.2f} m; {rate(enough[1])} ({results.name_of(enough[0])}) are enough "
            "to stay within 10 % of the best."
        )
    return list(filter(None, lines))


def latency_in_words(results: Results, axis: StudyAxis) -> str:
    """How late fixes come, by an axis that matters to it."""
    mean = results.curve(LATENCY, axis).mean
    if not np.isfinite(mean).any():
        return f"{axis.name}: there is no fix at all."
    least, most = int(np.nanargmin(mean)), int(np.nanargmax(mean))
    if mean[most] < (1 + MATTERS) * mean[least]:
        return f"{axis.name} hardly matters to the latency of fixes."
    return (
        f"99 % of the fixes are there within {1e3 * mean[least]:.1f} ms with {axis.short} "
        f"{axis.labels[least]} and within {1e3 * mean[most]:.1f} ms with {axis.short} {axis.labels[most]}, "
        "over all the rest."
    )


def error_in_words(results: Results, axis: StudyAxis) -> str:
    """How the track's error depends on an axis, and where the knee is, all else being equal."""
    rows = results.alike(axis)
    mean = results.curve(ERROR, axis, rows).mean
    if not np.isfinite(mean).any():
        return f"{axis.name}: there is no track at all."
    best, worst = int(np.nanargmin(mean)), int(np.nanargmax(mean))
    change = mean[worst] / mean[best] - 1
    where = "" if np.isfinite(mean).all() else ", where fixes come at all,"
    if change < MATTERS:
        return f"{axis.name} hardly matters{where} to the track's mean error: {100 * change:.1f} %."
    told = (
        f"Over {axis.name} the track's mean error{where} goes from {mean[best]:.2f} m at {axis.labels[best]} "
        f"to {mean[worst]:.2f} m at {axis.labels[worst]}"
    )
    if axis.numbers is None:
        return told + "."
    at = knee(axis.places(), mean)
    if at is None:
        return told + ", without a knee."
    beyond = "nothing is gained beyond it" if at == best else f"{mean[at]:.2f} m there"
    return f"{told}; the knee is at {axis.labels[at]}: {beyond}."


def age_in_words(results: Results, axis: StudyAxis) -> str:
    """How old what is known is, by an axis of words that matters to it."""
    mean = results.curve(AGE, axis).mean
    if axis.numbers is not None or not np.isfinite(mean).any():
        return ""
    least, most = int(np.nanargmin(mean)), int(np.nanargmax(mean))
    if mean[most] < 1.5 * mean[least]:
        return ""
    return (
        f"The median age of information goes from {1e3 * mean[least]:.0f} ms with {axis.labels[least]} to "
        f"{1e3 * mean[most]:.0f} ms with {axis.labels[most]}, over all the rest."
    )


def needs_in_words(results: Results, axis: StudyAxis, by: StudyAxis) -> str:
    """From or up to which value of one axis fixes come, for each of another; nothing if they always do."""
    parts = []
    for position, label in enumerate(by.labels):
        mean = results.curve(AVAILABILITY, axis, results.at(by) == position).mean
        good = mean >= ENOUGH
        if good.all():
            parts.append(f"always with {label}")
        elif not good.any():
            parts.append(f"never with {label}")
        else:
            first, last = np.flatnonzero(good)[[0, -1]]
            side = f"from {axis.labels[first]}" if last == len(good) - 1 else f"up to {axis.labels[last]}"
            parts.append(f"{side} with {label}")
    if all(part.startswith("always") for part in parts):
        return ""
    return f"{100 * ENOUGH:.0f} % of the fixes come, by {axis.short} for each {by.short}: {', '.join(parts)}."


def availability_in_words(results: Results, axis: StudyAxis) -> str:
    """Where fixes begin to be missed; nothing if they never are."""
    mean = results.curve(AVAILABILITY, axis).mean
    if not np.isfinite(mean).any() or np.nanmin(mean) > 0.99:
        return ""
    if axis.numbers is None:
        worst = int(np.nanargmin(mean))
        return f"Fewest fixes come with {axis.short} {axis.labels[worst]}: {100 * mean[worst]:.0f} %."
    good = mean >= 0.99
    if not good.any():
        best = int(np.nanargmax(mean))
        most = f"{axis.labels[best]} brings most of them, {100 * mean[best]:.0f} %."
        return f"No {axis.short} alone brings 99 % of the fixes; {most}"
    first, last = np.flatnonzero(good)[[0, -1]]
    if first > 0 and last == len(mean) - 1:
        return f"From {axis.labels[first]} of {axis.short} on, 99 % of the fixes come."
    if first == 0 and last < len(mean) - 1:
        return f"Up to {axis.labels[last]} of {axis.short}, 99 % of the fixes come."
    return ""


def rate(bps: float) -> str:
    """A data rate for the eye."""
    for size, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bps >= size:
            return f"{bps / size:.3g} {unit}"
    return f"{bps:.3g} bit/s"
