"""The figures of a report, each from what it shows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.report.axes import linear_axis, time_axis
from sim.report.chart import Chart, Shade
from sim.report.city import outlines
from sim.report.histogram import LogHistogram
from sim.report.plan import Box, Plan
from sim.report.setting import FaultSpan, LinkSetting, Setting
from sim.report.svg import element, text
from sim.report.view import (
    FIX_ERROR_M,
    FIX_M,
    HEIGHT_90_M,
    LINK_BINS,
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

Floats = NDArray[np.float64]

HEADROOM = 1.05
CDF_TO = 0.99
LANE_BINS = 160
CAUSES = ("loss", "queue_full", "superseded", "link_down", "bs_down", "late")
"""Causes of a drop that have a colour of their own."""


def overview(view: RunView, setting: Setting) -> str:
    """The whole deployment from above: city, sites, and the ways of all UEs."""
    ways = [ue.points[TRUE_M] for ue in view.ues]
    sites = np.array([site for site in setting.sites_m.values()]).reshape(-1, 2).T
    box = Box.around([*ways, sites])
    if box is None:
        return ""
    plan = Plan(box)
    drawn = [plan.buildings(outlines(setting.city, box))] if setting.city else []
    for ue in view.ues:
        drawn.append(element("g", plan.line(ue.points[TRUE_M], "truth") + plan.line(ue.points[TRACK_M], "track"), data_ue=ue.ue))
    over = "".join(plan.site(name, x_m, y_m) for name, (x_m, y_m) in setting.sites_m.items())
    label = f"Map from above, {box.side_m:.0f} m wide: {len(setting.sites_m)} base stations and the ways of {len(ways)} UEs."
    return plan.draw(drawn, label=label, over=over)


def close_up(ue: UeView, setting: Setting, **geometry: object) -> str:
    """One UE's way from above: truth, fixes and track."""
    truth, fixes, track = ue.points[TRUE_M], ue.points[FIX_M], ue.points[TRACK_M]
    core = [truth, track]
    box = Box.around(core, margin=0.12)
    if box is None:
        return ""
    plan = Plan(box)
    drawn = [plan.buildings(outlines(setting.city, box))] if setting.city else []
    drawn += [plan.dots(fixes, "fix"), plan.line(truth, "truth"), plan.line(track, "track")]
    over = "".join(plan.site(name, x_m, y_m) for name, (x_m, y_m) in setting.sites_m.items())
    label = f"Map from above, {box.side_m:.0f} m wide: true path, fixes and track of {ue.ue}."
    return plan.draw(drawn, label=label, over=over, **geometry)


def error_over_time(ue: UeView, view: RunView, setting: Setting, **geometry: object) -> str:
    """3D error of fixes and track, and what the track itself claims."""
    points = ue.points
    shown = np.concatenate([points[TRACK_ERROR_M], points[RADIUS_90_M], _below(points[FIX_ERROR_M], 0.98)])
    chart = Chart(time_axis(view.duration_s), linear_axis(0.0, _top(shown), about=4))
    t_s = points[T_S]
    curves = [
        chart.shade(outages(setting.faults)),
        chart.band(t_s, np.zeros(len(t_s)), points[RADIUS_90_M], "claim"),
        chart.dots(t_s, points[FIX_ERROR_M], "fix"),
        chart.line(t_s, points[TRACK_ERROR_M], "track"),
    ]
    label = f"3D error of {ue.ue} over time in metres: {_typical('track', points[TRACK_ERROR_M])}; {_typical('fixes', points[FIX_ERROR_M])}."
    missed = t_s[ue.missed > 0]
    if len(missed):
        curves.append(chart.dots(missed, np.full(len(missed), chart.y.low), "missed"))
    return chart.draw(curves, label=label, style="time", **geometry)


