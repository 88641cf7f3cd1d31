"""One picture of a run as a file of its own: from above, error and height over time."""

from pathlib import Path

from sim.report import figures
from sim.report.city import ATTRIBUTION
from sim.report.setting import Setting
from sim.report.svg import Place, element, text
from sim.report.view import RunView
from sim.run_folder import RunFolderError
from sim.summary_text import metres

WIDTH, HEIGHT = 1080, 408
MARGIN, MAP = 16, 308
CHARTS = 2 * (MARGIN + MAP) + 52
KEYS = (
    ("line truth", "truth"),
    ("line track", "track"),
    ("dots fix", "fix"),
    ("area claim", "90 % band of the track"),
)


def picture(view: RunView, setting: Setting) -> str:
    """The picture of a run's first UE as SVG.

    Raises:
        RunFolderError: the run holds no snapshot.
    """
    if not view.ues:
        raise RunFolderError("the run holds no snapshot to draw")
    ue = view.ues[0]
    summary = view.summary
    mean, most = (metres(summary.get(f"track_error_3d_{key}_m")) for key in ("mean", "e90"))
    title = (
        f"{summary.get('scenario', 'run')}: 3D error of the track {mean} on average, nine in ten below {most}"
    )
    style = (Path(__file__).resolve().parent / "marks.css").read_text(encoding="utf-8")
    drawn = (
        element("style", style),
        element("rect", width=WIDTH, height=HEIGHT, class_="paper"),
        text(title, x=MARGIN, y=30, class_="title"),
        _legend(),
        figures.overview(view, setting, Place(MARGIN, 72, MAP, MAP)),
        figures.close_up(ue, setting, Place(2 * MARGIN + MAP, 72, MAP, MAP)),
        text("3D error", x=CHARTS, y=66, class_="title-left"),
        figures.error_over_time(ue, view, setting, Place(CHARTS, 80, WIDTH - MARGIN - CHARTS, 104)),
        text("Height", x=CHARTS, y=252, class_="title-left"),
        figures.height_over_time(ue, view, setting, Place(CHARTS, 266, WIDTH - MARGIN - CHARTS, 104)),
        text(ATTRIBUTION, x=MARGIN, y=HEIGHT - 8, class_="fault") if setting.city else "",
    )
    return element(
        "svg",
        "".join(drawn),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
        aria_label=title,
        data_fingerprint=summary.get("fingerprint"),
        data_weights=view.versions.get("weights_digest"),
    )


def _legend() -> str:
    entries = []
    for index, (style, name) in enumerate(KEYS):
        x = MARGIN + 110 * index
        if style.startswith("area"):
            mark = element("rect", x=x, y=44, width=26, height=12, class_=style)
        elif style.startswith("dots"):
            mark = element("path", d=f"M{x + 13} 50h0", class_=style)
        else:
            mark = element("path", d=f"M{x} 50h26", class_=style)
        entries.append(mark + text(name, x=x + 34, y=54))
    return "".join(entries)
