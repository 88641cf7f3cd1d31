"""Trace propagation paths with Sionna RT."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.path_table import PathTable, concatenate
from sim.channel.errors import ChannelError
from sim.channel.found import Found, by_link, cut, energy, united
from sim.channel.llvm import INSTALL_HINT, point_the_tracer_at_llvm
from sim.channel.unfold import unfold
from sim.channel.world import SolverSettings, World, is_scene_file

__all__ = ["PathBufferFullError", "SolverSettings", "Tracer", "TracingUnavailableError", "World"]

Array = NDArray[Any]

ABOVE_EVERYTHING_M = 1000.0


class TracingUnavailableError(ChannelError):
    """The ray tracer cannot run here; the message says what to install."""


class PathBufferFullError(ChannelError):
    """The solver's buffer of candidate paths filled up, so paths may be missing."""


def require_ray_tracer() -> None:
    """Prepare the import of the ray tracer; it is not imported yet.

    Raises:
        TracingUnavailableError: Sionna RT is missing, or what it computes with.
    """
    if importlib.util.find_spec("sionna") is None:
        raise TracingUnavailableError("tracing needs Sionna RT: pip install '.[rt]'")
    if point_the_tracer_at_llvm() is None and not has_cuda():
        raise TracingUnavailableError(f"tracing needs LLVM on a CPU: {INSTALL_HINT}")