def height_over_time(ue: UeView, view: RunView, setting: Setting, **geometry: object) -> str:
    """True height, fixes, and track with its own 90 % band."""
    points = ue.points
    truth, fixes, track = points[TRUE_M.start + 2], points[FIX_M.start + 2], points[TRACK_M.start + 2]
    low, high = track - points[HEIGHT_90_M], track + points[HEIGHT_90_M]
    shown = np.concatenate([truth, track, low, high])
    shown = shown[np.isfinite(shown)]
    bottom, top = (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 1.0)
    chart = Chart(time_axis(view.duration_s), linear_axis(bottom, max(top, bottom + 2.0), about=4))
    t_s = points[T_S]
    curves = [
        chart.shade(outages(setting.faults)),
        chart.band(t_s, low, high, "claim"),
        chart.dots(t_s, fixes, "fix"),
        chart.line(t_s, truth, "truth"),
        chart.line(t_s, track, "track"),
    ]
    label = f"Height of {ue.ue} over time in metres: truth, fixes and track."
    return chart.draw(curves, label=label, style="time", **geometry)


def stations_over_time(ue: UeView, view: RunView, setting: Setting) -> str:
    """How many BSs each fix used."""
    counts = ue.points[NUM_BS]
    chart = Chart(time_axis(view.duration_s), linear_axis(0.0, max(_top(counts), 2.0), about=3))
    curves = [chart.shade(outages(setting.faults)), chart.line(ue.points[T_S], counts, "stations")]
    return chart.draw(curves, label=f"Base stations used for each fix of {ue.ue} over time.", style="time low")


def error_distribution(view: RunView) -> str:
    """Share of errors below each size, fixes and track."""
    series = (
        ("fix", view.fix_error),
        ("track", view.track_error),
        ("track-h", view.track_error_h),
        ("track-v", view.track_error_v),
    )
    tops = [histogram.quantile(CDF_TO) for _, histogram in series if histogram.total]
    chart = Chart(linear_axis(0.0, max(tops, default=1.0), about=5), _share_axis())
    curves = []
    for style, histogram in series:
        values, shares = histogram.cumulative()
        curves.append(chart.line(np.append(values, chart.x.high), np.append(shares, 1.0)[: len(values) + 1], style))
    track = view.track_error
    label = f"Distribution of errors: half of the track errors are below {track.quantile(0.5):.2f} m, nine in ten below {track.quantile(0.9):.2f} m."
    return chart.draw(curves, label=label, style="square")


def time_distribution(values_s: Floats, shares: Floats, what: str) -> str:
    """Histogram of a time that is known by its cumulative distribution, with its median and 99 % quantile.

    Args:
        values_s: increasing times in s.
        shares: share of all that does not exceed each, 0 to 1.
        what: the name of the quantity.
    """
    if len(values_s) == 0:
        return element("p", f"No {what} was measured.", class_="nothing")
    median_s, late_s = (float(np.interp(share, shares, values_s)) for share in (0.5, 0.99))
    most_s = float(np.interp(0.995, shares, values_s))
    least_s = float(values_s[0])
    span = max(most_s - least_s, 0.1 * most_s)
    low_ms = 0.0 if least_s < 0.5 * most_s else 1e3 * max(0.0, least_s - 0.5 * span)
    axis = linear_axis(low_ms, 1e3 * (least_s + span) * HEADROOM, about=5)
    edges_ms = np.linspace(axis.low, axis.high, 41)
    below = np.interp(edges_ms / 1e3, values_s, shares, left=0.0, right=1.0)
    portion = np.diff(below)
    chart = Chart(axis, linear_axis(0.0, float(portion.max()) * HEADROOM, about=4, label=lambda share: f"{100 * share:g} %"))
    over = chart.mark(1e3 * median_s, f"p50 {1e3 * median_s:.3g} ms") + chart.mark(1e3 * late_s, f"p99 {1e3 * late_s:.3g} ms", row=1)
    label = f"Distribution of {what}: median {1e3 * median_s:.3g} ms, 99 % below {1e3 * late_s:.3g} ms."
    return chart.draw([chart.area(edges_ms, portion, "bars")], label=label, over=over, style="square")


