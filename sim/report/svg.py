"""The few SVG elements that the report's figures are made of.

A chart keeps its text at one size on every screen: positions on the axes are percentages, and only the
curves live in a stretched inner drawing whose strokes keep their width.
"""

from collections.abc import Iterable
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Place(NamedTuple):
    """Where a figure stands in a larger drawing; on a page the style sheet places it."""

    x: float
    y: float
    width: float
    height: float


def element(name: str, content: str = "", /, **attributes: object) -> str:
    """An element; attribute names write `-` as `_`, a trailing `_` is dropped, None leaves the attribute out.

    Content is markup and taken as it is; attribute values are escaped.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def number(value: object) -> str:
    """A number in as few characters as a drawing needs, anything else as its text."""
    if isinstance(value, float | np.floating):
        text = f"{value:.2f}".rstrip("0").rstrip(".")
        return "0" if text in ("", "-0") else text
    return str(value)


def percent(share: float) -> str:
    """A share (0 to 1) as a percentage of the drawing's side."""
    return f"{number(100.0 * share)}%"


def text(content: str, **attributes: object) -> str:
    """A text element; the content is escaped."""
    return element("text", escape(content), **attributes)


def line_path(x: ArrayLike, y: ArrayLike) -> str:
    """Path through the points, lifted wherever one is not a number; coordinates are rounded to integers."""
    commands: list[str] = []
    lifted = True
    previous = (0, 0)
    for px, py in _pairs(x, y):
        if not (np.isfinite(px) and np.isfinite(py)):
            lifted = True
            continue
        point = (round(px), round(py))
        if lifted:
            commands.append(f"M{point[0]} {point[1]}")
        elif point != previous:
            commands.append(f"l{point[0] - previous[0]} {point[1] - previous[1]}")
        lifted, previous = False, point
    return "".join(commands).replace(" -", "-")


def band_path(x: ArrayLike, low: ArrayLike, high: ArrayLike) -> str:
    """Closed paths between two curves, one for each stretch without gaps."""
    xs, lows, highs = (np.asarray(values, dtype=np.float64) for values in (x, low, high))
    known = np.isfinite(xs) & np.isfinite(lows) & np.isfinite(highs)
    stretches = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(np.int8)))
    paths: list[str] = []
    for start, stop in stretches.reshape(-1, 2):
        part = slice(int(start), int(stop))
        around_x = np.concatenate((xs[part], xs[part][::-1]))
        around_y = np.concatenate((highs[part], lows[part][::-1]))
        paths.append(line_path(around_x, around_y) + "z")
    return "".join(paths)


def dots_path(x: ArrayLike, y: ArrayLike) -> str:
    """Path of zero-length strokes: round dots when drawn with a round line cap, of one size at any scale."""
    return "".join(
        f"M{round(px)} {round(py)}h0" for px, py in _pairs(x, y) if np.isfinite(px) and np.isfinite(py)
    )


def _pairs(x: ArrayLike, y: ArrayLike) -> Iterable[tuple[float, float]]:
    xs: NDArray[np.float64] = np.asarray(x, dtype=np.float64)
    ys: NDArray[np.float64] = np.asarray(y, dtype=np.float64)
    return zip(xs.tolist(), ys.tolist(), strict=True)
