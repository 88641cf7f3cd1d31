"""Where the base stations stand and how they listen: value objects and the ``munich6`` preset."""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[float, float, float]
Span = tuple[float, float]


@dataclass(frozen=True)
class Site:
    """One base station and where it stands."""

    bs: str
    position_in_world_m: Point


@dataclass(frozen=True)
class Area:
    """The box in which UEs may move, and in which the shipped models were trained."""

    x_m: Span
    y_m: Span
    z_m: Span


@dataclass(frozen=True)
class Radio:
    """Signal and array, the same at every site.

    Of ``num_subcarriers`` every ``keep_every``-th carries a pilot. Arrays are planar with half a wavelength
    between elements. Slots of one snapshot lie ``slot_interval_s`` apart.
    """

    carrier_hz: float
    subcarrier_spacing_hz: float
    num_subcarriers: int
    keep_every: int
    num_slots: int
    slot_interval_s: float
    array_rows: int
    array_columns: int
    element: str
    polarisation: str
    ue_power_dbm: float
    noise_figure_db: float

    @property
    def num_pilots(self) -> int:
        """Subcarriers with a pilot."""
        return self.num_subcarriers // self.keep_every

    @property
    def num_antennas(self) -> int:
        """Elements of one array."""
        return self.array_rows * self.array_columns


@dataclass(frozen=True)
class Deployment:
    """Sites in a scene, the point that all arrays look at, the area they serve, and the radio."""

    name: str
    scene: str
    sites: tuple[Site, ...]
    boresight_in_world_m: Point
    area: Area
    radio: Radio

    @property
    def bs_ids(self) -> tuple[str, ...]:
        """Ids of the base stations, in the order of all arrays indexed by BS."""
        return tuple(site.bs for site in self.sites)

    def site(self, bs: str) -> Site:
        """The site of one base station; raises KeyError if there is none."""
        for site in self.sites:
            if site.bs == bs:
                return site
        raise KeyError(bs)


MUNICH6 = Deployment(
    name="munich6",
    scene="munich",
    sites=(
        Site("bs1", (125.5, 82.1, 27.5)),
        Site("bs2", (27.7, 204.0, 32.5)),
        Site("bs3", (165.4, -1.1, 36.5)),
        Site("bs4", (-116.0, 48.0, 42.5)),
        Site("bs5", (129.7, 156.6, 26.0)),
        Site("bs6", (-67.6, -53.5, 29.0)),
    ),
    boresight_in_world_m=(30.0, 60.0, 10.0),
    area=Area(x_m=(-80.0, 140.0), y_m=(-90.0, 210.0), z_m=(0.5, 30.0)),
    radio=Radio(
        carrier_hz=3.5e9,
        subcarrier_spacing_hz=60e3,
        num_subcarriers=288,
        keep_every=12,
        num_slots=10,
        slot_interval_s=2e-3,
        array_rows=2,
        array_columns=4,
        element="tr38901",
        polarisation="V",
        ue_power_dbm=23.0,
        noise_figure_db=5.0,
    ),
)

PRESETS = {MUNICH6.name: MUNICH6}
