"""The ray tracer against closed forms, against Sionna's own CFR, and against itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.path_table import PathTable, read_path_table
from models.synthesis import SPEED_OF_LIGHT_MPS, displace
from sim.channel import ChannelError, open_channel
from sim.channel.air import Air
from sim.channel.benchmark import POOLS
from sim.channel.found import Found
from sim.channel.pool import munich_heights, pool_positions
from sim.channel.tracer import PathBufferFullError, Tracer
from sim.channel.traces import SHIPPED_TRACES
from sim.channel.world import SolverSettings, World, world_of
from sim.city import HeightMap
from sim.deployment import MUNICH6
from sim.scenario import load_scenario
from tests.sim.channel.kit import MUNICH_KEY, Array

pytestmark = [
    pytest.mark.rt,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.timeout(300),
]

FEW = 7
COLUMNS = ("gain", "delay_s", "ue_direction", "bs_direction", "mirror", "image_distance_m", "line_of_sight")


@contextmanager
def solver(tracer: Tracer, **settings: Any) -> Iterator[Tracer]:
    """The tracer with other settings meanwhile."""
    before = tracer.world
    tracer.world = replace(before, solver=replace(before.solver, **settings))
    try:
        yield tracer
    finally:
        tracer.world = before


@pytest.fixture(scope="session")
def places() -> Array:
    """Fifty outdoor positions of the benchmark."""
    return pool_positions(replace(POOLS["test-random"], points=50), munich_heights())


@pytest.fixture(scope="session")
def found(munich: Tracer, places: Array) -> Found:
    """All paths of all places, searched for in one batch."""
    assert munich.world.solver.batch >= len(places)
    return munich.search(places)


@pytest.fixture(scope="session")
def traced(munich: Tracer, places: Array, found: Found) -> PathTable:
    """The strongest of them."""
    return munich.table(places, found)


def assert_same(one: PathTable, other: PathTable) -> None:
    np.testing.assert_array_equal(one.count, other.count)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize(("batch", "count"), [(1, 3), (7, 2 * FEW)])
def test_paths_do_not_depend_on_what_else_is_traced(
    munich: Tracer, places: Array, traced: PathTable, batch: int, count: int
) -> None:
    assert traced.count.sum() > 1000
    with solver(munich, batch=batch):
        assert_same(munich.trace(places[:count]), traced.select(np.arange(count)))


def test_a_full_path_buffer_is_noticed_and_the_batch_halved(
    munich: Tracer, places: Array, traced: PathTable
) -> None:
    """The buffer holds candidates: with room for 1,900 it is full long before 1,900 paths are found."""
    pair = traced.select(np.arange(2))
    assert pair.count.sum() < 150
    with solver(munich, path_capacity=1_900, candidate_tables=(2**23,)):
        with pytest.raises(PathBufferFullError, match=r"path buffer full: 2 UE positions .*\(1900\)"):
            munich.search(places[:2])
        assert_same(munich.trace(places[:2]), pair)
    with solver(munich, path_capacity=50), pytest.raises(PathBufferFullError, match="1 UE positions"):
        munich.trace(places[:1])


def test_the_shipped_test_points_come_out_again(traced: PathTable) -> None:
    shipped = read_path_table(SHIPPED_TRACES / "benchmark" / f"test-random-{MUNICH_KEY}.h5")
    again = shipped.select(np.arange(len(traced)))
    np.testing.assert_allclose(again.position_m, traced.position_m)
    links = traced.count.size
    assert (again.count != traced.count).sum() <= 0.01 * links
    equal = (again.count == traced.count).all(axis=1)
    rows = np.flatnonzero(equal)
    one, other = again.select(rows), traced.select(rows)
    np.testing.assert_allclose(one.delay_s, other.delay_s, atol=1e-12)
    np.testing.assert_allclose(one.gain, other.gain, atol=1e-3 * abs(other.gain).max())


class TestAgainstSionna:
    """CSI by (1) from stored paths against the CFR of Sionna itself, for the 2 x 4 array and moving UEs.

    Sionna computes the carrier's phase, 2 pi f tau, in single precision. At 3.5 GHz and 1 us that are 22,000
    rad, of which single precision knows 2e-3. Ours is computed in double precision from the same delays. So
    the two differ by up to a few 1e-3, and with Sionna's phase in place of ours by less than 1e-4.
    """

    @pytest.fixture(scope="class")
    def velocity_mps(self) -> Array:
        result: Array = np.random.default_rng(1).uniform(-2, 2, (FEW, 3))
        return result

    @pytest.fixture(scope="class")
    def every_path(self, munich: Tracer, places: Array, found: Found) -> PathTable:
        """Also the weakest."""
        with solver(munich, kept_paths=10**6, floor_db=1e4):
            return munich.table(places[:FEW], found.take(np.flatnonzero(found.ue < FEW)))

    @pytest.fixture(scope="class")
    def cfr(self, munich: Tracer, places: Array, velocity_mps: Array) -> Array:
        """Sionna's, ``[UE, num_bs, num_slots, num_ant, num_sc]``."""
        import sionna.rt as rt

        radio = Air(MUNICH6).radio
        single = munich.scene.tx_array
        munich.scene.tx_array = rt.PlanarArray(
            num_rows=radio.rows, num_cols=radio.columns, pattern="tr38901", polarization="V"
        )
        munich.place(places[:FEW], velocity_mps)
        try:
            response = munich.solve(2**23).cfr(
                frequencies=radio.frequency_hz(),
                sampling_frequency=1 / radio.slot_s,
                num_time_steps=radio.slots,
                normalize_delays=False,
                normalize=False,
                out_type="numpy",
            )
        finally:
            munich.scene.tx_array = single
        result: Array = response[:, 0].transpose(0, 1, 3, 2, 4)
        return result

    def ours(self, table: PathTable, velocity_mps: Array) -> Array:
        air = Air(MUNICH6)
        # Sionna's first time step is the traced position, our last slot is.
        offset_s = -air.radio.slot_time_s()[0]
        turned = [
            self.later(table, row, velocity, offset_s, air.radio.wavelength_m)
            for row, velocity in enumerate(velocity_mps)
        ]
        return np.stack(
            [
                air.channel(one, 0, velocity, np.zeros(6))
                for one, velocity in zip(turned, velocity_mps, strict=True)
            ]
        )

    @staticmethod
    def later(
        table: PathTable, row: int, velocity_mps: Array, offset_s: float, wavelength_m: float
    ) -> PathTable:
        """The paths of one position, turned by the Doppler shift of a stretch of time."""
        one = table.select(np.array([row]))
        turns = one.ue_direction @ velocity_mps / wavelength_m * offset_s
        return replace(one, gain=(one.gain * np.exp(2j * np.pi * turns)).astype(np.complex64))

    @staticmethod
    def difference(ours: Array, theirs: Array) -> Array:
        """Norm of the difference over norm, of each link that has a path."""
        norm = np.sqrt((abs(theirs) ** 2).sum(axis=(2, 3, 4)))
        error = np.sqrt((abs(ours - theirs) ** 2).sum(axis=(2, 3, 4)))
        assert (error[norm == 0] == 0).all()
        result: Array = error[norm > 0] / norm[norm > 0]
        return result

    @staticmethod
    def single_precision_carrier(delay_s: Array, carrier_hz: float) -> Array:
        """The carrier's phasor as Sionna computes it."""
        import drjit as dr
        import mitsuba as mi
        from sionna.rt.utils import map_angle_to_canonical_range

        turned = -dr.two_pi * mi.Float(carrier_hz) * mi.Float(delay_s.astype(np.float32))
        sine, cosine = dr.sincos(map_angle_to_canonical_range(turned))
        result: Array = cosine.numpy() + 1j * sine.numpy()
        return result

    def test_as_it_is_but_for_the_precision_of_the_carrier(
        self, every_path: PathTable, velocity_mps: Array, cfr: Array
    ) -> None:
        found = self.difference(self.ours(every_path, velocity_mps), cfr)
        assert len(found) > 30
        assert np.median(found) < 1e-3
        assert found.max() < 5e-3

    def test_to_one_in_ten_thousand_with_the_same_carrier(
        self, every_path: PathTable, velocity_mps: Array, cfr: Array
    ) -> None:
        carrier_hz = MUNICH6.radio.carrier_hz
        theirs = self.single_precision_carrier(every_path.delay_s, carrier_hz)
        ours = np.exp(-2j * np.pi * np.mod(carrier_hz * every_path.delay_s, 1))
        swapped = replace(every_path, gain=(every_path.gain * theirs / ours).astype(np.complex64))
        found = self.difference(self.ours(swapped, velocity_mps), cfr)
        assert found.max() < 1e-4
        assert np.median(found) < 1e-5

    def test_the_carrier_of_ours_is_the_more_exact(self, every_path: PathTable) -> None:
        carrier_hz = MUNICH6.radio.carrier_hz
        turns = np.longdouble(carrier_hz) * every_path.delay_s.astype(np.longdouble)
        exact = np.exp(-2j * np.pi * (turns - np.floor(turns)).astype(np.float64))
        ours = np.exp(-2j * np.pi * np.mod(carrier_hz * every_path.delay_s, 1))
        theirs = self.single_precision_carrier(every_path.delay_s, carrier_hz)
        assert abs(ours - exact).max() < 1e-8
        assert 1e-4 < abs(theirs - exact).max() < 5e-3

    def test_leaving_out_the_weakest_paths_costs_what_is_noted(
        self, every_path: PathTable, traced: PathTable, velocity_mps: Array
    ) -> None:
        kept = traced.select(np.arange(FEW))
        lost = 1 - kept.power() / np.where(every_path.power() > 0, every_path.power(), np.inf)
        lost[every_path.power() == 0] = 0
        np.testing.assert_allclose(kept.dropped_energy, lost, atol=1e-4)
        assert kept.dropped_energy.max() < 0.02
        found = self.difference(self.ours(kept, velocity_mps), self.ours(every_path, velocity_mps))
        assert np.median(found) < 0.02


