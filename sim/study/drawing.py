"""Figures of a study: curves with bands, heat maps, the Pareto front; each a drawing of fixed size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sim.report.axes import Axis, linear_axis
from sim.report.chart import Chart
from sim.report.svg import Place, element, text
from sim.study import analysis
from sim.study.analysis import Curve, Results, StudyAxis

Floats = npt.NDArray[np.float64]

LINES = (
    "#0072b2",
    "#c65400",
    "#00694c",
    "#9a4a83",
    "#8a6d00",
    "#56b4e9",
    "#5b6770",
)
"""Told apart with any kind of colour vision (after Okabe and Ito)."""
MOST_LINES = len(LINES)
WIDTH, HEIGHT = 430, 250
LABEL_WIDTH = 130
PLOT = Place(52, 34, WIDTH - 76, HEIGHT - 86)

QUANTITIES: dict[str, tuple[str, float, str]] = {
    analysis.ERROR: ("Mean 3D error of the track", 1.0, "m"),
    "fix_error_3d_mean_m": ("Mean 3D error of fixes", 1.0, "m"),
    "track_error_3d_e90_m": ("90 % 3D error of the track", 1.0, "m"),
    analysis.AVAILABILITY: ("Availability: snapshots with a fix", 100.0, "%"),
    analysis.LATENCY: ("Latency of fixes, 99 %", 1e3, "ms"),
    analysis.AGE: ("Age of information, median", 1e3, "ms"),
    "age_p99_s": ("Age of information, 99 %", 1e3, "ms"),
    analysis.WIRE: ("Bits on the wire", 1e-3, "kbit/s"),
}
"""Title, factor and unit of figures as they are drawn."""


def x_axis(axis: StudyAxis, about: int = 6) -> Axis:
    """The axis of a parameter: its own values as ticks, as many as there is room for."""
    places = axis.places()
    every = max(1, math.ceil(len(places) / about))
    margin = 0.04 * (places[-1] - places[0])
    ticks = tuple(
        (float(place), label) for place, label in list(zip(places, axis.labels, strict=True))[::every]
    )
    return Axis(float(places[0] - margin), float(places[-1] + margin), ticks)


def y_axis(figure: str, values: Sequence[Floats]) -> Axis:
    """An axis from 0, or 0 to 100 %, that holds all values."""
    factor = QUANTITIES[figure][1]
    if figure == analysis.AVAILABILITY:
        return linear_axis(0.0, 100.0, about=4)
    known = np.concatenate([np.ravel(value) for value in values]) * factor
    known = known[np.isfinite(known)]
    return linear_axis(0.0, float(known.max()) * 1.08 if len(known) else 1.0, about=4)


def curves(
    results: Results, figure: str, axis: StudyAxis, by: StudyAxis | None = None, place: Place = PLOT
) -> str:
    """A figure against a parameter: one line, or one for each value of a second parameter, with bands."""
    title, factor, unit = QUANTITIES[figure]
    lines: list[tuple[str, Curve]] = []
    if by is None:
        lines.append(("", results.curve(figure, axis)))
    else:
        for position in spread(len(by.labels)):
            chosen = results.at(by) == position
            lines.append((by.labels[position], results.curve(figure, axis, chosen)))
    ends = [end for _, curve in lines for end in (curve.mean, curve.high)]
    chart = Chart(x_axis(axis), y_axis(figure, ends))
    drawn, over = [], []
    for number, (label, curve) in enumerate(lines):
        colour = LINES[number % len(LINES)]
        band = chart.band(axis.places(), curve.low * factor, curve.high * factor, "")
        line = chart.line(axis.places(), curve.mean * factor, "")
        dots = chart.dots(axis.places(), curve.mean * factor, "")
        drawn.append(element("g", band, fill=colour, opacity=0.16))
        drawn.append(element("g", line + dots, stroke=colour))
        if label:
            over.append(key(label, colour, place, number))
    heading = text(f"{title}, {unit}", x=place.x, y=place.y - 14, class_="title-left")
    under = text(
        f"{axis.name}" + (f"; lines: {by.name}" if by is not None else ""),
        x=place.x + place.width,
        y=place.y + place.height + 34,
        class_="end",
    )
    figure_drawn = chart.draw(drawn, label=f"{title} against {axis.name}", place=place)
    return heading + figure_drawn + under + "".join(over)


def rows(results: Results, figure: str, axis: StudyAxis, place: Place) -> str:
    """A figure at each value of a parameter whose values are words: a bar for each, with its interval."""
    title, factor, unit = QUANTITIES[figure]
    curve = results.curve(figure, axis)
    known = curve.high[np.isfinite(curve.high)] * factor
    most = float(known.max()) if len(known) and known.max() > 0 else 1.0
    step = place.height / len(axis.labels)
    left = place.x + LABEL_WIDTH
    scale = (place.width - LABEL_WIDTH - 60) / most
    drawn = [text(f"{title}, {unit}", x=place.x, y=place.y - 14, class_="title-left")]
    for number, label in enumerate(axis.labels):
        y = place.y + (number + 0.5) * step
        drawn.append(text(label, x=left - 6, y=y + 4, class_="end"))
        mean, low, high = (float(part[number]) * factor for part in (curve.mean, curve.low, curve.high))
        if not math.isfinite(mean):
            drawn.append(text("–", x=left + 4, y=y + 4))
            continue
        drawn.append(
            element(
                "rect",
                x=left,
                y=y - 0.3 * step,
                width=max(1.0, mean * scale),
                height=0.6 * step,
                fill=LINES[0],
                opacity=0.55,
            )
        )
        whisker = f"M{left + max(0.0, low) * scale:.1f} {y:.1f}H{left + high * scale:.1f}"
        drawn.append(element("path", d=whisker, class_="line", stroke=LINES[0]))
        drawn.append(text(f"{mean:.3g}", x=left + high * scale + 6, y=y + 4))
    return "".join(drawn)


def key(label: str, colour: str, place: Place, number: int) -> str:
    """One entry of a legend below a figure."""
    columns = 4
    x = place.x + (number % columns) * place.width / columns
    y = place.y + place.height + 50 + 16 * (number // columns)
    return element("path", d=f"M{x:.0f} {y:.0f}h16", class_="line", stroke=colour) + text(
        label, x=x + 21, y=y + 4
    )


def heat_map(results: Results, figure: str, one: StudyAxis, other: StudyAxis, place: Place = PLOT) -> str:
    """A figure at every pair of values of two parameters: darker is worse."""
    title, factor, unit = QUANTITIES[figure]
    values = results.table_of(figure, one, other) * factor
    rows, columns = values.shape
    width, height = place.width / columns, place.height / rows
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    cells = []
    for row in range(rows):
        y = place.y + place.height - (row + 1) * height
        for column in range(columns):
            x = place.x + column * width
            value = values[row, column]
            if np.isfinite(value):
                badness = (value - low) / (high - low) if high > low else 0.0
                badness = 1 - badness if figure == analysis.AVAILABILITY else badness
                fill, ink = shade(badness)
                name = f"{value:.3g}"
            else:
                fill, ink, name = "#8884", "var(--quiet)", "–"
            tip = element("title", f"{one.labels[column]}, {other.labels[row]}: {name} {unit}")
            cells.append(element("rect", tip, x=x, y=y, width=width - 1, height=height - 1, fill=fill))
            if width > 30:
                style = f"fill: {ink}; text-anchor: middle; font-size: 11px"
                cells.append(text(name, x=x + width / 2, y=y + height / 2 + 4, style=style))
        label = other.labels[row]
        cells.append(text(label, x=place.x - 6, y=y + height / 2 + 4, class_="tick-y"))
    every = max(1, math.ceil(columns / 6))
    for column in range(0, columns, every):
        x = place.x + (column + 0.5) * width
        cells.append(text(one.labels[column], x=x, y=place.y + place.height + 15, class_="tick-x"))
    heading = text(f"{title}, {unit}", x=place.x, y=place.y - 14, class_="title-left")
    under = text(
        f"{one.name} (→), {other.name} (↑)",
        x=place.x + place.width,
        y=place.y + place.height + 34,
        class_="end",
    )
    return heading + "".join(cells) + under


def shade(badness: float) -> tuple[str, str]:
    """Colour of a cell from pale (0) to dark blue (1), and of the text on it."""
    pale, dark = (222, 235, 247), (8, 48, 107)
    mixed = [round(a + (b - a) * badness) for a, b in zip(pale, dark, strict=True)]
    return f"rgb({mixed[0]} {mixed[1]} {mixed[2]})", "#ffffff" if badness > 0.45 else "#1b1f24"


def pareto(results: Results, place: Place = PLOT) -> str:
    """Error against bits on the wire: all combinations, and the front."""
    _, means = results.combinations((analysis.WIRE, analysis.ERROR))
    means = means[np.isfinite(means).all(axis=1) & (means[:, 0] > 0)]
    if not len(means):
        return text("no combination has a track", x=place.x, y=place.y, class_="title-left")
    front = results.front()
    powers = np.log10(means[:, 0])
    low, high = math.floor(powers.min() * 4) / 4, math.ceil(powers.max() * 4 + 0.01) / 4
    ticks = [
        (math.log10(step * 10.0**power), analysis.rate(step * 10.0**power))
        for power in range(math.floor(low), math.ceil(high) + 1)
        for step in ((1, 2, 5) if high - low < 2 else (1,))
    ]
    x = Axis(low, high, tuple(tick for tick in ticks if low <= tick[0] <= high))
    most = float(np.quantile(means[:, 1], 0.9)) * 1.2
    chart = Chart(x, linear_axis(0.0, max(most, front[0][2] * 1.1 if front else 0.0), about=4))
    best_x, best_y = (np.array([point[axis] for point in front]) for axis in (1, 2))
    staircase = np.repeat(best_x, 2)[1:], np.repeat(best_y, 2)[:-1]
    drawn = [
        element("g", chart.dots(powers, means[:, 1], ""), stroke="var(--quiet)", opacity=0.5),
        element("g", chart.line(np.log10(staircase[0]), staircase[1], ""), stroke=LINES[0]),
        element("g", chart.dots(np.log10(best_x), best_y, ""), stroke=LINES[0]),
    ]
    heading = text("Mean 3D error of the track, m", x=place.x, y=place.y - 14, class_="title-left")
    under = text(
        "bits on the wire of all links together",
        x=place.x + place.width,
        y=place.y + place.height + 34,
        class_="end",
    )
    return heading + chart.draw(drawn, label="Pareto front of error and bits", place=place) + under


def spread(num: int) -> list[int]:
    """At most `MOST_LINES` of so many positions, evenly spread."""
    return sorted({round(at) for at in np.linspace(0, num - 1, min(num, MOST_LINES)).tolist()})


def drawing(content: str, label: str, width: float = WIDTH, height: float = HEIGHT) -> str:
    """A figure as an `<svg>` element for a page."""
    return element(
        "svg", content, viewBox=f"0 0 {width} {height}", class_="study", role="img", aria_label=label
    )
