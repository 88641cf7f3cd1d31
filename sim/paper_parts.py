"""What `scripts/paper_pictures` does: train, judge, keep the figures, draw, and write tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.systems.compared import ComparedSystem
from sim import accumulation, paper_pictures
from sim.along import along
from sim.channel.held_out import shipped_scenario
from sim.errors import UserError
from sim.evaluate import evaluate, write_json
from sim.systems import Framed, System, systems_named
from sim.train import TrainOptions
from sim.variants import (
    BITS,
    BY_SUBCARRIERS,
    ENDS,
    NARROW,
    SEEDED,
    SEEDS,
    SPREAD,
    STRATEGIES,
    SUBCARRIERS,
    at_bits,
    folders,
    train_variants,
    with_seed,
    with_subcarriers,
)

Report = Callable[[str], None]
Row = dict[str, Any]
ON_THE_SPIRAL = ("ecc-r", "ecc-r-equal", "mfcnet-style")
KEPT = ("subset", "points", "payload_bits", "samples_trained", "mean_m", "e50_m", "e90_m")
"""Keys of an evaluation that are kept."""


def judged(systems: Sequence[tuple[System, Row]], points: int | None, report: Report) -> list[Row]:
    """Figures of systems on the random split, with what is said about each beside them."""
    shown = -1

    def progress(done: int) -> None:
        nonlocal shown
        if done // 100 > shown:
            shown = done // 100
            report(f"judged {done / 10:.0f} %")

    rows = evaluate([system for system, _ in systems], ["random"], points=points, progress=progress)
    found = []
    for number, row in enumerate(rows):
        about = systems[number // 2][1]  # two subsets each
        short = {key: row[key] for key in KEPT} | {"interval_m": row["intervals"].get("mean_m")}
        found.append({"system": row["system"], **about, **short})
    return found


def variant(name: str, bits: int | None = None) -> System:
    """A variant, or what it is set against, trained as long; raises UserError if it was not trained."""
    folder = folders()[0] / name
    if not (folder / "model.json").is_file():
        raise UserError(f"{name} is not trained here: --train does it")
    return Framed(ComparedSystem(folder, bits))


def judge_subcarriers(points: int | None, report: Report) -> list[Row]:
    """Each kind of system with each number of subcarriers that was trained."""
    wanted: list[tuple[System, Row]] = []
    for kind in BY_SUBCARRIERS:
        wanted.append((variant(kind), {"kind": kind, "subcarriers": SUBCARRIERS, "band": ""}))
        for band, choices in (("whole", SPREAD), ("middle", NARROW)):
            for count, step in choices:
                about = {"kind": kind, "subcarriers": count, "band": band}
                wanted.append((variant(with_subcarriers(kind, count, step)), about))
    trainer = accumulation.restored(report)
    return judged(wanted, points, report) + list(accumulation.judge_steps(trainer, points))


def judge_strategies(points: int | None, report: Report) -> list[Row]:
    """Each strategy at each Q: trained for it where it was, and trained for 10 with the steps rescaled."""
    wanted: list[tuple[System, Row]] = []
    for strategy in STRATEGIES:
        for bits in BITS:
            about = {"strategy": strategy, "bits": bits, "lossless": False}
            if bits in ENDS or strategy == STRATEGIES[0]:
                wanted.append((variant(at_bits(strategy, bits)), about | {"trained_bits": bits}))
            if bits != BITS[0]:
                wanted.append((variant(strategy, bits), about | {"trained_bits": BITS[0]}))
    reference = {"strategy": "ecc-lossless", "bits": None, "trained_bits": None, "lossless": True}
    wanted.append((variant("ecc-lossless"), reference))
    return judged(wanted, points, report)


def judge_seeds(points: int | None, report: Report) -> list[Row]:
    """Rows of the comparison trained again with other seeds."""
    wanted: list[tuple[System, Row]] = []
    for name in SEEDED:
        wanted.append((variant(name), {"kind": name, "seed": 1}))
        wanted += [(variant(with_seed(name, seed)), {"kind": name, "seed": seed}) for seed in SEEDS]
    return judged(wanted, points, report)


def make(
    part: str,
    folder: Path,
    options: TrainOptions | None = None,
    points: int | None = None,
    report: Report = print,
    *,
    again: bool = False,
) -> Path:
    """Make one part: figures as JSON in a folder, and the picture if it has one.

    Args:
        part: One of :data:`PARTS`.
        folder: For both.
        options: How what is not there yet is trained; None: figures are those kept, but for the spiral's.
        points: At most so many snapshots.
        report: Gets lines of progress.
        again: Judge what is trained, even if nothing is to be trained.

    Returns:
        The file with the figures.

    Raises:
        UserError: There is no such part, or there are no figures to draw.
    """
    if part not in PARTS:
        raise UserError(f"unknown part '{part}'; one of {', '.join(PARTS)}")
    path = folder / f"{part}.json"
    folder.mkdir(parents=True, exist_ok=True)
    if part == "spiral":
        ways = along(shipped_scenario("spiral"), systems_named(ON_THE_SPIRAL))
        write_json([way.figures() for way in ways], path)
        write(folder / "spiral.svg", paper_pictures.spiral(ways))
        return path
    if options is not None or (again and part in JUDGES):
        write_json(trained_and_judged(part, options, points, report), path)
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no figures; --train makes them") from error
    if part == "subcarriers":
        write(folder / "subcarriers.svg", paper_pictures.subcarriers(figures))
    elif part == "strategies":
        write(folder / "strategies.svg", paper_pictures.strategies(figures))
    elif part == "reconstruction":
        write(folder / "reconstruction.svg", paper_pictures.reconstruction(figures[0]))
    return path


def trained_and_judged(
    part: str, options: TrainOptions | None, points: int | None, report: Report
) -> list[Row]:
    """Figures of a part; with options, what is missing is trained before."""
    if part in JUDGES:
        if options is not None:
            train_variants(part, options, report=report)
            if part == "subcarriers":
                accumulation.train_it(options, report)
        return JUDGES[part](points, report)
    from sim.reconstruction import judge_reconstruction, trained

    assert options is not None, "decoders are in the state of a training alone"
    return [judge_reconstruction(trained(options, report), points)]


JUDGES: dict[str, Callable[[int | None, Report], list[Row]]] = {
    "subcarriers": judge_subcarriers,
    "strategies": judge_strategies,
    "seeds": judge_seeds,
}


def write(path: Path, content: str) -> None:
    """A picture."""
    path.write_text(content + "\n", encoding="utf-8")


PARTS = ("subcarriers", "strategies", "reconstruction", "spiral", "seeds")


def section(part: str, folder: Path, link: str) -> str:
    """A part as Markdown: its picture and its table."""
    rows = json.loads((folder / f"{part}.json").read_text(encoding="utf-8"))
    table = TABLES[part](rows)
    drawn = "" if part == "seeds" else f"![{TITLES[part]}]({link}/{part}.svg)\n\n"
    return f"## {TITLES[part]}\n\n{drawn}{table}\n"


TITLES = {
    "subcarriers": "Error against the number of subcarriers",
    "strategies": "Error against Q, by training strategy",
    "reconstruction": "What stage I gives back",
    "spiral": "Tracking a spiral",
    "seeds": "Trained again",
}


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_interval(row: Row) -> str:
    """A mean with its confidence interval."""
    if not row["interval_m"]:
        return f"{row['mean_m']:.2f}"
    return f"{row['mean_m']:.2f} ({row['interval_m'][0]:.2f}–{row['interval_m'][1]:.2f})"


def pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Of each system, its served points and all."""
    return list(zip(rows[::2], rows[1::2], strict=True))


