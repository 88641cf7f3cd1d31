"""Pictures of an evaluation: each one SVG file that follows light and dark."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sim.report
from sim.channel.held_out import HeldOut
from sim.city import HeightMap
from sim.deployment import MUNICH6
from sim.errors import UserError
from sim.evaluate import Estimates, lengths
from sim.metrics import nees
from sim.report.axes import Axis, linear_axis
from sim.report.chart import Chart
from sim.report.city import ATTRIBUTION, outlines
from sim.report.plan import Box, Plan
from sim.report.svg import Place, element, text
from sim.study.drawing import LINES

Floats = NDArray[np.float64]
Row = Mapping[str, Any]

WIDTH, HEIGHT = 860, 470
PLOT = Place(60, 66, 520, 350)
KEY_X, KEY_STEP = 604, 18
DASHES = (None, "7 4", "2 4")
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
MOST_CLAIMS = 4
"""Systems whose claims are drawn."""
PAPER = ((7680, 0.48), (6144, 0.52), (4608, 0.54), (3072, 0.56))
"""Payload in bits and mean error in m that the paper reports, for its own city."""
MAP_COLOURS = ((0.5, "#009e73"), (1.0, "#56b4e9"), (2.0, "#0072b2"), (5.0, "#e69f00"), (np.inf, "#d55e00"))
"""Up to so many metres, and the colour of the dot."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What one system made of one split, nobody missing."""

    system: str
    snapshots: HeldOut
    estimates: Estimates

    @property
    def error_m(self) -> Floats:
        """3D errors at served points."""
        found: Floats = lengths(self.estimates.error_m[self.snapshots.served])[:, 0]
        return found


