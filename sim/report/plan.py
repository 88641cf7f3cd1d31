"""A square piece of the world from above as SVG: x to the right, y upwards, both in metres."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.report.axes import round_step
from sim.report.svg import Place, dots_path, element, line_path, percent, text

UNITS = 2000
"""Side of the drawing."""
PLANE_90 = 2.145966026289347
"""Standard deviations within which a Gaussian in a plane stays nine times in ten."""
CORNERS = 32
"""Of an ellipse."""


@dataclass(frozen=True, slots=True)
class Box:
    """A square of the world.

    Attributes:
        left_m: its least x.
        bottom_m: its least y.
        side_m: its side.
    """

    left_m: float
    bottom_m: float
    side_m: float

    @classmethod
    def around(
        cls, points_m: Iterable[ArrayLike], margin: float = 0.06, least_m: float = 24.0
    ) -> "Box | None":
        """The square around horizontal points, each array [2 or more, n]; None without any finite point.

        Args:
            points_m: x and y are the first two rows of each.
            margin: free space on every side, as a share of the extent.
            least_m: smallest side.
        """
        parts = [np.asarray(part, dtype=np.float64)[:2] for part in points_m]
        xy = np.concatenate([np.zeros((2, 0)), *parts], axis=1)
        xy = xy[:, np.isfinite(xy).all(axis=0)]
        if xy.shape[1] == 0:
            return None
        low, high = xy.min(axis=1), xy.max(axis=1)
        side = max(float((high - low).max()) * (1 + 2 * margin), least_m)
        left, bottom = (low + high - side) / 2
        return cls(float(left), float(bottom), side)

    def x(self, x_m: ArrayLike) -> NDArray[np.float64]:
        """Drawing units of world x."""
        units: NDArray[np.float64] = (np.asarray(x_m, dtype=np.float64) - self.left_m) / self.side_m * UNITS
        return units

    def y(self, y_m: ArrayLike) -> NDArray[np.float64]:
        """Drawing units of world y."""
        share = (np.asarray(y_m, dtype=np.float64) - self.bottom_m) / self.side_m
        units: NDArray[np.float64] = (1.0 - share) * UNITS
        return units

    def holds(self, x_m: float, y_m: float) -> bool:
        """Whether a point lies inside."""
        return 0 <= x_m - self.left_m <= self.side_m and 0 <= y_m - self.bottom_m <= self.side_m


@dataclass(frozen=True, slots=True)
class Plan:
    """Draws a box of the world; methods give markup for `draw`."""

    box: Box

    def line(self, points_m: NDArray[np.float64], style: str) -> str:
        """A path over the ground; [2 or more, n]."""
        return element(
            "path", d=line_path(self.box.x(points_m[0]), self.box.y(points_m[1])), class_=f"line {style}"
        )

    def dots(self, points_m: NDArray[np.float64], style: str) -> str:
        """Round dots of one size; [2 or more, n]."""
        return element(
            "path", d=dots_path(self.box.x(points_m[0]), self.box.y(points_m[1])), class_=f"dots {style}"
        )

    def ellipses(self, centre_m: NDArray[np.float64], plane_m2: NDArray[np.float64], style: str) -> str:
        """Where Gaussians stay nine times in ten, as one area.

        Args:
            centre_m: [2 or more, n].
            plane_m2: Horizontal covariances, xx, xy and yy, [3, n].
            style: As for a line.
        """
        xx, xy, yy = plane_m2
        long = np.sqrt(np.maximum(xx, 0.0))
        slope = np.divide(xy, long, out=np.zeros_like(xy), where=long > 0)
        short = np.sqrt(np.maximum(yy - slope**2, 0.0))
        turn = np.linspace(0.0, 2 * np.pi, CORNERS, endpoint=False)[:, None]
        x_m = centre_m[0] + PLANE_90 * long * np.cos(turn)
        y_m = centre_m[1] + PLANE_90 * (slope * np.cos(turn) + short * np.sin(turn))
        known = np.flatnonzero(np.isfinite(x_m).all(axis=0) & np.isfinite(y_m).all(axis=0))
        path = "".join(line_path(self.box.x(x_m[:, one]), self.box.y(y_m[:, one])) + "z" for one in known)
        return element("path", d=path, class_=f"area {style}")

    def buildings(self, outlines: Sequence[str]) -> str:
        """The city: one path for each height."""
        return "".join(element("path", d=path, class_="building") for path in outlines if path)

    def frame(self, box: Box, style: str) -> str:
        """The edge of a smaller box."""
        x, y = float(self.box.x(box.left_m)), float(self.box.y(box.bottom_m + box.side_m))
        side = box.side_m / self.box.side_m * UNITS
        return element("rect", x=x, y=y, width=side, height=side, class_=style)

    def site(self, name: str, x_m: float, y_m: float) -> str:
        """A BS as a triangle with its name, in the outer drawing."""
        if not self.box.holds(x_m, y_m):
            return ""
        left, top = float(self.box.x(x_m)) / UNITS, float(self.box.y(y_m)) / UNITS
        name_left = left > 0.85
        label = text(
            name, x=-9 if name_left else 9, y=4, class_="site-name end" if name_left else "site-name"
        )
        return element(
            "svg",
            element("path", d="M0-7 6.5 5h-13z") + label,
            x=percent(left),
            y=percent(top),
            class_="site",
        )

    def scale_bar(self) -> str:
        """A bar of round length, in the outer drawing."""
        length_m = round_step(self.box.side_m / 8)
        stop = percent(0.03 + length_m / self.box.side_m)
        bar = element("line", x1="3%", x2=stop, y1="97%", y2="97%", class_="scale")
        return bar + text(f"{length_m:g} m", x="3%", y="97%", dy=-6, class_="scale-label")

    def draw(self, drawn: Sequence[str], *, label: str, over: str = "", place: Place | None = None) -> str:
        """The whole map; arguments as for `Chart.draw`. Its element carries the box for markers set later."""
        inner = element(
            "svg",
            "".join(drawn),
            viewBox=f"0 0 {UNITS} {UNITS}",
            width="100%",
            height="100%",
            preserveAspectRatio="none",
        )
        return element(
            "svg",
            element("rect", width="100%", height="100%", class_="ground") + inner + over + self.scale_bar(),
            class_="plan",
            role="img",
            aria_label=label,
            data_left=self.box.left_m,
            data_bottom=self.box.bottom_m,
            data_side=self.box.side_m,
            **(place._asdict() if place else {}),
        )
