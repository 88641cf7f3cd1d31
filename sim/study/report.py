"""The report of a study as one HTML page that asks for nothing from outside, and its picture as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

import sim.report
from sim.report.svg import Place, element, text
from sim.study import analysis, drawing
from sim.study.analysis import Results, StudyAxis, axes_of, in_words
from sim.study.results import MANIFEST_FILE, StudyFolder

REPORT_FILE = "report.html"
FIGURES = (analysis.ERROR, analysis.AVAILABILITY, analysis.LATENCY, analysis.AGE)
PAIRS = (analysis.ERROR, analysis.AVAILABILITY)
STYLE = """
main { max-width: 1380px; margin: 0 auto; padding: 0 20px 40px; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 12px; }
svg.study { width: 100%; height: auto; display: block; }
.words li { margin: 4px 0; max-width: 80ch; }
code { background: var(--card); padding: 2px 4px; }
"""


def is_study(path: Path) -> bool:
    """Whether a folder holds a study."""
    return (path / MANIFEST_FILE).is_file()


def results_of(path: Path) -> tuple[Mapping[str, Any], Results]:
    """Manifest and results of a study; raises StudyFolderError."""
    folder = StudyFolder(path)
    manifest = folder.manifest()
    return manifest, Results(folder.table(), axes_of(manifest))


def write_study_report(path: Path) -> Path:
    """Write the report of a study, finished or not, into its folder; raises StudyFolderError."""
    manifest, results = results_of(path)
    file = path / REPORT_FILE
    unfinished = file.with_name(file.name + ".writing")
    unfinished.write_text(page(manifest, results, path), encoding="utf-8")
    unfinished.rename(file)
    return file


def page(manifest: Mapping[str, Any], results: Results, path: Path) -> str:
    """The whole page."""
    study = manifest["study"]
    root = Path(sim.report.__file__).resolve().parent
    style = "".join((root / name).read_text(encoding="utf-8") for name in ("marks.css", "page.css")) + STYLE
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    failed = int(len(results) - results.ok.sum())
    seeds = len(set(results.repeat.tolist()))
    head = (
        f"{len(results)} runs: {study['combinations']} combinations with {seeds} seed{'s' * (seeds != 1)}"
        + (f", {failed} failed" if failed else "")
        + ("" if manifest.get("finished") else "; not finished")
    )
    body = [
        f"<main><h1>{escape(study['name'])}</h1>",
        f"<p>{escape(study['description'])}</p>",
        f"<p>{escape(head)}. Weights {escape(manifest['weights'])}.</p>",
        "<p>Bands are 95 % confidence intervals over seeds.</p>",
        "<h2>In words</h2><ul class='words'>",
        *(f"<li>{escape(line)}</li>" for line in in_words(results)),
        "</ul>",
        *(_axis(results, axis) for axis in results.axes),
        *(_pair(results, one, other) for one, other in combinations(results.axes, 2)),
        _front(results),
        "<h2>The numbers</h2><p>One row per run:</p>",
        f"<p><code>duckdb -c \"from '{escape(str(path))}/chunks/*.parquet'\"</code></p>",
        f"<p><code>pandas.read_parquet('{escape(str(path))}/chunks')</code></p></main>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(study['name'])} – fronthaul-sim</title>\n<style>{style}</style>\n</head>\n<body>\n"
        + "".join(body)
        + "\n</body>\n</html>\n"
    )


def _axis(results: Results, axis: StudyAxis) -> str:
    drawn = "".join(
        drawing.drawing(drawing.curves(results, figure, axis), f"{figure} against {axis.name}")
        for figure in FIGURES
    )
    return f"<h2>{escape(axis.name)}</h2><div class='row'>{drawn}</div>"


def _pair(results: Results, one: StudyAxis, other: StudyAxis) -> str:
    if len(one.labels) < len(other.labels):
        one, other = other, one
    drawn = "".join(
        drawing.drawing(
            drawing.heat_map(results, figure, one, other), f"{figure} over {one.name} and {other.name}"
        )
        for figure in PAIRS
    )
    by_line = drawing.drawing(
        drawing.curves(results, analysis.ERROR, one, other), f"error over {one.name}", height=280
    )
    title = f"{escape(one.name)} × {escape(other.name)}"
    return f"<h2>{title}</h2><div class='row'>{drawn}{by_line}</div>"


def _front(results: Results) -> str:
    drawn = drawing.drawing(drawing.pareto(results), "Pareto front")
    rows = "".join(
        f"<tr><td>{escape(analysis.rate(wire))}</td><td>{error:.2f} m</td>"
        f"<td>{escape(results.name_of(group))}</td></tr>"
        for group, wire, error in results.front()
    )
    table = f"<table><tr><th>wire</th><th>error</th><th>combination</th></tr>{rows}</table>"
    return f"<h2>Pareto front: error against bits on the wire</h2><div class='row'>{drawn}{table}</div>"


def picture(title: str, results: Results, figures: tuple[str, str], weights: str) -> str:
    """A study as one SVG file: two figures against its first axis, a line for each value of the second."""
    axis, by = results.axes[0], results.axes[1] if len(results.axes) > 1 else None
    root = Path(sim.report.__file__).resolve().parent
    style = (root / "marks.css").read_text(encoding="utf-8")
    words = axis.numbers is None
    plot = max(168.0, 17.0 * len(axis.labels)) if words else 168.0
    width, height = 940, 162 + plot
    panel = (width - 2 * 60 - 40) / 2
    places = (Place(60, 78, panel, plot), Place(60 + panel + 60, 78, panel, plot))
    drawn = "".join(
        drawing.rows(results, figure, axis, place)
        if words
        else drawing.curves(results, figure, axis, by, place)
        for figure, place in zip(figures, places, strict=True)
    )
    return element(
        "svg",
        element("style", style)
        + element("rect", width=width, height=height, class_="paper")
        + text(title, x=16, y=30, class_="title")
        + drawn,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=title,
        data_weights=weights,
    )