ERRORS = ("mean (95 %), m", "50 %, m", "90 %, m", "mean, all, m", "samples")


def errors(row: Row, everywhere: Row) -> list[str]:
    """Columns that all tables end with."""
    return [
        with_interval(row),
        f"{row['e50_m']:.2f}",
        f"{row['e90_m']:.2f}",
        f"{everywhere['mean_m']:.2f}",
        f"{row['samples_trained']:,}",
    ]


def subcarriers_table(rows: Sequence[Row]) -> str:
    """All numbers of subcarriers."""
    bands = {"": "all", "whole": "over the band", "middle": "its middle", "steps": "after so many steps"}
    lines = [
        [
            f"`{row['kind']}`",
            str(row["subcarriers"]),
            bands[row["band"]],
            f"{row['payload_bits']:,}",
            *errors(row, everywhere),
        ]
        for row, everywhere in pairs(rows)
    ]
    return markdown(("system", "subcarriers", "which", "payload, bit", *ERRORS), lines)


def strategies_table(rows: Sequence[Row]) -> str:
    """All strategies at all Q."""
    lines = []
    for row, everywhere in pairs(rows):
        name = paper_pictures.NAMES.get(row["strategy"], "lossless CSI")
        bits, trained = ("–", "–") if row["lossless"] else (str(row["bits"]), str(row["trained_bits"]))
        lines.append([name, bits, trained, *errors(row, everywhere)])
    return markdown(("strategy", "Q", "trained at", *ERRORS), lines)