def link_lane(setting: LinkSetting, links: Sequence[LinkView], view: RunView, faults: Sequence[FaultSpan]) -> str:
    """What one link carried over time, scaled to its peak, with outages and the times of its drops."""
    edges_s, rate_bps = carried(links, view.duration_s)
    top = float(rate_bps.max()) or 1.0
    chart = Chart(time_axis(view.duration_s), linear_axis(0.0, 1.0, about=1, label=lambda _: ""))
    curves = [
        chart.shade(outages(faults, setting.name)),
        chart.area(edges_s, rate_bps / top, "carried"),
    ]
    drop_times = _drop_times(links, view.duration_s)
    curves.append(chart.dots(drop_times, np.full(len(drop_times), 0.06), "drop"))
    label = f"Link {setting.name} over time: {usage(setting, rate_bps)}; {len(drop_times)} moments with drops."
    return chart.draw(curves, label=label, style="time lane")


def carried(links: Sequence[LinkView], duration_s: float) -> tuple[Floats, Floats]:
    """Edges of time bins in s, [n + 1], and bits per second that several links delivered in each, [n].

    Bins are wide enough that the frames of a steady source fall evenly into them.
    """
    delivered = max((link.delivered for link in links), default=0)
    num_bins = int(np.clip(delivered / 5, 1, LANE_BINS))
    while LINK_BINS % num_bins:
        num_bins -= 1
    bits = np.sum([link.delivered_bits for link in links], axis=0) if links else np.zeros(LINK_BINS)
    edges_s = np.linspace(0.0, duration_s, num_bins + 1)
    return edges_s, bits.reshape(num_bins, -1).sum(axis=1) / (duration_s / num_bins)


def usage(setting: LinkSetting, rate_bps: Floats) -> str:
    """Mean and peak of what a link carried, beside its capacity."""
    mean, peak = float(rate_bps.mean()), float(rate_bps.max())
    if setting.capacity_bps is None:
        return f"mean {bit_rate(mean)}, peak {bit_rate(peak)}, capacity unlimited"
    return f"mean {100 * mean / setting.capacity_bps:.2g} %, peak {100 * peak / setting.capacity_bps:.2g} % of {bit_rate(setting.capacity_bps)}"


def bit_rate(bps: float) -> str:
    """A bit rate for the eye."""
    for factor, unit in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
        if bps >= factor:
            return f"{bps / factor:.3g} {unit}"
    return f"{bps:.3g} bit/s"


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
            bars.append(element("rect", why, x=f"{left:.2f}%", width=f"{width:.2f}%", y=top, height=16, class_=cause_style(cause)))
            left += width
        rows.append("".join(bars) + text(link.bs, x=-6, y=top + 12, class_="tick-y"))
    label = "Dropped frames: " + "; ".join(f"{link.bs} {sum(link.dropped_by_cause.values())}" for link in links) + "."
    return element("svg", "".join(rows), class_="drops", role="img", aria_label=label, height=22 * len(links))


def cause_style(cause: str) -> str:
    """The style class of a cause."""
    return f"cause-{cause}" if cause in CAUSES else "cause-other"


def outages(faults: Sequence[FaultSpan], target: str | None = None) -> list[Shade]:
    """The faults of one target, or of all, as shaded stretches of time."""
    return [Shade(fault.start_s, fault.stop_s, str(fault)) for fault in faults if target in (None, fault.target)]


def _share_axis() -> "linear_axis":
    return linear_axis(0.0, 1.0, about=4, label=lambda share: f"{100 * share:g} %")


def _drop_times(links: Sequence[LinkView], duration_s: float) -> Floats:
    bins = np.zeros(LINK_BINS, dtype=np.int64)
    for link in links:
        for counts in link.dropped.values():
            bins += counts
    return (np.flatnonzero(bins) + 0.5) * duration_s / LINK_BINS


def _below(values: Floats, share: float) -> Floats:
    """The values without the largest few, so that a single one does not squeeze the axis."""
    finite = values[np.isfinite(values)]
    return finite[finite <= np.quantile(finite, share)] if len(finite) else finite


def _top(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) * HEADROOM if len(finite) else 1.0


def _typical(name: str, errors: Floats) -> str:
    finite = errors[np.isfinite(errors)]
    if len(finite) == 0:
        return f"no {name}"
    return f"{name} median {np.median(finite):.2f}, largest {finite.max():.2f}"