class TestClosedForms:
    """Where the answer can be written down."""

    @staticmethod
    def world(scene: Path, *bs_position_m: tuple[float, float, float]) -> World:
        return World(
            scene=str(scene),
            carrier_hz=3.5e9,
            bs_ids=tuple(f"bs{k}" for k in range(1, len(bs_position_m) + 1)),
            bs_position_m=bs_position_m,
            boresight_m=(1.0, 0.0, 10.0),
            element="iso",
            solver=SolverSettings(candidate_tables=(2**16,)),
        )

    @staticmethod
    def scene(folder: Path, *shapes: str) -> Path:
        material = '<bsdf type="itu-radio-material" id="metal"><string name="type" value="metal"/></bsdf>'
        path = folder / "scene.xml"
        path.write_text(f'<scene version="2.1.0">{material if shapes else ""}{"".join(shapes)}</scene>')
        return path

    GROUND = (
        '<shape type="rectangle" id="ground"><transform name="to_world"><scale value="500"/></transform>'
        '<ref id="metal" name="bsdf"/></shape>'
    )
    BS = ((-80.0, 10.0, 30.0), (60.0, -70.0, 25.0))
    UES = np.array([[0.0, 0.0, 1.5], [20.0, 30.0, 12.0], [-35.0, 5.0, 28.0]])

    def test_free_space_is_friis(self, ray_tracer: None, tmp_path: Path) -> None:
        """Level with the base stations: polarisation and array are as upright as the UE."""
        stations = ((0.0, 0.0, 10.0), (50.0, -20.0, 10.0))
        ues = np.array([[10.0, 0.0, 10.0], [0.0, 100.0, 10.0], [-300.0, 400.0, 10.0]])
        table = Tracer(self.world(self.scene(tmp_path), *stations)).trace(ues)
        towards = (np.array(stations)[None] - ues[:, None]).reshape(-1, 3)
        distance = np.linalg.norm(towards, axis=1)
        np.testing.assert_array_equal(table.count, 1)
        np.testing.assert_allclose(table.delay_s, distance / SPEED_OF_LIGHT_MPS, rtol=1e-6)
        np.testing.assert_allclose(
            abs(table.gain), SPEED_OF_LIGHT_MPS / 3.5e9 / (4 * np.pi * distance), rtol=1e-5
        )
        np.testing.assert_allclose(table.image_distance_m, distance, rtol=1e-6)
        np.testing.assert_allclose(table.ue_direction, towards / distance[:, None], atol=1e-6)
        np.testing.assert_allclose(table.bs_direction, -towards / distance[:, None], atol=1e-6)
        assert table.line_of_sight.all()

    def test_the_ground_shows_an_image_of_the_base_station(self, ray_tracer: None, tmp_path: Path) -> None:
        table = Tracer(self.world(self.scene(tmp_path, self.GROUND), *self.BS)).trace(self.UES)
        np.testing.assert_array_equal(table.count, 2)
        bounced = ~table.line_of_sight
        image = np.array(self.BS) * [1, 1, -1]
        towards = (image[None] - self.UES[:, None]).reshape(-1, 3)
        distance = np.linalg.norm(towards, axis=1)
        np.testing.assert_allclose(table.delay_s[bounced], distance / SPEED_OF_LIGHT_MPS, rtol=1e-6)
        np.testing.assert_allclose(table.ue_direction[bounced], towards / distance[:, None], atol=1e-5)
        np.testing.assert_allclose(
            table.mirror[bounced], np.broadcast_to(np.diag([1, 1, -1]), (len(distance), 3, 3)), atol=1e-4
        )

    def test_nothing_gets_through_a_closed_box(self, ray_tracer: None, tmp_path: Path) -> None:
        cube = (
            '<shape type="cube" id="box"><transform name="to_world"><translate z="10"/></transform>'
            '<ref id="metal" name="bsdf"/></shape>'
        )
        table = Tracer(self.world(self.scene(tmp_path, cube), *self.BS)).trace(
            np.array([[0.0, 0.0, 10.0]] * 3)
        )
        assert len(table.gain) == 0
        np.testing.assert_array_equal(table.count, 0)
        np.testing.assert_array_equal(table.dropped_energy, 0)


