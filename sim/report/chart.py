"""A figure with two axes as SVG, sharp and readable at any width.

The `<svg>` element is the plotting area itself; tick labels hang over its edges into the margins that the
style sheet leaves. Ticks sit at percentages, so text keeps its size; curves live in an inner drawing of
`WIDTH` by `HEIGHT` units that is stretched to fit, with strokes that keep their width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.report.axes import Axis
from sim.report.svg import Place, band_path, dots_path, element, line_path, percent, text

WIDTH = 3000
HEIGHT = 1000
FAR_OUT = 10.0
"""Curves are clipped at this many times the height of the axis; the plotting area hides what is outside."""


@dataclass(frozen=True, slots=True)
class Shade:
    """A stretch of an axis that is shaded, with the reason as its tooltip."""

    start: float
    stop: float
    reason: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Two axes, and the curves between them drawn in order.

    Methods give markup for `draw`; `style` is the class that the style sheet colours.
    """

    x: Axis
    y: Axis

    def line(self, x: ArrayLike, y: ArrayLike, style: str) -> str:
        """A curve with gaps where a value is not a number."""
        return element("path", d=line_path(self._x(x), self._y(y)), class_=f"line {style}")

    def steps(self, x: ArrayLike, y: ArrayLike, style: str) -> str:
        """A staircase: each y holds from its x to the next; x has one element more than y."""
        edges, values = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        return self.line(np.repeat(edges, 2)[1:-1], np.repeat(values, 2), style)

    def area(self, x: ArrayLike, y: ArrayLike, style: str) -> str:
        """The area between the axis and a staircase; x has one element more than y."""
        edges, values = np.repeat(np.asarray(x, dtype=np.float64), 2)[1:-1], np.repeat(np.asarray(y), 2)
        return self.band(edges, np.full(len(edges), self.y.low), values, style)

    def band(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, style: str) -> str:
        """The area between two curves."""
        return element("path", d=band_path(self._x(x), self._y(low), self._y(high)), class_=f"area {style}")

    def dots(self, x: ArrayLike, y: ArrayLike, style: str) -> str:
        """Round dots of one size."""
        return element("path", d=dots_path(self._x(x), self._y(y)), class_=f"dots {style}")

    def shade(self, shades: Sequence[Shade]) -> str:
        """Hatched stretches of the x axis."""
        drawn = []
        for shade in shades:
            start, stop = (
                float(share) for share in np.clip(self.x.share([shade.start, shade.stop]), 0.0, 1.0)
            )
            if stop > start:
                why = element("title", _escaped(shade.reason))
                drawn.append(
                    element(
                        "rect",
                        why,
                        x=start * WIDTH,
                        y=0,
                        width=(stop - start) * WIDTH,
                        height=HEIGHT,
                        class_="outage",
                    )
                )
        return "".join(drawn)

    def mark(self, x: float, label: str, row: int = 0) -> str:
        """A labelled vertical line, in the outer drawing; rows keep labels of close lines apart."""
        share = float(self.x.share(x))
        if not 0.0 <= share <= 1.0:
            return ""
        at, end = percent(share), share > 0.7
        return element("line", x1=at, x2=at, y1="0", y2="100%", class_="mark") + text(
            label,
            x=at,
            y=12 + 15 * row,
            dx=-4 if end else 4,
            class_="mark-label end" if end else "mark-label",
        )

    def draw(
        self,
        curves: Sequence[str],
        *,
        label: str,
        titles: tuple[str, str] = ("", ""),
        over: str = "",
        style: str = "",
        place: Place | None = None,
    ) -> str:
        """The whole figure.

        Args:
            curves: markup from the methods above, from back to front.
            label: what the figure shows, in a sentence, for those who cannot see it.
            titles: of the x and the y axis.
            over: markup in the outer drawing, over the curves.
            style: further classes of the figure.
            place: where it stands if no style sheet places it.
        """
        inner = element(
            "svg",
            "".join(curves),
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            preserveAspectRatio="none",
            width="100%",
            height="100%",
        )
        return element(
            "svg",
            self._grid() + self._titles(*titles) + inner + over,
            class_=f"plot {style}".strip(),
            role="img",
            aria_label=label,
            **(place._asdict() if place else {}),
        )

    def _grid(self) -> str:
        lines = []
        for index, (value, name) in enumerate(self.x.ticks):
            at = percent(float(self.x.share(value)))
            crowded = " odd" if index % 2 else ""
            lines.append(element("line", x1=at, x2=at, y1="0", y2="100%", class_="grid"))
            lines.append(text(name, x=at, y="100%", dy=16, class_="tick-x" + crowded))
        for value, name in self.y.ticks:
            at = percent(1.0 - float(self.y.share(value)))
            lines.append(element("line", x1="0", x2="100%", y1=at, y2=at, class_="grid"))
            lines.append(text(name, x="0", y=at, dx=-6, dy=4, class_="tick-y"))
        return "".join(lines)

    def _titles(self, x: str, y: str) -> str:
        below = text(x, x="100%", y="100%", dy=30, class_="title-x") if x else ""
        above = text(y, x="0", y="0", dx=-6, dy=-10, class_="title-y") if y else ""
        return below + above

    def _x(self, values: ArrayLike) -> NDArray[np.float64]:
        return self.x.share(values) * WIDTH

    def _y(self, values: ArrayLike) -> NDArray[np.float64]:
        return (1.0 - np.clip(self.y.share(values), -FAR_OUT, FAR_OUT)) * HEIGHT


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;")
