"""The report as one HTML page that asks for nothing from outside."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.report import figures
from sim.report.axes import clock
from sim.report.city import ATTRIBUTION
from sim.report.setting import LinkSetting, Setting
from sim.report.svg import element
from sim.report.view import (
    NUM_BS,
    RADIUS_90_M,
    T_S,
    TRACK_ERROR_M,
    TRACK_M,
    TRUE_M,
    LinkView,
    RunView,
    UeView,
)
from sim.summary_text import MISSING, metres, percent, seconds

HERE = Path(__file__).resolve().parent
HASHES = ("fingerprint", "digest")


def page(view: RunView, setting: Setting) -> str:
    """The whole page, from what the tables and what the scenario of a run say."""
    style = _asset("marks.css") + _asset("page.css")
    script = _asset("page.js")
    policy = (
        f"default-src 'none'; style-src '{_source_hash(style)}'; script-src '{_source_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    name = str(view.summary.get("scenario", "run"))
    body = "".join(
        (
            '<a class="skip" href="#results">Skip to the figures</a>',
            _header(name, view, setting),
            '<main id="results">',
            _where(view, setting),
            *(_ue(ue, view, setting) for ue in view.ues),
            _distributions(view),
            _fronthaul(view, setting),
            _faults(view, setting),
            _all_figures(view.summary),
            "</main>",
            _footer(view, setting),
            _controls(view),
        )
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(name)} – fronthaul-sim</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'{body}\n<script type="application/json" id="run">{_data(view)}</script>\n'
        f"<script>{script}</script>\n"
        "</body>\n</html>\n"
    )


def _header(name: str, view: RunView, setting: Setting) -> str:
    summary = view.summary
    problems = [f"INVALID: {error}" for error in _texts(summary.get("errors"))]
    if not summary.get("complete", True):
        problems.append("The run did not reach its end; this is what it had written.")
    if setting.problem:
        problems.append(
            f"The scenario could not be read, so sites, links and faults are missing: {setting.problem}"
        )
    what = (
        f"Scenario {name}, {_counted(view.num_ues, 'UE')}, {view.duration_s:g} s, "
        f"{_counted(len(view.links), 'base station')}."
    )
    return "".join(
        (
            "<header>",
            f"<h1>{escape(setting.description or name)}</h1>",
            f'<p class="quiet">{escape(what)}</p>',
            *(f'<p class="problem" role="alert">{escape(problem)}</p>' for problem in problems),
            _tiles(summary),
            "</header>",
        )
    )


def _tiles(summary: Mapping[str, Any]) -> str:
    frames = summary.get("frames", {})

    def below(key: str, unit: Callable[[float | None], str]) -> str:
        return f"below {unit(summary.get(key))}"

    wall_s, simulated_s = summary.get("wall_time_s"), summary.get("sim_time_s")
    pace = f"{simulated_s / wall_s:.1f} times real time" if wall_s and simulated_s else ""
    tiles = (
        (
            "Track error, mean 3D",
            metres(summary.get("track_error_3d_mean_m")),
            f"90 % {below('track_error_3d_e90_m', metres)}",
        ),
        (
            "Fix error, mean 3D",
            metres(summary.get("fix_error_3d_mean_m")),
            f"90 % {below('fix_error_3d_e90_m', metres)}",
        ),
        ("Latency, median", seconds(summary.get("latency_p50_s")), f"99 % {below('latency_p99_s', seconds)}"),
        (
            "Age of information, median",
            seconds(summary.get("age_p50_s")),
            f"99 % {below('age_p99_s', seconds)}",
        ),
        (
            "Payload of the CSI (η)",
            percent(summary.get("payload_ratio")),
            f"on the wire {percent(summary.get('wire_ratio'))}",
        ),
        (
            "Frames delivered",
            _thousands(frames.get("delivered")),
            f"of {_thousands(frames.get('sent'))} sent",
        ),
        ("Fixes", _thousands(summary.get("fixes")), f"{_thousands(summary.get('fixes_missed'))} missed"),
        ("Simulated in", seconds(wall_s), pace),
    )
    cells = (
        f"<div><dt>{escape(title)}</dt><dd>{escape(value)}<small>{escape(beside)}</small></dd></div>"
        for title, value, beside in tiles
    )
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def _where(view: RunView, setting: Setting) -> str:
    drawn = figures.overview(view, setting)
    if not drawn:
        return '<h2>Where</h2><p class="nothing">No snapshot was recorded.</p>'
    legend = _legend(
        (
            ("line truth", "true path"),
            ("line track", "track"),
            ("area claim", "where the track claims to be nine times in ten"),
            ("dots fix", "fix"),
            ("site", "base station"),
        )
    )
    close_ups = "".join(
        f'<div data-part-of="{escape(ue.ue)}">'
        f"{_figure(figures.close_up(ue, setting), f'Close-up of {ue.ue}')}</div>"
        for ue in view.ues
    )
    shades = "Stronger shades are higher buildings." if setting.city else ""
    chosen = (
        f"Of {view.num_ues} UEs the {len(view.ues)} with the largest errors are shown."
        if view.num_ues > len(view.ues)
        else ""
    )
    return (
        f'<h2>Where</h2>{legend}<div class="two">{_figure(drawn, "The whole deployment", "overview")}'
        f'<div>{close_ups}</div></div><p class="quiet">{shades} {chosen}</p>'
    )


def _ue(ue: UeView, view: RunView, setting: Setting) -> str:
    fault = (("area outage", "fault"),) if setting.faults else ()
    missed = (("dots missed", "no fix"),) if ue.missed.any() else ()
    legend = _legend(
        (
            ("line track", "track"),
            ("dots fix", "fix"),
            ("area claim", "where the track claims that nine in ten errors lie"),
            ("line truth", "truth"),
            *missed,
            *fault,
        )
    )
    caption = "3D error."
    if len(view.ues) == 1 and np.isfinite(view.inside_90):
        caption += f" {100 * view.inside_90:.1f} % of the track's errors lie in the band, which claims 90 %."
    if view.bin_s * ue.snapshots > 1.01 * view.duration_s:
        caption += f" Each point is the worst of {view.bin_s:.2g} s."
    return (
        f'<section data-part-of="{escape(ue.ue)}"><h2>{escape(ue.ue)} over time</h2>{legend}'
        + _figure(figures.error_over_time(ue, view, setting), caption)
        + _figure(figures.height_over_time(ue, view, setting), "Height")
        + _figure(figures.stations_over_time(ue, view, setting), "Base stations used for the fix")
        + "</section>"
    )


def _distributions(view: RunView) -> str:
    legend = _legend(
        (
            ("line track", "track, 3D"),
            ("line fix", "fix, 3D"),
            ("line track-h", "track, horizontal"),
            ("line track-v", "track, vertical"),
        )
    )
    beyond = (
        f"The worst {100 * (1 - figures.CDF_TO):.0f} % lie beyond the right edge."
        if view.fix_error.total
        else ""
    )
    return (
        '<h2>How far off, how late</h2><div class="three">'
        + _figure(figures.error_distribution(view), f"Share of errors below. {beyond}", after=legend)
        + _figure(
            figures.time_distribution(
                *view.latency.cumulative(), "latency", *_half_and_99(view.summary, "latency")
            ),
            "Latency: from the snapshot to its fix",
        )
        + _figure(
            figures.time_distribution(*view.age, "age of information", *_half_and_99(view.summary, "age")),
            "Age of information: how old the freshest fix is, at any time",
        )
        + "</div>"
    )


def _half_and_99(summary: Mapping[str, Any], key: str) -> tuple[float | None, float | None]:
    return summary.get(f"{key}_p50_s"), summary.get(f"{key}_p99_s")


def _fronthaul(view: RunView, setting: Setting) -> str:
    by_bs = {link.bs: link for link in view.links}
    settings = setting.links or tuple(LinkSetting(link.bs, (link.bs,), None) for link in view.links)
    lanes = []
    for index, of_link in enumerate(settings):
        links = [by_bs[bs] for bs in of_link.members if bs in by_bs]
        used = figures.usage(of_link, links, view)
        last = " last" if index == len(settings) - 1 else ""
        lanes.append(
            f'<div class="lane-row{last}"><p><strong>{escape(of_link.name)}</strong><br>{escape(used)}</p>'
            f"{figures.link_lane(of_link, links, view, setting.faults)}</div>"
        )
    legend = _legend(
        (
            ("area carried", "carried"),
            ("area lost", "lost"),
            *((("area outage", "fault"),) if setting.faults else ()),
        )
    )
    return (
        "<h2>Fronthaul</h2><p>What each link delivered and lost over time, in bits on the wire. Each lane is "
        f"scaled to its own peak.</p>{legend}{''.join(lanes)}"
        f"<h3>Frames dropped, by cause</h3>{figures.drops(view.links)}{_frame_table(view.links)}"
    )


def _frame_table(links: Sequence[LinkView]) -> str:
    causes = sorted({cause for link in links for cause in link.dropped})
    names = [cause.replace("_", " ") for cause in causes]
    swatches = _legend(
        (f"area {figures.cause_style(cause)}", name) for cause, name in zip(causes, names, strict=True)
    )
    counts = [
        (
            link.sent,
            link.delivered,
            *(link.dropped_by_cause.get(cause, 0) for cause in causes),
            link.in_flight,
        )
        for link in links
    ]
    rows = [(link.bs, *of_link) for link, of_link in zip(links, counts, strict=True)]
    totals = [sum(column) for column in zip(*counts, strict=True)]
    return swatches + _table(
        ("frames", "sent", "delivered", *names, "in flight"), rows, ("all", *totals) if rows else ()
    )


def _faults(view: RunView, setting: Setting) -> str:
    if not setting.faults:
        return ""
    rows = [
        (
            fault.target,
            fault.how,
            clock(fault.start_s, view.duration_s),
            clock(fault.stop_s, view.duration_s),
        )
        for fault in setting.faults[:200]
    ]
    more = f"<p>And {len(setting.faults) - 200} more.</p>" if len(setting.faults) > 200 else ""
    unit = " (s)" if view.duration_s <= 120 else ""
    return f"<h2>Faults</h2>{_table(('what', 'how', 'from' + unit, 'to' + unit), rows)}{more}"


def _all_figures(summary: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(key)}</code></td><td>{escape(value)}</td></tr>"
        for key, value in _flat(summary)
        if key not in HASHES
    )
    return (
        "<h2>All figures</h2><details><summary>summary.json as a table</summary>"
        f'<div class="scroll"><table>{rows}</table></div></details>'
    )


def _footer(view: RunView, setting: Setting) -> str:
    packages = view.versions.get("packages") or {}
    named = [f"{name} {version}" for name, version in packages.items() if version]
    named.append(f"Python {view.versions.get('python', MISSING)}")
    known = {
        **{name: view.summary.get(name) for name in HASHES},
        "commit": view.versions.get("git_commit"),
        "weights": view.versions.get("weights_digest"),
    }
    lines = [f"{name} <code>{escape(str(value))}</code>" for name, value in known.items() if value]
    city = f"<p>City: {ATTRIBUTION}.</p>" if setting.city else ""
    return (
        f"<footer>{city}<p>{'<br>'.join(lines)}</p><p>{escape(', '.join(named))}.</p>"
        "<p>The scenario with every default written out lies beside this file as "
        "<code>scenario.resolved.yaml</code>; running it again gives the same fingerprint.</p></footer>"
    )


def _controls(view: RunView) -> str:
    if not view.ues:
        return ""
    choice = ""
    if len(view.ues) > 1:
        options = "".join(f"<option>{escape(ue.ue)}</option>" for ue in view.ues)
        choice = f"<label>UE <select>{options}</select></label>"
    slider = element(
        "input",
        type="range",
        min=0,
        max=view.duration_s,
        step=f"{view.duration_s / 1000:g}",
        value=0,
        aria_label="Time",
    )
    return (
        '<div class="controls" role="group" aria-label="Time" hidden>'
        f'{choice}<button type="button">Play</button>{slider}<output></output></div>'
    )


def _data(view: RunView) -> str:
    """What the script needs, in centimetres and milliseconds; safe inside a script element."""
    ues = {
        ue.ue: {
            "t": _whole(1e3 * ue.points[T_S]),
            "truth": [_whole(100 * row) for row in ue.points[TRUE_M]],
            "track": [_whole(100 * row) for row in ue.points[TRACK_M]][:2],
            "error": _whole(100 * ue.points[TRACK_ERROR_M]),
            "radius": _whole(100 * ue.points[RADIUS_90_M]),
            "stations": _whole(ue.points[NUM_BS]),
        }
        for ue in view.ues
    }
    content = json.dumps({"duration_s": view.duration_s, "ues": ues}, separators=(",", ":"))
    return content.replace("<", "\\u003c")


def _whole(values: NDArray[np.float64]) -> list[int | None]:
    return [round(value) if np.isfinite(value) else None for value in values.tolist()]


def _figure(drawn: str, caption: str, style: str | None = None, after: str = "") -> str:
    return element("figure", f"<figcaption>{escape(caption)}</figcaption>{drawn}{after}", class_=style)


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    items = []
    for style, name in entries:
        kind = style.split()[0]
        if kind == "area":
            mark = element("rect", x=2, y=0, width=22, height=12, class_=style)
        elif kind == "dots":
            mark = element("path", d="M13 6h0", class_=style)
        elif kind == "site":
            mark = element("g", element("path", d="M13 0 19.5 12h-13z"), class_=style)
        else:
            mark = element("path", d="M0 6h26", class_=style)
        items.append(f'<li><svg aria-hidden="true">{mark}</svg>{escape(name)}</li>')
    return f'<ul class="legend">{"".join(items)}</ul>' if items else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], totals: Sequence[object] = ()) -> str:
    def line(cells: Sequence[object], kind: str = "td") -> str:
        return "<tr>" + "".join(f"<{kind}>{escape(_cell(cell))}</{kind}>" for cell in cells) + "</tr>"

    foot = f"<tfoot>{line(totals)}</tfoot>" if totals else ""
    heads = "<tr>" + "".join(f'<th scope="col">{escape(name)}</th>' for name in head) + "</tr>"
    body = "".join(line(row) for row in rows)
    return f'<div class="scroll"><table><thead>{heads}</thead><tbody>{body}</tbody>{foot}</table></div>'


def _cell(value: object) -> str:
    return _thousands(value) if isinstance(value, int) else str(value)


def _flat(summary: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    for key, value in summary.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        elif isinstance(value, float):
            yield above + key, f"{value:.6g}"
        elif isinstance(value, list):
            yield above + key, ", ".join(str(part) for part in value)
        else:
            yield above + key, MISSING if value is None else str(value)


def _texts(value: object) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else []


def _thousands(value: object) -> str:
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else MISSING


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _source_hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