def write_pictures(
    folder: Path, rows: Sequence[Row], kept: Sequence[Kept], histories: Mapping[str, Sequence[Row]]
) -> list[Path]:
    """Draw all pictures that there are figures for.

    Args:
        folder: Where they go; made if it is not there.
        rows: As :func:`sim.evaluate.evaluate` gives them.
        kept: Estimates on the first split that was judged.
        histories: Errors on the validation points during training, for each system that tells.

    Raises:
        UserError: The folder cannot be written.
    """
    claims = [one for one in kept if one.estimates.covariance_m2 is not None]
    drawn = {
        "cdf": cdf(kept),
        "payload": against_payload(rows),
        "sites": by_sites(rows),
        "map": error_map(kept[0]),
    }
    if claims:
        drawn["calibration"] = calibration(claims[:MOST_CLAIMS])
    if histories:
        drawn["convergence"] = convergence(histories)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in drawn.items():
            (folder / f"{name}.svg").write_text(content + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from error
    return [folder / f"{name}.svg" for name in drawn]


def cdf(kept: Sequence[Kept]) -> str:
    """Share of the served points within an error, one line per system."""
    chart = Chart(log_axis(0.05, 100.0), linear_axis(0.0, 1.0, about=5))
    shares = np.linspace(0.005, 0.995, 120)
    lines = [
        (one.system, np.log10(np.maximum(np.quantile(one.error_m, shares), 1e-3)), shares)
        for one in best_first(kept)
    ]
    curves, key, height = drawn_lines(chart, lines)
    titles = "3D error, m", "share"
    label = f"Distribution of the 3D error at served points, split {kept[0].snapshots.split}"
    return page(label, chart.draw(curves, label=label, titles=titles, place=PLOT) + key, height)


def best_first(kept: Sequence[Kept]) -> list[Kept]:
    """Systems by their median."""
    return sorted(kept, key=lambda one: float(np.median(one.error_m)))


def against_payload(rows: Sequence[Row]) -> str:
    """Mean error of served points against bits: one line per number count of ours, a dot for each other."""
    chosen = [row for row in first_split(rows, "served") if row["missing"] == "0"]
    most = max([row["mean_m"] for row in chosen] + [1.0])
    least = min([row["mean_m"] for row in chosen] + [0.4])
    bits = [row["payload_bits"] for row in chosen] + [bits for bits, _ in PAPER]
    chart = Chart(log_axis(0.7 * min(bits), 1.5 * max(bits)), log_axis(0.8 * least, 1.3 * most))
    families: dict[str, list[Row]] = {}
    for row in chosen:
        families.setdefault(re.sub(r"(-q\d+)?( at .*)?$", "", row["system"]), []).append(row)
    lines = []
    for name, family in families.items():
        family = sorted(front(family), key=lambda row: row["payload_bits"])
        places = np.log10([[row["payload_bits"], row["mean_m"]] for row in family]).T
        lines.append((name, places[0], places[1]))
    lines.append(("the paper, in its city", *np.log10(np.array(PAPER)).T))
    curves, key, height = drawn_lines(chart, lines, dots=True)
    label = f"Mean 3D error of served points against payload, split {chosen[0]['split']}"
    titles = "bits per base station and snapshot", "m"
    return page(label, chart.draw(curves, label=label, titles=titles, place=PLOT) + key, height)


def front(rows: Sequence[Row]) -> list[Row]:
    """Those that no other row beats with as few bits."""
    ordered = sorted(rows, key=lambda row: (row["payload_bits"], row["mean_m"]))
    kept: list[Row] = []
    for row in ordered:
        if not kept or row["mean_m"] < kept[-1]["mean_m"]:
            kept.append(row)
    return kept


def by_sites(rows: Sequence[Row]) -> str:
    """Median error of all points by the number of base stations in line of sight."""
    chosen = [row for row in first_split(rows, "all") if row["missing"] == "0"]
    chosen = [row for row in chosen if " at " not in row["system"]] or chosen
    lines = []
    for row in chosen:
        parts = {int(name): part["e50_m"] for name, part in row["by_sites_in_sight"].items()}
        known = np.array([[sites, error] for sites, error in parts.items() if error], dtype=np.float64).T
        if known.size:
            lines.append((row["system"], known[0], np.log10(known[1])))
    ends = np.concatenate([line[2] for line in lines])
    x = Axis(-0.3, MUNICH6_SITES + 0.3, tuple((float(n), str(n)) for n in range(MUNICH6_SITES + 1)))
    chart = Chart(x, log_axis(0.8 * 10 ** ends.min(), 1.25 * 10 ** ends.max()))
    curves, key, height = drawn_lines(chart, lines, dots=True)
    label = f"Median 3D error by sites in line of sight, split {chosen[0]['split']}, all points"
    titles = "base stations in line of sight", "m"
    return page(label, chart.draw(curves, label=label, titles=titles, place=PLOT) + key, height)


def error_map(one: Kept) -> str:
    """Where the errors are: a dot per point of the split, over the city."""
    side = 330.0
    box = Box(-135.0, -105.0, side)
    plan = Plan(box)
    city = HeightMap.load(MUNICH6.scene)
    error_m, place_m = lengths(one.estimates.error_m)[:, 0], one.snapshots.position_m.T
    inner, key, low = [plan.buildings(outlines(city, box)) if city else ""], [], 0.0
    for number, (high, colour) in enumerate(MAP_COLOURS):
        within = (error_m >= low) & (error_m < high)
        dots = plan.dots(place_m[:, within], "")
        inner.append(element("g", dots, stroke=colour, opacity=0.8))
        name = f"below {high:g} m" if np.isfinite(high) else f"{low:g} m or more"
        y = 80 + KEY_STEP * number
        key.append(element("path", d=f"M{KEY_X + 8} {y}h0", class_="dots", stroke=colour))
        key.append(text(f"{name}: {within.mean():.0%}", x=KEY_X + 24, y=y + 4))
        low = high
    over = "".join(plan.site(site.bs, *site.position_in_world_m[:2]) for site in MUNICH6.sites)
    label = f"3D error of {one.system} from above, split {one.snapshots.split}, all points"
    drawn = plan.draw(inner, label=label, over=over, place=Place(60, 50, 520, 520))
    note = text(ATTRIBUTION, x=60, y=586, class_="fault") if city else ""
    return page(label, drawn + "".join(key) + note, height=600)


def calibration(kept: Sequence[Kept]) -> str:
    """How many errors fall within what is claimed for a share of them: protection levels, H and V."""
    chart = Chart(linear_axis(0.5, 1.0, about=5), linear_axis(0.5, 1.0, about=5))
    lines = [("as claimed", np.array([0.5, 1.0]), np.array([0.5, 1.0]))]
    for one in kept:
        horizontal, vertical = coverage(one.estimates.take(np.flatnonzero(one.snapshots.served)))
        lines.append((f"{one.system}, horizontal", np.array(LEVELS), horizontal))
        lines.append((f"{one.system}, vertical", np.array(LEVELS), vertical))
    curves, key, height = drawn_lines(chart, lines[: len(LINES) * len(DASHES)])
    label = f"Share of errors within protection levels, split {kept[0].snapshots.split}, served points"
    titles = "claimed share", "share"
    return page(label, chart.draw(curves, label=label, titles=titles, place=PLOT) + key, height)


def coverage(estimates: Estimates) -> tuple[Floats, Floats]:
    """Share of errors within the ellipse, and the interval of height, for each of ``LEVELS``."""
    error_m, claimed = estimates.error_m, estimates.covariance_m2
    assert claimed is not None
    planar = nees(error_m[:, :2], claimed[:, :2, :2])
    upright = nees(error_m[:, 2:], claimed[:, 2:, 2:])
    levels = np.array(LEVELS)
    in_plane = -2 * np.log1p(-levels)  # quantiles of chi-square with two degrees of freedom
    on_line = NORMAL_QUANTILES**2
    return (planar[:, None] <= in_plane).mean(axis=0), (upright[:, None] <= on_line).mean(axis=0)


NORMAL_QUANTILES = np.array([0.674490, 0.841621, 1.036433, 1.281552, 1.644854, 1.959964, 2.575829])
"""Standard deviations around the mean within which a normal number falls with each of ``LEVELS``."""
MUNICH6_SITES = len(MUNICH6.sites)


def convergence(histories: Mapping[str, Sequence[Row]]) -> str:
    """Error at served validation points during training, against samples seen."""
    lines = []
    for name, history in histories.items():
        known = [(entry["samples"], entry["served_mean_m"]) for entry in history if "served_mean_m" in entry]
        if known:
            places = np.log10(np.array(known, dtype=np.float64)).T
            lines.append((name, places[0], places[1]))
    ends = np.concatenate([np.stack(line[1:], axis=1) for line in lines])
    low, high = 10 ** ends.min(axis=0), 10 ** ends.max(axis=0)
    chart = Chart(log_axis(0.9 * low[0], 1.1 * high[0]), log_axis(min(0.4, 0.8 * low[1]), 1.2 * high[1]))
    curves, key, height = drawn_lines(chart, lines)
    label = "Mean 3D error at served validation points during training"
    titles = "samples", "m"
    return page(label, chart.draw(curves, label=label, titles=titles, place=PLOT) + key, height)


def first_split(rows: Sequence[Row], subset: str) -> list[Row]:
    """Rows of the split that was judged first."""
    return [row for row in rows if row["split"] == rows[0]["split"] and row["subset"] == subset]


def log_axis(low: float, high: float) -> Axis:
    """An axis of logarithms to base ten; ticks at 1, 2 and 5, or at powers of ten alone if it is long."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if high / low < 3_000 else (1,)
    values = [step * 10.0**power for power in powers for step in steps]
    ticks = tuple((float(np.log10(value)), f"{value:,.10g}") for value in values if low <= value <= high)
    return Axis(float(np.log10(low)), float(np.log10(high)), ticks)


def drawn_lines(
    chart: Chart, lines: Sequence[tuple[str, Floats, Floats]], *, dots: bool = False
) -> tuple[list[str], str, int]:
    """Curves in colours and dashes that differ, their legend beside the plot, and how high both are."""
    curves, key = [], []
    for number, (name, x, y) in enumerate(lines):
        look = {
            "stroke": LINES[number % len(LINES)],
            "stroke_dasharray": DASHES[number // len(LINES) % len(DASHES)],
        }
        marks = chart.line(x, y, "") if len(x) > 1 else ""
        curves.append(element("g", marks, **look))
        if dots:
            curves.append(element("g", chart.dots(x, y, ""), stroke=look["stroke"]))
        place = PLOT.y + 8 + KEY_STEP * number
        key.append(element("path", d=f"M{KEY_X} {place:g}h20", class_="line", **look))
        key.append(text(name, x=KEY_X + 26, y=place + 4))
    return curves, "".join(key), max(HEIGHT, round(PLOT.y + 8 + KEY_STEP * len(lines)))


def page(title: str, content: str, height: int = HEIGHT, width: int = WIDTH) -> str:
    """A picture that stands for itself."""
    style = (Path(sim.report.__file__).resolve().parent / "marks.css").read_text(encoding="utf-8")
    drawn = (
        element("style", style)
        + element("rect", width=width, height=height, class_="paper")
        + text(title, x=24, y=30, class_="title")
        + content
    )
    return element(
        "svg",
        drawn,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=title,
    )