def has_cuda() -> bool:
    """Whether NVIDIA's driver is there: with it the ray tracer needs no LLVM."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


class Tracer:
    """Sionna RT with the world's base stations in place.

    Raises:
        TracingUnavailableError: Sionna RT is missing, or what it computes with.
        ChannelError: The scene is neither one of Sionna RT's nor a Mitsuba scene file.
    """

    def __init__(self, world: World) -> None:
        require_ray_tracer()
        import sionna.rt as rt

        self._rt = rt
        self.world = world
        self.scene = rt.load_scene(scene_file(rt, world.scene))
        self.scene.frequency = world.carrier_hz
        self.scene.tx_array = rt.PlanarArray(
            num_rows=1, num_cols=1, pattern=world.element, polarization=world.polarisation
        )
        self.scene.rx_array = rt.PlanarArray(
            num_rows=1, num_cols=1, pattern="iso", polarization=world.polarisation
        )
        for bs, position in zip(world.bs_ids, world.bs_position_m, strict=True):
            self.scene.add(rt.Transmitter(bs, position=list(position), look_at=list(world.boresight_m)))
        self._receivers: list[Any] = []
        self._solver = rt.PathSolver(deterministic=True)
        self._candidates = _CandidateCounter(self._solver)

    def trace(self, position_m: Array) -> PathTable:
        """Paths of the given UE positions.

        Args:
            position_m: UE positions in world axes, ``[P, 3]``, P > 0, m.

        Raises:
            PathBufferFullError: One position has more candidates than the path buffer takes.
        """
        if position_m.ndim != 2 or position_m.shape[1] != 3:
            raise ValueError(f"positions must be [P, 3], not {list(position_m.shape)}")
        batch = self.world.solver.batch
        return concatenate(
            [self._trace_batch(position_m[at : at + batch]) for at in range(0, len(position_m), batch)]
        )

    def _trace_batch(self, position_m: Array) -> PathTable:
        try:
            return self.table(position_m, self.search(position_m))
        except PathBufferFullError:
            if len(position_m) == 1:
                raise
        half = len(position_m) // 2
        return concatenate([self._trace_batch(position_m[:half]), self._trace_batch(position_m[half:])])

    def search(self, position_m: Array) -> Found:
        """All paths of UE positions ``[P, 3]``, m, searched for together; by link, the strongest first.

        Raises:
            PathBufferFullError: A base station's part of the path buffer filled up, so paths may be missing.
        """
        return by_link(united([self._found(size, position_m) for size in self.world.solver.candidate_tables]))

    def _found(self, candidate_table: int, position_m: Array) -> Found:
        self.place(position_m)
        paths = self.solve(candidate_table)
        shape = (len(position_m), len(self.world.bs_ids))
        delay = paths.tau.numpy().astype(np.float64)
        if delay.ndim != 3 or delay.shape[-1] == 0:
            return Found.nothing(self.world.solver.max_depth)
        gain = (paths.a[0].numpy() + 1j * paths.a[1].numpy()).reshape(*shape, -1)
        ue, bs, index = np.nonzero(delay >= 0)
        return Found(
            ue=ue,
            bs=bs,
            delay_s=delay[ue, bs, index],
            gain=gain[ue, bs, index].astype(np.complex64),
            ue_direction=direction(paths.theta_r.numpy()[ue, bs, index], paths.phi_r.numpy()[ue, bs, index]),
            bs_direction=direction(paths.theta_t.numpy()[ue, bs, index], paths.phi_t.numpy()[ue, bs, index]),
            vertices_m=paths.vertices.numpy()[:, ue, bs, index].astype(np.float64),
            kinds=paths.interactions.numpy()[:, ue, bs, index],
        )

    def solve(self, candidate_table: int) -> Any:
        """Sionna's own ``Paths`` to where UEs were placed, in one call of its solver.

        Args:
            candidate_table: Entries of the hash table of chains.

        Raises:
            PathBufferFullError: A base station's part of the path buffer filled up, so paths may be missing.
        """
        settings = self.world.solver
        with table_of_candidates(candidate_table):
            paths = self._solver(
                self.scene,
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
        if self._candidates.most >= settings.path_capacity:
            raise PathBufferFullError(
                f"path buffer full: {len(self._receivers)} UE positions have more candidate paths to one "
                f"base station than path_capacity takes ({settings.path_capacity})"
            )
        return paths

    def place(self, position_m: Array, velocity_mps: Array | None = None) -> None:
        """Put UEs to positions ``[P, 3]``, m, where they stand or move, ``[P, 3]``, m/s."""
        while len(self._receivers) > len(position_m):
            self.scene.remove(self._receivers.pop().name)
        while len(self._receivers) < len(position_m):
            self._receivers.append(self._rt.Receiver(f"ue-{len(self._receivers)}", position=[0.0, 0.0, 0.0]))
            self.scene.add(self._receivers[-1])
        velocity_mps = np.zeros_like(position_m) if velocity_mps is None else velocity_mps
        for receiver, position, velocity in zip(self._receivers, position_m, velocity_mps, strict=True):
            receiver.position = [float(x) for x in position]
            receiver.velocity = [float(x) for x in velocity]

    def table(self, position_m: Array, found: Found) -> PathTable:
        """A table of the strongest paths, from all paths sorted by link."""
        settings = self.world.solver
        shape = (len(position_m), len(self.world.bs_ids))
        kept = cut(found, settings.kept_paths, settings.floor_db)
        total = energy(found, shape)
        dropped = 1 - energy(kept, shape) / np.where(total > 0, total, np.inf) - (total == 0)
        bs_position_m = np.asarray(self.world.bs_position_m)
        count = np.zeros(shape, np.int32)
        np.add.at(count, (kept.ue, kept.bs), 1)
        ends = np.cumsum(count.reshape(-1), dtype=np.int64)
        return PathTable(
            world_key=self.world.key(),
            bs_ids=self.world.bs_ids,
            position_m=np.asarray(position_m, dtype=np.float64),
            first=(ends - count.reshape(-1)).reshape(shape),
            count=count,
            gain=kept.gain,
            delay_s=kept.delay_s,
            ue_direction=kept.ue_direction,
            bs_direction=kept.bs_direction,
            line_of_sight=(kept.kinds != 0).sum(axis=0) == 0,
            dropped_energy=dropped.astype(np.float32),
            attributes={"scene": self.world.scene, "carrier_hz": self.world.carrier_hz},
            **unfold(bs_position_m[kept.bs], position_m[kept.ue], kept.vertices_m, kept.kinds),
        )

    def height_map(self, x_m: Array, y_m: Array) -> Array:
        """Height of the roof or ground under each grid point, ``[len(y_m), len(x_m)]``, m."""
        import drjit as dr
        import mitsuba as mi

        grid_x, grid_y = np.meshgrid(x_m, y_m)
        origin = mi.Point3f(
            mi.Float(grid_x.ravel().astype(np.float32)),
            mi.Float(grid_y.ravel().astype(np.float32)),
            mi.Float(ABOVE_EVERYTHING_M),
        )
        ray = mi.Ray3f(o=origin, d=mi.Vector3f(0.0, 0.0, -1.0))
        hit = self.scene.mi_scene.ray_intersect(ray)
        distance = np.asarray(dr.select(hit.is_valid(), hit.t, dr.nan))
        result: Array = (ABOVE_EVERYTHING_M - distance).reshape(grid_x.shape)
        return result

    def first_hit(self, origin_m: Array, towards: Array) -> tuple[Array, Array]:
        """How far rays get, and the normals of what they hit.

        Args:
            origin_m: ``[n, 3]``, m.
            towards: Unit vectors, ``[n, 3]``.

        Returns:
            Lengths ``[n]``, m, infinite where nothing is hit, and unit normals ``[n, 3]``.
        """
        import drjit as dr
        import mitsuba as mi

        columns = [mi.Float(column.astype(np.float32)) for column in (*origin_m.T, *towards.T)]
        ray = mi.Ray3f(o=mi.Point3f(*columns[:3]), d=mi.Vector3f(*columns[3:]))
        hit = self.scene.mi_scene.ray_intersect(ray)
        length = np.asarray(dr.select(hit.is_valid(), hit.t, dr.inf)).astype(np.float64)
        normal = np.stack([np.asarray(axis) for axis in (hit.n.x, hit.n.y, hit.n.z)], axis=1).astype(
            np.float64
        )
        return length, normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)


class _CandidateCounter:
    """Stands before the solver's image method and notes how full the buffer of candidates is that goes in.

    The paths that come out of the solver do not tell: most candidates turn out to be none.
    """

    def __init__(self, solver: Any) -> None:
        self.most = 0
        """Candidates of the base station that has the most, in the last call."""
        self._refine = solver._image_method
        solver._image_method = self

    def __call__(self, *, paths: Any, **arguments: Any) -> Any:
        self.most = int(np.bincount(paths.source_indices.numpy(), minlength=1).max())
        return self._refine(paths=paths, **arguments)


def direction(zenith: Array, azimuth: Array) -> Array:
    """Unit vectors ``[R, 3]`` of angles ``[R]``, rad."""
    zenith, azimuth = zenith.astype(np.float64), azimuth.astype(np.float64)
    level = np.sin(zenith)
    return np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.cos(zenith)], axis=1)


@contextmanager
def table_of_candidates(size: int) -> Iterator[None]:
    """Sionna's hash table of candidate chains has this many entries per base station meanwhile."""
    from sionna.rt.path_solvers.sb_candidate_generator import SBCandidateGenerator

    before = SBCandidateGenerator.MIN_SPEC_COUNT_SIZE
    SBCandidateGenerator.MIN_SPEC_COUNT_SIZE = size
    try:
        yield
    finally:
        SBCandidateGenerator.MIN_SPEC_COUNT_SIZE = before


def scene_file(rt: Any, scene: str) -> str:
    """The file of a scene that is given by name or as a file.

    Raises:
        ChannelError: There is none.
    """
    if is_scene_file(scene):
        return scene
    named = {name: value for name, value in vars(rt.scene).items() if str(value).endswith(".xml")}
    if scene not in named:
        raise ChannelError(
            f"no scene '{scene}': write a Mitsuba scene file (.xml) or one of {', '.join(sorted(named))}"
        )
    return str(named[scene])
