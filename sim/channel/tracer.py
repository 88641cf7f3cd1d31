"""Trace propagation paths with Sionna RT."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.path_table import PathTable
from sim.channel.llvm import INSTALL_HINT, point_the_tracer_at_llvm

Array = NDArray[Any]
SPEED_OF_LIGHT_MPS = 299_792_458.0
SPECULAR = 1
DIFFRACTION = 8


class TracingUnavailable(RuntimeError):
    """The ray tracer cannot run here; the message says what to install."""


@dataclass(frozen=True)
class SolverSettings:
    """How paths are searched for and how many are kept.

    Attributes:
        max_depth: Most specular reflections of a path.
        rays_per_source: Rays shot from each base station.
        path_capacity: Size of the path buffer of one source; a full buffer is an error.
        diffraction: First-order diffraction, also in the lit region.
        batch: UE positions per call of the solver.
        candidate_table: Entries per source of the hash table in which the solver remembers the chains it has
            seen. Its default of a million loses paths to collisions, and which ones depends on the batch: on 100
            outdoor positions of Munich 5 % of the paths were missing. At 2^26 none was, whatever the batch.
        kept_paths: Most paths kept of a link, strongest first.
        floor_db: Paths this far below the strongest of the link are dropped.
        seed: Seed of the solver.
    """

    max_depth: int = 6
    rays_per_source: int = 20_000
    path_capacity: int = 200_000
    diffraction: bool = True
    batch: int = 100
    candidate_table: int = 2**26
    kept_paths: int = 24
    floor_db: float = 40.0
    seed: int = 42


@dataclass(frozen=True)
class World:
    """All that shapes the paths besides the UE's position.

    Attributes:
        scene: Name of a scene that comes with Sionna RT, or the path of a Mitsuba scene file.
        carrier_hz: Carrier frequency, Hz.
        bs_ids: Names of the base stations.
        bs_position_m: Their positions in world axes, m.
        boresight_m: The point that every array looks at, m.
        element: Element pattern of the base stations.
        polarisation: Polarisation of both ends.
        solver: Solver settings. Batch, buffer and table sizes do not count for the key: where they are large
            enough, results do not depend on them.
    """

    scene: str
    carrier_hz: float
    bs_ids: tuple[str, ...]
    bs_position_m: tuple[tuple[float, float, float], ...]
    boresight_m: tuple[float, float, float]
    element: str = "tr38901"
    polarisation: str = "V"
    solver: SolverSettings = field(default_factory=SolverSettings)

    def key(self) -> str:
        """Digest of the world, 16 hexadecimal digits: equal worlds give equal paths."""
        described = asdict(self)
        for setting in ("batch", "path_capacity", "candidate_table"):
            del described["solver"][setting]
        text = json.dumps(described, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Tracer:
    """Sionna RT with the world's base stations in place.

    Raises:
        TracingUnavailable: Sionna RT or a working LLVM is missing.
    """

    def __init__(self, world: World) -> None:
        if point_the_tracer_at_llvm() is None:
            raise TracingUnavailable(f"tracing needs LLVM on a CPU: {INSTALL_HINT}")
        try:
            import sionna.rt as rt
        except ImportError as error:
            raise TracingUnavailable('tracing needs Sionna RT: pip install "fronthaul-sim[rt]"') from error
        self._rt = rt
        self.world = world
        builtin = getattr(rt.scene, world.scene, None)
        scene = rt.load_scene(builtin or world.scene)
        scene.frequency = world.carrier_hz
        scene.tx_array = rt.PlanarArray(
            num_rows=1, num_cols=1, pattern=world.element, polarization=world.polarisation
        )
        scene.rx_array = rt.PlanarArray(
            num_rows=1, num_cols=1, pattern="iso", polarization=world.polarisation
        )
        for bs, position in zip(world.bs_ids, world.bs_position_m, strict=True):
            scene.add(rt.Transmitter(bs, position=list(position), look_at=list(world.boresight_m)))
        self._scene = scene
        self._solver = rt.PathSolver(deterministic=True)
        from sionna.rt.path_solvers.sb_candidate_generator import SBCandidateGenerator

        SBCandidateGenerator.MIN_SPEC_COUNT_SIZE = world.solver.candidate_table
        self._receivers: list[Any] = []

    def trace(self, position_m: Array) -> PathTable:
        """Paths of the given UE positions.

        Args:
            position_m: UE positions in world axes, ``[P, 3]``, m.

        Raises:
            RuntimeError: The path buffer filled up, so paths may be missing.
        """
        if position_m.ndim != 2 or position_m.shape[1] != 3:
            raise ValueError(f"positions must be [P, 3], not {list(position_m.shape)}")
        batches = [
            self._trace_batch(position_m[start : start + self.world.solver.batch])
            for start in range(0, len(position_m), self.world.solver.batch)
        ]
        from models.path_table import concatenate

        return concatenate(batches)

    def _place_receivers(self, position_m: Array) -> None:
        while len(self._receivers) > len(position_m):
            self._scene.remove(self._receivers.pop().name)
        for receiver, position in zip(self._receivers, position_m, strict=False):
            receiver.position = [float(x) for x in position]
        for position in position_m[len(self._receivers) :]:
            name = f"ue-{len(self._receivers)}"
            receiver = self._rt.Receiver(name, position=[float(x) for x in position])
            self._scene.add(receiver)
            self._receivers.append(receiver)

    def _trace_batch(self, position_m: Array) -> PathTable:
        settings = self.world.solver
        self._place_receivers(position_m)
        paths = self._solver(
            self._scene,
            max_depth=settings.max_depth,
            max_num_paths_per_src=settings.path_capacity,
            samples_per_src=settings.rays_per_source,
            los=True,
            specular_reflection=True,
            diffuse_reflection=False,
            refraction=False,
            diffraction=settings.diffraction,
            seed=settings.seed,
        )
        delay = paths.tau.numpy().astype(np.float64)
        if delay.ndim != 3:  # no path at all
            delay = np.full((len(position_m), len(self.world.bs_ids), 0), -1.0)
        found = int((delay >= 0).sum())
        if found >= settings.path_capacity:
            raise RuntimeError(f"path buffer full ({found} paths): raise path_capacity or lower batch")
        return self._keep_strongest(paths, delay, position_m)

    def _keep_strongest(self, paths: Any, delay: Array, position_m: Array) -> PathTable:
        settings = self.world.solver
        num_ue, num_bs, num_paths = delay.shape
        if num_paths == 0:
            return self._table(
                position_m, np.zeros((num_ue, num_bs), np.int32), np.zeros((num_ue, num_bs)), {}
            )
        gain = (paths.a[0].numpy() + 1j * paths.a[1].numpy()).reshape(num_ue, num_bs, num_paths)
        power = np.where(delay >= 0, np.abs(gain) ** 2, 0.0)
        order = np.argsort(-power, axis=-1, kind="stable")[..., : settings.kept_paths]
        sorted_power = np.take_along_axis(power, order, axis=-1)
        floor = sorted_power[..., :1] * 10 ** (-settings.floor_db / 10)
        keep = (sorted_power > 0) & (sorted_power >= floor)
        total = power.sum(axis=-1)
        kept = (sorted_power * keep).sum(axis=-1)
        dropped = 1 - kept / np.where(total > 0, total, np.inf) - (total == 0)
        ue, bs, rank = np.nonzero(keep)
        index = order[ue, bs, rank]
        vertices = paths.vertices.numpy()[:, ue, bs, index]  # [depth, R, 3], from the BS on
        kinds = paths.interactions.numpy()[:, ue, bs, index]  # [depth, R]
        chosen = {
            "gain": gain[ue, bs, index].astype(np.complex64),
            "delay_s": delay[ue, bs, index],
            "line_of_sight": (kinds != 0).sum(axis=0) == 0,
            **unfold(np.asarray(self.world.bs_position_m)[bs], np.asarray(position_m)[ue], vertices, kinds),
        }
        return self._table(position_m, keep.sum(axis=-1).astype(np.int32), dropped, chosen)

    def _table(self, position_m: Array, count: Array, dropped: Array, columns: dict[str, Array]) -> PathTable:
        ends = np.cumsum(count.reshape(-1), dtype=np.int64)
        empty = {
            "gain": np.zeros(0, np.complex64),
            "delay_s": np.zeros(0),
            "line_of_sight": np.zeros(0, bool),
            "ue_direction": np.zeros((0, 3)),
            "bs_direction": np.zeros((0, 3)),
            "mirror": np.zeros((0, 3, 3)),
            "image_distance_m": np.zeros(0),
        }
        return PathTable(
            world_key=self.world.key(),
            bs_ids=self.world.bs_ids,
            position_m=np.asarray(position_m, dtype=np.float64),
            first=(ends - count.reshape(-1)).reshape(count.shape),
            count=count,
            dropped_energy=dropped.astype(np.float32),
            attributes={"scene": self.world.scene, "carrier_hz": self.world.carrier_hz},
            **(empty | columns),
        )

    def height_map(self, x_m: Array, y_m: Array) -> Array:
        """Height of the roof or ground under each grid point, ``[len(y_m), len(x_m)]``, m."""
        import drjit as dr
        import mitsuba as mi

        grid_x, grid_y = np.meshgrid(x_m, y_m)
        top = 1000.0
        origin = mi.Point3f(
            mi.Float(grid_x.ravel().astype(np.float32)),
            mi.Float(grid_y.ravel().astype(np.float32)),
            mi.Float(top),
        )
        ray = mi.Ray3f(o=origin, d=mi.Vector3f(0.0, 0.0, -1.0))
        hit = self._scene.mi_scene.ray_intersect(ray)
        distance = np.asarray(dr.select(hit.is_valid(), hit.t, dr.nan))
        result: Array = (top - distance).reshape(grid_x.shape)
        return result


def unfold(bs_position_m: Array, ue_position_m: Array, vertices_m: Array, kinds: Array) -> dict[str, Array]:
    """Directions at both ends of each path and the point that stays put when the UE moves.

    Args:
        bs_position_m: ``[R, 3]``, m.
        ue_position_m: ``[R, 3]``, m.
        vertices_m: Interaction points counted from the base station, ``[depth, R, 3]``, m.
        kinds: Interaction types, ``[depth, R]``; 0 = none.

    Returns:
        ``ue_direction`` and ``bs_direction`` ``[R, 3]``, ``mirror`` ``[R, 3, 3]`` that takes a change of the
        departure direction to a change of the arrival direction (zero when an edge lies between), and
        ``image_distance_m`` ``[R]``: length of the path back to the BS, or to the last edge on the way.
    """
    num_paths = len(bs_position_m)
    depth = (kinds != 0).sum(axis=0)
    rows = np.arange(num_paths)
    vertices = vertices_m.astype(np.float64)
    points = np.concatenate(
        [bs_position_m[None], vertices, vertices[:1] * 0]
    )  # BS, vertices, place for the UE
    points[depth + 1, rows] = ue_position_m
    mirror = np.broadcast_to(np.eye(3), (num_paths, 3, 3)).copy()
    image_distance = np.zeros(num_paths)
    steps = int(depth.max(initial=0)) + 1
    for step in range(steps):
        active = step <= depth
        leg = points[step + 1] - points[step]
        image_distance += np.where(active, np.linalg.norm(leg, axis=1), 0.0)
        at_vertex = step < depth
        if not at_vertex.any():
            continue
        kind = kinds[step]
        edge = at_vertex & (kind == DIFFRACTION)
        image_distance[edge] = 0.0
        mirror[edge] = 0.0
        bounce = at_vertex & (kind == SPECULAR)
        incoming = unit(points[step + 1] - points[step])
        outgoing = unit(points[np.minimum(step + 2, len(points) - 1)] - points[step + 1])
        normal = unit(outgoing - incoming)
        reflection = np.eye(3) - 2 * normal[:, :, None] * normal[:, None, :]
        mirror[bounce] = mirror[bounce] @ reflection[bounce]
    last = points[depth, rows]
    return {
        "ue_direction": unit(last - ue_position_m),
        "bs_direction": unit(points[1] - bs_position_m),
        "mirror": mirror,
        "image_distance_m": image_distance,
    }


def unit(vector: Array) -> Array:
    """Vectors scaled to length one along the last axis."""
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    result: Array = vector / np.maximum(length, 1e-12)
    return result


def outdoor(
    height_m: Array, x0_m: float, y0_m: float, step_m: float, position_m: Sequence[Any] | Array
) -> Array:
    """Whether each position lies above the roof or ground of its cell."""
    points = np.asarray(position_m)
    column = np.clip(np.rint((points[:, 0] - x0_m) / step_m).astype(int), 0, height_m.shape[1] - 1)
    row = np.clip(np.rint((points[:, 1] - y0_m) / step_m).astype(int), 0, height_m.shape[0] - 1)
    result: Array = points[:, 2] > height_m[row, column]
    return result