def test_a_displaced_ue_is_where_a_traced_one_would_be(
    munich: Tracer, places: Array, traced: PathTable
) -> None:
    """Specular paths that both have: delay and directions of the moved one follow from the other's image."""
    count = FEW
    draws = np.random.default_rng(2)
    offset_m = draws.standard_normal((count, 3))
    offset_m /= np.linalg.norm(offset_m, axis=1, keepdims=True)
    there = munich.trace(places[:count] + offset_m)
    compared = 0
    for row in range(count):
        here, moved = traced.select(np.array([row])), there.select(np.array([row]))
        for bs in range(6):
            a = np.arange(here.first[0, bs], here.first[0, bs] + here.count[0, bs])
            b = np.arange(moved.first[0, bs], moved.first[0, bs] + moved.count[0, bs])
            a = a[abs(here.mirror[a]).sum(axis=(1, 2)) > 0]
            if not len(a) or not len(b):
                continue
            delay, gain, ue_direction, bs_direction = displace(
                offset_m[row][None, None],
                here.delay_s[a][None],
                here.gain[a][None],
                here.ue_direction[a][None],
                here.bs_direction[a][None],
                here.mirror[a][None],
                here.image_distance_m[a][None],
            )
            apart = abs(delay[0][:, None] - moved.delay_s[b]) * SPEED_OF_LIGHT_MPS
            apart += np.linalg.norm(ue_direction[0][:, None] - moved.ue_direction[b], axis=2)
            nearest = apart.argmin(axis=1)
            found = apart.min(axis=1) < 5e-3
            assert found[: 1 if here.line_of_sight[a[0]] else 0].all() or not moved.line_of_sight[b].any()
            pair = b[nearest[found]]
            np.testing.assert_allclose(delay[0][found], moved.delay_s[pair], atol=2e-12)
            np.testing.assert_allclose(ue_direction[0][found], moved.ue_direction[pair], atol=1e-4)
            np.testing.assert_allclose(bs_direction[0][found], moved.bs_direction[pair], atol=1e-3)
            np.testing.assert_allclose(abs(gain[0][found]) / abs(moved.gain[pair]), 1, atol=0.1)
            compared += int(found.sum())
    specular = abs(traced.select(np.arange(count)).mirror).sum(axis=(1, 2)) > 0
    assert compared > 0.6 * specular.sum()


