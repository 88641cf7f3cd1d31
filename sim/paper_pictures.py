"""The pictures of the paper's section IV that need trainings of their own, from figures kept beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.adcpm import adcpm
from sim.along import Way
from sim.pictures import HEIGHT, KEY_STEP, PLOT, drawn_lines, log_axis, page
from sim.report.axes import Axis, linear_axis, time_axis
from sim.report.chart import Chart
from sim.report.plan import Box, Plan
from sim.report.svg import Place, element, text
from sim.study.drawing import LINES

Floats = NDArray[np.float64]
Row = Mapping[str, Any]

CELL = 11
"""Side of a cell of a map, in pixels."""
MAP_TOP, MAP_STEP = 104, 128
PHASES, LEVELS = 24, 16
"""Colours of a map of phases, and of a map of powers."""
RANGE_DB = 30.0
"""Powers further below the strongest have its lightest colour."""
WAYS_WIDTH = 1080
BANDS = {"whole": "over the band", "middle": "its middle", "steps": "steps of its LSTM"}
NAMES = {
    "ecc-q10-scratch": "joint from scratch",
    "ecc-q10-split": "local–split",
    "ecc-q10": "local–joint",
}


def subcarriers(rows: Sequence[Row]) -> str:
    """Mean error of served points against the number of subcarriers: over the band, and in its middle."""
    lines = []
    for name, band in dict.fromkeys((row["kind"], row["band"]) for row in served(rows) if row["band"]):
        bands = (band,) if band == "steps" else (band, "")  # trained with all of them: the end of both lines
        own = [row for row in served(rows) if row["kind"] == name and row["band"] in bands]
        own = sorted(own, key=lambda row: row["subcarriers"])
        lines.append((f"{name}, {BANDS[band]}", *places(own, "subcarriers")))
    chart = Chart(count_axis(sorted({row["subcarriers"] for row in rows})), error_axis(lines))
    label = "Mean 3D error of served points against the number of subcarriers, split random"
    return lines_page(chart, lines, label, ("subcarriers", "m"))


def strategies(rows: Sequence[Row]) -> str:
    """Mean error of served points against Q: each training strategy, trained for each Q or for 10 alone."""
    lines = []
    for name, words in NAMES.items():
        for trained, how in ((True, ""), (False, ", trained at 10")):
            own = [row for row in served(rows) if row["strategy"] == name and row["lossless"] is False]
            own = [row for row in own if row["bits"] == 10 or (row["trained_bits"] == row["bits"]) == trained]
            own = sorted(own, key=lambda row: row["bits"])
            if len(own) > 1:
                lines.append((words + how, *places(own, "bits", logarithmic=False)))
    reference = [row for row in served(rows) if row["lossless"]]
    lines += [
        ("lossless CSI", np.array([4.0, 10.0]), np.log10(np.full(2, row["mean_m"]))) for row in reference
    ]
    x = Axis(3.7, 10.3, tuple((float(bits), str(bits)) for bits in (4, 6, 8, 10)))
    label = "Mean 3D error of served points against Q, by training strategy, split random"
    return lines_page(Chart(x, error_axis(lines)), lines, label, ("Q, bits per number", "m"))


def served(rows: Sequence[Row]) -> list[Row]:
    """Those of served points."""
    return [row for row in rows if row["subset"] == "served"]


def places(rows: Sequence[Row], key: str, *, logarithmic: bool = True) -> tuple[Floats, Floats]:
    """Where rows lie in a chart whose y axis is logarithmic."""
    x = np.array([row[key] for row in rows], dtype=np.float64)
    y = np.log10([row["mean_m"] for row in rows])
    return (np.log10(x) if logarithmic else x), y


def count_axis(counts: Sequence[int]) -> Axis:
    """A logarithmic axis with a tick for each count."""
    ticks = tuple((float(np.log10(count)), str(count)) for count in counts)
    return Axis(ticks[0][0] - 0.04, ticks[-1][0] + 0.04, ticks)


def error_axis(lines: Sequence[tuple[str, Floats, Floats]]) -> Axis:
    """A logarithmic axis that holds all lines; finer ticks where it is short."""
    ends = 10 ** np.concatenate([line[2] for line in lines])
    low, high = 0.9 * float(ends.min()), 1.1 * float(ends.max())
    if high / low > 4:
        return log_axis(low, high)
    linear = linear_axis(low, high, about=6)
    ticks = tuple((float(np.log10(value)), label) for value, label in linear.ticks if value > 0)
    return Axis(float(np.log10(low)), float(np.log10(high)), ticks)


def lines_page(
    chart: Chart, lines: Sequence[tuple[str, Floats, Floats]], label: str, titles: tuple[str, str]
) -> str:
    """A chart with its legend as a picture."""
    curves, key, height = drawn_lines(chart, lines, dots=True)
    return page(label, chart.draw(curves, label=label, titles=titles, place=PLOT) + key, height)


def reconstruction(found: Row) -> str:
    """Phase and angle–delay power of one link: as the encoder saw it, and as the decoder gives it back."""
    example = found["example"]
    maps = {name: complex_of(parts) for name, parts in example["csi"].items()}
    wide = CELL * maps["original"].shape[1]
    drawn = [
        text("phase, antennas × subcarriers", x=60, y=MAP_TOP - 30, class_="title-left"),
        text("angle–delay power, beams × delays", x=110 + wide, y=MAP_TOP - 30, class_="title-left"),
    ]
    for number, (name, csi) in enumerate(maps.items()):
        y = MAP_TOP + MAP_STEP * number
        power = adcpm(csi[None], 0.0).reshape(csi.shape)
        drawn.append(text(f"{name}{said(example, name)}", x=60, y=y - 8))
        drawn.append(cells(phase_levels(csi), phase_colours(), Place(60, y, wide, 0)))
        drawn.append(cells(power_levels(power), power_colours(), Place(110 + wide, y, wide, 0)))
    bottom = MAP_TOP + MAP_STEP * len(maps)
    drawn.append(scale(phase_colours(), ("−π", "π"), 60, bottom))
    drawn.append(scale(power_colours(), (f"−{RANGE_DB:.0f} dB", "strongest"), 110 + wide, bottom))
    label = f"CSI of a link of {example['gain_db']:.0f} dB, and what stage I gives back of it"
    return page(label, "".join(drawn), bottom + 44)


def said(example: Row, name: str) -> str:
    """How near one reconstruction is."""
    if name not in example["nmse_db"]:
        return ""
    error_db = f"{example['nmse_db'][name]:.1f}".replace("-", "−")
    return f": NMSE {error_db} dB, cosine of powers {example['cosine'][name]:.3f}"


def complex_of(parts: Sequence[Any]) -> NDArray[np.complex64]:
    """Real and imaginary part as one array."""
    real, imaginary = np.asarray(parts, dtype=np.float32)
    joined: NDArray[np.complex64] = (real + 1j * imaginary).astype(np.complex64)
    return joined


def phase_levels(csi: NDArray[np.complex64]) -> NDArray[np.int64]:
    """Which of the colours each phase has."""
    turns = np.angle(csi) / (2 * np.pi) + 0.5
    return np.minimum((turns * PHASES).astype(np.int64), PHASES - 1)


def power_levels(power: Floats) -> NDArray[np.int64]:
    """Which of the colours each power has, in equal steps of decibels below the strongest."""
    below_db = -10 * np.log10(np.maximum(power / power.max(), 1e-12))
    share = 1 - np.minimum(below_db / RANGE_DB, 1.0)
    levels: NDArray[np.int64] = np.minimum((share * LEVELS).astype(np.int64), LEVELS - 1)
    return levels


def phase_colours() -> list[str]:
    """A circle of hues."""
    return [f"hsl({360 * number // PHASES} 62% 56%)" for number in range(PHASES)]


def power_colours() -> list[str]:
    """From pale to dark blue."""
    pale, dark = np.array([232.0, 240.0, 248.0]), np.array([8.0, 40.0, 96.0])
    mixed = [pale + (dark - pale) * number / (LEVELS - 1) for number in range(LEVELS)]
    return ["rgb({:.0f} {:.0f} {:.0f})".format(*colour) for colour in mixed]


def cells(levels: NDArray[np.int64], colours: Sequence[str], place: Place) -> str:
    """A map of coloured cells: one path for each colour."""
    paths = []
    for number, colour in enumerate(colours):
        at = np.argwhere(levels == number)
        squares = "".join(
            f"M{place.x + CELL * column:g} {place.y + CELL * row:g}h{CELL}v{CELL}h-{CELL}z"
            for row, column in at.tolist()
        )
        if squares:
            paths.append(element("path", d=squares, fill=colour))
    return "".join(paths)


def scale(colours: Sequence[str], ends: tuple[str, str], x: float, y: float) -> str:
    """What the colours of a map mean."""
    bar = [
        element("rect", x=x + CELL * number, y=y, width=CELL, height=10, fill=colour)
        for number, colour in enumerate(colours)
    ]
    right = x + CELL * len(colours)
    return "".join(bar) + text(ends[0], x=x, y=y + 24) + text(ends[1], x=right, y=y + 24, class_="end")


def spiral(ways: Sequence[Way]) -> str:
    """The ways of several systems: from above, error and height over time."""
    side, left, right = 308, 16, 380
    box = Box.around([ways[0].truth_m.T, *(way.track_m.T for way in ways)])
    assert box is not None
    plan = Plan(box)
    duration_s = float(ways[0].t_s[-1])
    errors_m = np.concatenate([way.track_error_m for way in ways])
    error = Chart(time_axis(duration_s), log_axis(0.02, 1.3 * float(np.nanmax(errors_m))))
    heights = np.concatenate([way.track_m[:, 2] for way in ways])
    height = Chart(
        time_axis(duration_s), linear_axis(float(heights.min()) - 0.5, float(heights.max()) + 0.5, about=4)
    )
    above, errors, levels, key = [], [], [], []
    for number, way in enumerate(ways):
        colour = LINES[number % len(LINES)]
        above.append(element("g", plan.line(way.track_m.T, ""), stroke=colour))
        level = np.log10(np.maximum(way.track_error_m, 1e-3))
        errors.append(element("g", error.line(way.t_s, level, ""), stroke=colour))
        levels.append(element("g", height.line(way.t_s, way.track_m[:, 2], ""), stroke=colour))
        y = 428 + KEY_STEP * number
        samples = "" if way.samples_trained is None else f", {way.samples_trained / 1e6:.2f} M samples"
        figures = way.figures()
        words = (
            f"{way.system}: fixes {figures['fix_mean_m']:.2f} m, track {figures['track_mean_m']:.2f} m"
            f" on average ({way.payload_bits:,} bits per base station{samples})"
        )
        key.append(element("path", d=f"M{left} {y}h20", class_="line", stroke=colour))
        key.append(text(words, x=left + 28, y=y + 4))
    truth = ways[0].truth_m
    above.append(plan.line(truth.T, "truth"))
    levels.append(height.line(ways[0].t_s, truth[:, 2], "truth"))
    label = "Tracks of a spiral from 0.5 to 30 m height, the truth dashed"
    wide = WAYS_WIDTH - right - 60
    drawn = (
        plan.draw(above, label="From above", place=Place(left, 84, side, side)),
        text("from above", x=left, y=70, class_="title-left"),
        text("3D error of the track, m", x=right, y=60, class_="title-left"),
        error.draw(errors, label="Error over time", place=Place(right + 44, 76, wide, 128)),
        text("height, m", x=right, y=246, class_="title-left"),
        height.draw(
            levels, label="Height over time", titles=("time, s", ""), place=Place(right + 44, 262, wide, 122)
        ),
        *key,
    )
    return page(label, "".join(drawn), max(HEIGHT, 428 + KEY_STEP * len(ways)), WAYS_WIDTH)
