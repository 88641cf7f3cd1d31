"""The deployment, as written in a scenario: a preset's name, or a mapping that may change a preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from sim.deployment import PRESETS, Area, Deployment, Radio, Site
from sim.scenario.errors import problem, quoted, suggestion
from sim.scenario.part import Count, Id, Part
from sim.scenario.units import Length, Level, Point, PositiveDuration, PositiveFrequency, Power


class SitePart(Part):
    """One base station."""

    position: Point = Field(description="position of the array")


class AreaPart(Part):
    """The box in which UEs may move; the shipped models were trained in the preset's."""

    x: tuple[Length, Length] = Field(description="least and greatest x")
    y: tuple[Length, Length] = Field(description="least and greatest y")
    z: tuple[Length, Length] = Field(description="least and greatest height")

    @model_validator(mode="after")
    def _ordered(self) -> AreaPart:
        for axis in ("x", "y", "z"):
            low, high = getattr(self, axis)
            if low >= high:
                raise problem(f"{low:g} m is not below {high:g} m", (axis,))
        return self


class RadioPart(Part):
    """Signal and arrays, the same at every site."""

    carrier: PositiveFrequency = Field(description="carrier frequency")
    subcarrier_spacing: PositiveFrequency = Field(description="distance of two subcarriers")
    subcarriers: Count = Field(ge=1, description="number of subcarriers")
    keep_every: Count = Field(ge=1, description="every this many-th subcarrier carries a pilot")
    slots: Count = Field(ge=1, description="slots of one snapshot")
    slot_interval: PositiveDuration = Field(description="time between two slots")
    array: tuple[Count, Count] = Field(description="rows and columns of a planar array at half a wavelength")
    element: Literal["tr38901", "iso", "dipole", "hw_dipole"] = Field(description="pattern of one element")
    polarisation: Literal["V", "H"] = Field(description="polarisation of both ends")
    power: Power = Field(description="transmit power of a UE")
    noise_figure: Level = Field(description="noise figure of a base station")


class DeploymentPart(Part):
    """Where the base stations stand and how they listen."""

    preset: str | None = Field(
        default=None, exclude=True, description="deployment to start from; the other keys change it"
    )
    scene: str = Field(min_length=1, description="scene of Sionna RT, or a Mitsuba scene file")
    sites: dict[Id, SitePart] = Field(
        min_length=1, description="base stations by id; over a preset, `null` removes one"
    )
    boresight: Point = Field(description="the point that all arrays look at")
    area: AreaPart = Field(description="where UEs may move")
    radio: RadioPart = Field(description="signal and arrays")

    @model_validator(mode="before")
    @classmethod
    def _over_preset(cls, value: Any) -> Any:
        given = {"preset": value} if isinstance(value, str) else value
        if not isinstance(given, Mapping) or given.get("preset") is None:
            return given
        name = given["preset"]
        if name not in PRESETS:
            place = () if isinstance(value, str) else ("preset",)
            raise problem(f"unknown deployment {quoted(name)}; {suggestion(str(name), PRESETS)}", place)
        return merged(written(PRESETS[name]), given)

    def deployment(self) -> Deployment:
        """The value object that the rest of the program works with."""
        described = Deployment(
            name="custom",
            scene=self.scene,
            sites=tuple(Site(bs, site.position) for bs, site in self.sites.items()),
            boresight_in_world_m=self.boresight,
            area=Area(self.area.x, self.area.y, self.area.z),
            radio=Radio(
                carrier_hz=self.radio.carrier,
                subcarrier_spacing_hz=self.radio.subcarrier_spacing,
                num_subcarriers=self.radio.subcarriers,
                keep_every=self.radio.keep_every,
                num_slots=self.radio.slots,
                slot_interval_s=self.radio.slot_interval,
                array_rows=self.radio.array[0],
                array_columns=self.radio.array[1],
                element=self.radio.element,
                polarisation=self.radio.polarisation,
                ue_power_dbm=self.radio.power,
                noise_figure_db=self.radio.noise_figure,
            ),
        )
        return next((preset for preset in PRESETS.values() if same_but_name(preset, described)), described)


def same_but_name(one: Deployment, other: Deployment) -> bool:
    """Whether two deployments describe the same base stations in the same place."""
    import dataclasses

    return dataclasses.replace(one, name=other.name) == other


def written(deployment: Deployment) -> dict[str, Any]:
    """A deployment as the mapping that a scenario would hold."""
    radio = deployment.radio
    part = DeploymentPart.model_construct(
        scene=deployment.scene,
        sites={
            site.bs: SitePart.model_construct(position=site.position_in_world_m) for site in deployment.sites
        },
        boresight=deployment.boresight_in_world_m,
        area=AreaPart.model_construct(x=deployment.area.x_m, y=deployment.area.y_m, z=deployment.area.z_m),
        radio=RadioPart.model_construct(
            carrier=radio.carrier_hz,
            subcarrier_spacing=radio.subcarrier_spacing_hz,
            subcarriers=radio.num_subcarriers,
            keep_every=radio.keep_every,
            slots=radio.num_slots,
            slot_interval=radio.slot_interval_s,
            array=(radio.array_rows, radio.array_columns),
            element=radio.element,
            polarisation=radio.polarisation,
            power=radio.ue_power_dbm,
            noise_figure=radio.noise_figure_db,
        ),
    )
    result: dict[str, Any] = part.model_dump(mode="json", by_alias=True)
    return result


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the keys of ``changes`` put over it, mappings merged; a key set to null is removed."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result