def signed(value_db: float) -> str:
    """Decibels as they are printed."""
    return f"{value_db:.1f}".replace("-", "−")


def reconstruction_table(found: Sequence[Row]) -> str:
    """Each Q, and what noise alone does."""
    lines = [
        [
            row["reconstruction"],
            "–" if row["bits"] is None else f"{row['bits']:,}",
            signed(row["nmse_median_db"]),
            signed(row["nmse_mean_db"]),
            signed(row["nmse_to_clean_median_db"]),
            f"{row['cosine_median']:.3f}",
            f"{row['cosine_p10']:.3f}",
        ]
        for row in found[0]["rows"]
    ]
    noise = ["the noisy CSI itself", "–", "–", "–", signed(found[0]["noise_median_db"]), "–", "–"]
    head = (
        "reconstruction", "bits", "NMSE, median, dB", "mean, dB", "to CSI without noise, dB",
        "cosine of powers", "10 % below",
    )  # fmt: skip
    return markdown(head, [noise, *lines])


def spiral_table(rows: Sequence[Row]) -> str:
    """All systems on the spiral."""
    lines = [
        [f"`{row['system']}`", f"{row['payload_bits']:,}", f"{row['samples_trained']:,}"]
        + [f"{row[f'{kind}_{name}_m']:.2f}" for kind in ("fix", "track") for name in ("mean", "e90")]
        for row in rows
    ]
    head = ("system", "payload, bit", "samples", "fixes, mean, m", "90 %, m", "track, mean, m", "90 %, m")
    return markdown(head, lines)


def seeds_table(rows: Sequence[Row]) -> str:
    """Means of each seed, and how far apart they are."""
    kinds: dict[str, list[tuple[Row, Row]]] = {}
    for row, everywhere in pairs(rows):
        kinds.setdefault(row["kind"], []).append((row, everywhere))
    lines = []
    for kind, found in kinds.items():
        means = np.array([row["mean_m"] for row, _ in found])
        seen = ", ".join(f"{row['mean_m']:.2f}" for row, _ in found)
        apart = f"{means.std(ddof=1):.2f}" if len(means) > 1 else "–"
        everywhere_m = ", ".join(f"{everywhere['mean_m']:.2f}" for _, everywhere in found)
        lines.append([f"`{kind}`", str(len(means)), seen, f"{means.mean():.2f}", apart, everywhere_m])
    head = ("system", "seeds", "means, served, m", "their mean", "standard deviation", "means, all, m")
    return markdown(head, lines)


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {
    "subcarriers": subcarriers_table,
    "strategies": strategies_table,
    "reconstruction": reconstruction_table,
    "spiral": spiral_table,
    "seeds": seeds_table,
}
