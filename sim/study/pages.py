"""The shipped studies as pages: each a file, a picture and a paragraph, made by one command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sim.study import analysis
from sim.study.analysis import Results, in_words
from sim.study.report import picture, results_of
from sim.study.spec import Study, load_study
from sim.study.sweep import Listener, sweep

ROOT = Path(__file__).resolve().parents[2]
STUDIES = ROOT / "scenarios" / "studies"
PAGES = ROOT / "docs" / "studies"


@dataclass(frozen=True, slots=True)
class Shipped:
    """A shipped study: its title, the two figures of its picture, and what to keep in mind."""

    title: str
    figures: tuple[str, str] = (analysis.ERROR, analysis.AVAILABILITY)
    note: str = ""


SHIPPED = {
    "capacity_bits": Shipped("Capacity and bits"),
    "latency_deadline": Shipped("Latency and deadline"),
    "loss": Shipped("Loss"),
    "dropout": Shipped("Dropout of base stations"),
    "users": Shipped("Number of UEs on a shared segment", (analysis.LATENCY, analysis.AVAILABILITY)),
    "queue_aoi": Shipped("Queue discipline and age of information", (analysis.ERROR, analysis.AGE)),
    "slow_links": Shipped("Policies on slow links"),
    "congestion": Shipped("Congestion policies at equal bits", (analysis.ERROR, analysis.WIRE)),
    "speed": Shipped("Speed of the UE", ("fix_error_3d_mean_m", analysis.ERROR)),
    "phase_reference": Shipped(
        "Phase reference",
        ("fix_error_3d_mean_m", analysis.ERROR),
        "`antenna` is the paper's, which deletes the delay; `slot` keeps it in the phases; `delay` "
        "measures it and hands it over beside the CSI. Unprepared: trained for clocks that agree, run "
        "where the UE's is unknown. Small networks (`models/configs/phase_reference`), one training "
        "of 77,824 samples each: `antenna` sees nothing of clocks, so what its rows differ by is the "
        "luck of a training.",
    ),
    "capacity_bits_dropout": Shipped("Capacity, bits and dropout: 1,000 points"),
}


def write_pages(
    names: Sequence[str],
    out: Path,
    pages: Path = PAGES,
    *,
    small: bool = False,
    jobs: int | None = None,
    tell: Callable[[str], None] = print,
) -> list[Path]:
    """Run studies, or what is missing of them, and write their pages.

    Args:
        names: of `SHIPPED`.
        out: their results go to `out/<name>`; what is there is used.
        pages: where pages and pictures go.
        small: one second, one seed, the ends of each axis: to see that it works.
        jobs: processes; None: one for each core.
        tell: called with a line now and then.
    """
    pages.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names:
        study = load_study(STUDIES / f"{name}.yaml", ["duration=1 s"] if small else ())
        study = ends_of(study) if small else study
        done = sweep(study, out / name, resume=True, jobs=jobs, listener=Listener(tell))
        tell(f"{name}: {done.computed} points in {done.wall_time_s:.0f} s, {done.found} were there")
        written.append(write_page(name, out / name, pages))
    if not small:
        (pages / "README.md").write_text("\n".join(index(pages)) + "\n", encoding="utf-8")
    return written


def ends_of(study: Study) -> Study:
    """The same with the combinations of first and last values only, and one seed."""
    groups = []
    for group in study.groups:
        ends = [
            {axis.values[0].label, axis.values[len(axis.values) // 2].label, axis.values[-1].label}
            for axis in study.axes
        ]
        if all(value.label in end for value, end in zip(group, ends, strict=True)):
            groups.append(group)
    return replace(study, groups=tuple(groups), repeat=1)


def write_page(name: str, folder: Path, pages: Path) -> Path:
    """Write page and picture of a study from its results."""
    manifest, results = results_of(folder)
    shipped = SHIPPED[name]
    drawn = picture(shipped.title, results, shipped.figures, str(manifest["weights"]))
    (pages / f"{name}.svg").write_text(drawn + "\n", encoding="utf-8")
    page = pages / f"{name}.md"
    words = in_words(results, error=any("error" in figure for figure in shipped.figures))
    lines = page_lines(name, shipped, manifest["study"], words, table_lines(results))
    page.write_text("\n".join(lines) + "\n", "utf-8")
    return page


def table_lines(results: Results) -> Iterator[str]:
    """What each combination takes and gives, by bits on the wire, where there is one axis of words."""
    if len(results.axes) != 1 or results.axes[0].numbers is not None:
        return
    yield from (
        f"| {results.axes[0].name} | on the wire | mean error of the track | fixes |",
        "|---|---|---|---|",
    )
    groups, means = results.combinations((analysis.WIRE, analysis.ERROR, analysis.AVAILABILITY))
    for at in np.argsort(means[:, 0], kind="stable")[::-1].tolist():
        wire, error, available = means[at].tolist()
        label = results.axes[0].labels[
            int(results.at(results.axes[0])[np.argmax(results.group == groups[at])])
        ]
        yield f"| {label} | {analysis.rate(wire)} | {error:.2f} m | {100 * available:.0f} % |"
    yield ""


def page_lines(
    name: str, shipped: Shipped, study: dict[str, object], words: Sequence[str], table: Iterable[str]
) -> Iterator[str]:
    """The page of one study."""
    yield from (f"# {shipped.title}", "", f"{study['description']}", "")
    yield from (f"![{shipped.title}]({name}.svg)", "", " ".join(words), "")
    yield from (shipped.note, "") if shipped.note else ()
    yield from table
    yield f"Every point {counted(study['repeat'])}; bands are 95 % confidence intervals over seeds."
    yield "Again, with the report:"
    yield from ("", "```")
    yield f"python -m sim sweep scenarios/studies/{name}.yaml"
    yield f"python -m sim report studies/{name}"
    yield "```"


def counted(repeat: object) -> str:
    """How often a point is repeated, in words."""
    return "once" if repeat == 1 else f"with {repeat} seeds"


def index(pages: Path) -> Iterator[str]:
    """The page that lists the others."""
    yield from ("# Studies", "", "Written by `scripts/studies`; the words are computed too.", "")
    for name, shipped in SHIPPED.items():
        if (pages / f"{name}.md").exists():
            yield f"- [{shipped.title}]({name}.md)"
