"""The figures of a report, each from what it shows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.report.axes import CLOCK_FROM_S, linear_axis, time_axis
from sim.report.chart import Chart, Shade
from sim.report.city import outlines
from sim.report.plan import Box, Plan
from sim.report.setting import FaultSpan, LinkSetting, Setting, bit_rate
from sim.report.svg import Place, element, percent, text
from sim.report.view import (
    FIX_ERROR_M,
    FIX_M,
    HEIGHT_90_M,
    LINK_BINS,
    NUM_BS,
    PLANE_M2,
    RADIUS_90_M,
    T_S,
    TRACK_ERROR_M,
    TRACK_M,
    TRUE_M,
    LinkView,
    RunView,
    UeView,
)
from sim.summary_text import seconds

Floats = NDArray[np.float64]

HEADROOM = 1.05
CDF_TO = 0.99
HISTOGRAM_BARS = 40
MAX_FAULT_NAMES = 9
MOST_ELLIPSES = 60
LANE_BINS = 160
SNAPSHOTS_PER_LANE_BIN = 5
CAUSES = ("loss", "queue_full", "superseded", "link_down", "bs_down", "silent", "late")
"""Causes of a drop that have a colour of their own."""


def overview(view: RunView, setting: Setting, place: Place | None = None) -> str:
    """The whole deployment from above: city, sites, and the ways of all UEs."""
    ways = [ue.points[TRUE_M] for ue in view.ues]
    sites = np.array(list(setting.sites_m.values())).reshape(-1, 2).T
    box = Box.around([*ways, sites])
    if box is None:
        return ""
    plan = Plan(box)
    drawn = _buildings(plan, setting)
    for ue in view.ues:
        way = plan.line(ue.points[TRUE_M], "truth") + plan.line(ue.points[TRACK_M], "track")
        drawn += element("g", way, data_ue=ue.ue)
    label = (
        f"Map from above, {box.side_m:.0f} m wide: "
        f"{len(setting.sites_m)} base stations and the ways of {len(ways)} UEs."
    )
    return plan.draw([drawn], label=label, over=_sites(plan, setting), place=place)


def close_up(ue: UeView, setting: Setting, place: Place | None = None) -> str:
    """One UE's way from above: truth, fixes, and track with ellipses of what it claims."""
    truth, fixes, track = ue.points[TRUE_M], ue.points[FIX_M], ue.points[TRACK_M]
    box = Box.around([truth, track], margin=0.12)
    if box is None:
        return ""
    plan = Plan(box)
    known = np.flatnonzero(np.isfinite(ue.points[PLANE_M2]).all(axis=0))
    some = known[:: -(-len(known) // MOST_ELLIPSES) or 1]
    drawn = [
        _buildings(plan, setting),
        plan.ellipses(track[:, some], ue.points[PLANE_M2, some], "claim"),
        plan.dots(fixes, "fix"),
        plan.line(track, "track"),
        plan.line(truth, "truth"),
    ]
    label = f"Map from above, {box.side_m:.0f} m wide: true path, fixes and track of {ue.ue}, "
    label += "and ellipses in which the track claims to be nine times in ten."
    return plan.draw(drawn, label=label, over=_sites(plan, setting), place=place)


def error_over_time(ue: UeView, view: RunView, setting: Setting, place: Place | None = None) -> str:
    """3D error of fixes and track, and what the track itself claims."""
    t_s, fix, track, claim = ue.points[[T_S, FIX_ERROR_M, TRACK_ERROR_M, RADIUS_90_M]]
    top = _top(np.concatenate([track, claim, _but_largest(fix)]))
    chart = Chart(time_axis(view.duration_s), linear_axis(0.0, top, about=4))
    missed = t_s[ue.missed > 0]
    curves = [
        chart.shade(shades(setting.faults)),
        chart.band(t_s, np.zeros(len(t_s)), claim, "claim"),
        chart.dots(t_s, fix, "fix"),
        chart.line(t_s, track, "track"),
        chart.dots(missed, np.zeros(len(missed)), "missed"),
    ]
    above = int((fix > top).sum())
    beyond = text(f"{above} fixes above", x="100%", y="0", dy=-8, class_="title-x") if above else ""
    return chart.draw(
        curves,
        label=f"3D error of {ue.ue} over time: {_typical('track', track)}; {_typical('fixes', fix)}.",
        titles=(time_title(view), "m"),
        over=_fault_names(chart, setting.faults) + beyond,
        style="time",
        place=place,
    )


def height_over_time(ue: UeView, view: RunView, setting: Setting, place: Place | None = None) -> str:
    """True height, fixes, and track with its own 90 % band."""
    t_s, truth, fix, track, spread = ue.points[
        [T_S, TRUE_M.stop - 1, FIX_M.stop - 1, TRACK_M.stop - 1, HEIGHT_90_M]
    ]
    low, high = track - spread, track + spread
    shown = np.concatenate([truth, track, low, high])
    shown = shown[np.isfinite(shown)]
    bottom, top = (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 1.0)
    chart = Chart(
        time_axis(view.duration_s), linear_axis(bottom - 0.5, max(top + 0.5, bottom + 2.0), about=4)
    )
    curves = [
        chart.shade(shades(setting.faults)),
        chart.band(t_s, low, high, "claim"),
        chart.dots(t_s, fix, "fix"),
        chart.line(t_s, track, "track"),
        chart.line(t_s, truth, "truth"),
    ]
    return chart.draw(
        curves,
        label=f"Height of {ue.ue} over time, from {bottom:.1f} to {top:.1f} m: truth, fixes and track.",
        titles=(time_title(view), "m"),
        style="time",
        place=place,
    )


def stations_over_time(ue: UeView, view: RunView, setting: Setting) -> str:
    """How many BSs each fix used."""
    t_s, counts = ue.points[[T_S, NUM_BS]]
    chart = Chart(time_axis(view.duration_s), linear_axis(0.0, max(_top(counts), 2.0), about=3, whole=True))
    curves = [
        chart.shade(shades(setting.faults)),
        chart.steps(np.append(t_s, view.duration_s), counts, "stations"),
    ]
    return chart.draw(
        curves,
        label=f"Base stations used for each fix of {ue.ue} over time.",
        titles=(time_title(view), ""),
        style="time low",
    )


def error_distribution(view: RunView) -> str:
    """Share of errors below each size, fixes and track."""
    series = {
        "fix": view.fix_error,
        "track-h": view.track_error_h,
        "track-v": view.track_error_v,
        "track": view.track_error,
    }
    known = {style: histogram for style, histogram in series.items() if histogram.total}
    if not known:
        return element("p", "No error was measured.", class_="nothing")
    right = max(histogram.quantile(CDF_TO) for histogram in known.values())
    shares = linear_axis(0.0, 1.0, about=4, label=_percent)
    chart = Chart(linear_axis(0.0, right, about=5), shares)
    curves = []
    for style, histogram in known.items():
        values, below = histogram.cumulative()
        end = max(right, float(values[-1]))
        curves.append(chart.line(np.append(values, end), np.append(below, 1.0), style))
    track = view.track_error
    label = (
        f"Distribution of errors: half of the track errors are below {track.quantile(0.5):.2f} m, "
        f"nine in ten below {track.quantile(0.9):.2f} m."
    )
    return chart.draw(curves, label=label, titles=("error, m", ""), style="square")


def time_distribution(
    values_s: Floats, shares: Floats, what: str, median_s: float | None, late_s: float | None
) -> str:
    """Histogram of a time that is known by its cumulative distribution.

    Args:
        values_s: increasing times in s.
        shares: share of all that does not exceed each, 0 to 1.
        what: the name of the quantity.
        median_s: its median, exactly.
        late_s: its 99 % quantile, exactly.
    """
    if len(values_s) == 0 or median_s is None or late_s is None:
        return element("p", f"No {what} was measured.", class_="nothing")
    least_s, most_s = float(values_s[0]), max(late_s, float(np.interp(0.995, shares, values_s)))
    span_s = max(most_s - least_s, 0.1 * most_s, 1e-6)
    start_s = 0.0 if least_s < 0.5 * most_s else max(0.0, least_s - 0.5 * span_s)
    axis = linear_axis(1e3 * start_s, 1e3 * (least_s + span_s) * HEADROOM, about=5)
    edges_ms = np.linspace(axis.low, axis.high, HISTOGRAM_BARS + 1)
    portions = np.diff(np.interp(edges_ms / 1e3, values_s, shares, left=0.0, right=1.0))
    chart = Chart(axis, linear_axis(0.0, 1.2 * _top(portions), about=4, label=_percent))
    marks = chart.mark(1e3 * median_s, f"p50 {seconds(median_s)}")
    marks += chart.mark(1e3 * late_s, f"p99 {seconds(late_s)}", row=1)
    return chart.draw(
        [chart.area(edges_ms, portions, "bars")],
        label=f"Distribution of {what}: median {seconds(median_s)}, 99 % below {seconds(late_s)}.",
        titles=("ms", ""),
        over=marks,
        style="square",
    )


def link_lane(
    setting: LinkSetting, links: Sequence[LinkView], view: RunView, faults: Sequence[FaultSpan]
) -> str:
    """What one link carried and lost over time, scaled to its peak, with its faults."""
    edges_s, carried_bps, lost_bps = link_rates(links, view)
    top = float((carried_bps + lost_bps).max()) or 1.0
    chart = Chart(time_axis(view.duration_s), linear_axis(0.0, 1.0, about=1, label=lambda _: ""))
    curves = [
        chart.shade(shades(faults, setting.name)),
        chart.area(edges_s, (carried_bps + lost_bps) / top, "lost"),
        chart.area(edges_s, carried_bps / top, "carried"),
    ]
    label = f"Link {setting.name} over time: {usage(setting, links, view)}."
    return chart.draw(curves, label=label, titles=(time_title(view), ""), style="time lane")


def link_rates(links: Sequence[LinkView], view: RunView) -> tuple[Floats, Floats, Floats]:
    """What several links delivered and lost over time.

    Bins are wide enough that the snapshots of a steady source fall evenly into them.

    Returns:
        Edges of the bins in s, [n + 1]; delivered and lost bit/s in each, [n].
    """
    snapshots = max((link.sent for link in links), default=0) / max(view.num_ues, 1)
    num_bins = int(np.clip(snapshots / SNAPSHOTS_PER_LANE_BIN, 1, LANE_BINS))
    while LINK_BINS % num_bins:
        num_bins -= 1
    per_second = num_bins / view.duration_s
    none = np.zeros(LINK_BINS)
    delivered = np.sum([none, *(link.delivered_bits for link in links)], axis=0)
    lost = np.sum([none, *(link.lost_bits for link in links)], axis=0)
    return (
        np.linspace(0.0, view.duration_s, num_bins + 1),
        delivered.reshape(num_bins, -1).sum(axis=1) * per_second,
        lost.reshape(num_bins, -1).sum(axis=1) * per_second,
    )


def usage(setting: LinkSetting, links: Sequence[LinkView], view: RunView) -> str:
    """How busy a link was, and its capacity."""
    if setting.capacity_bps is None:
        return f"{bit_rate(float(link_rates(links, view)[1].mean()))} on average"
    busy = view.summary.get("links", {}).get(setting.name, {}).get("utilisation")
    if busy is None:
        busy = float(link_rates(links, view)[1].mean()) / setting.capacity_bps
    return f"busy {_percent(busy)} of the time at {bit_rate(setting.capacity_bps)}"


def drops(links: Sequence[LinkView]) -> str:
    """Dropped frames of each BS, stacked by cause."""
    most = max((sum(link.dropped_by_cause.values()) for link in links), default=0)
    if most == 0:
        return element("p", "No frame was dropped.", class_="nothing")
    rows = []
    for index, link in enumerate(links):
        top = 22 * index
        bars, left = [], 0.0
        for cause, count in link.dropped_by_cause.items():
            width = 100.0 * count / most
            why = element("title", f"{link.bs}: {count} × {cause.replace('_', ' ')}")
            bars.append(
                element(
                    "rect",
                    why,
                    x=f"{left:.2f}%",
                    width=f"{width:.2f}%",
                    y=top,
                    height=16,
                    class_=cause_style(cause),
                )
            )
            left += width
        rows.append("".join(bars) + text(link.bs, x=-6, y=top + 12, class_="tick-y"))
    label = (
        "Dropped frames: "
        + "; ".join(f"{link.bs} {sum(link.dropped_by_cause.values())}" for link in links)
        + "."
    )
    return element("svg", "".join(rows), class_="drops", role="img", aria_label=label, height=22 * len(links))


def cause_style(cause: str) -> str:
    """The style class of a cause."""
    return f"cause-{cause}" if cause in CAUSES else "cause-other"


def time_title(view: RunView) -> str:
    """What a time axis shows."""
    return "time, s" if view.duration_s <= CLOCK_FROM_S else "time"


def shades(faults: Sequence[FaultSpan], target: str | None = None) -> list[Shade]:
    """The faults of one target, or of all, as shaded stretches of time."""
    return [
        Shade(fault.start_s, fault.stop_s, str(fault)) for fault in faults if target in (None, fault.target)
    ]


def _fault_names(chart: Chart, faults: Sequence[FaultSpan]) -> str:
    """The names of the faults where they begin, if they are few enough to be read."""
    if len(faults) > MAX_FAULT_NAMES:
        return ""
    return "".join(
        text(
            str(fault),
            x=percent(float(chart.x.share(fault.start_s))),
            y=13 + 14 * (row % 3),
            dx=4,
            class_="fault",
        )
        for row, fault in enumerate(faults)
    )


def _buildings(plan: Plan, setting: Setting) -> str:
    return plan.buildings(outlines(setting.city, plan.box)) if setting.city else ""


def _sites(plan: Plan, setting: Setting) -> str:
    return "".join(plan.site(name, x_m, y_m) for name, (x_m, y_m) in setting.sites_m.items())


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _but_largest(values: Floats, share: float = 0.02) -> Floats:
    """The finite values without the largest few, so that these do not squeeze an axis."""
    finite = values[np.isfinite(values)]
    return finite[finite <= np.quantile(finite, 1 - share)] if len(finite) else finite


def _top(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) * HEADROOM if len(finite) else 1.0


def _typical(name: str, errors: Floats) -> str:
    finite = errors[np.isfinite(errors)]
    if len(finite) == 0:
        return f"no {name}"
    return f"{name} median {np.median(finite):.2f} m, largest {finite.max():.2f} m"