def test_height_map_is_the_shipped_one(munich: Tracer) -> None:
    city = HeightMap.load("munich")
    assert city is not None
    rows, columns = slice(100, 110), slice(50, 80)
    x = city.x0_m + city.step_m * np.arange(city.height_m.shape[1])[columns]
    y = city.y0_m + city.step_m * np.arange(city.height_m.shape[0])[rows]
    np.testing.assert_allclose(munich.height_map(x, y), city.height_m[rows, columns], atol=0.01)


def test_another_site_and_another_way_are_traced_by_themselves(
    ray_tracer: None, cache: Path, tmp_path: Path
) -> None:
    spiral = SHIPPED_TRACES.parent / "spiral.yaml"
    changes = [
        f"duration={FEW / 10} s",
        "deployment={preset: munich6, sites: {bs1: {position: [120 m, 80 m, 40 m]}}}",
    ]
    lines: list[str] = []
    moved = load_scenario(spiral, changes)
    with pytest.raises(ChannelError):
        open_channel(moved, lines.append, may_trace=False)
    pilots = open_channel(moved, lines.append).pilots("ue1", 1)
    assert lines[0] == f"spiral: {FEW} of {FEW} positions to trace"
    (path,) = cache.glob("*.h5")
    assert path.name.endswith(f"-{world_of(moved.deployment).key()}.h5")
    shipped = open_channel(load_scenario(spiral, changes[:1]), lines.append).pilots("ue1", 1)
    same = [np.array_equal(one, other) for one, other in zip(pilots, shipped, strict=True)]
    assert same[0] is False
    assert len(lines) == 2


def test_an_unknown_scene_is_told(ray_tracer: None) -> None:
    with pytest.raises(ChannelError, match=r"no scene 'munch': write a Mitsuba scene file .* munich"):
        Tracer(replace(world_of(MUNICH6), scene="munch"))
