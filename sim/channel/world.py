"""What shapes the propagation paths besides the UE's position, and the air interface of a deployment."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from models.synthesis import Radio
from sim.channel.errors import ChannelError
from sim.deployment import Deployment

Point = tuple[float, float, float]


@dataclass(frozen=True)
class SolverSettings:
    """How paths are searched for and how many are kept.

    Attributes:
        max_depth: Most specular reflections of a path.
        rays_per_source: Rays shot from each base station.
        path_capacity: Candidate paths that the solver's buffer takes from one base station. Where it fills
            up, the positions of the call are halved; a single position that fills it is an error.
        diffraction: First-order diffraction, also in the lit region.
        batch: UE positions per call of the solver.
        candidate_tables: Entries per base station of the hash table in which the solver remembers the chains
            that it has seen. Where two chains fall on one entry one of them is lost, and which one depends on
            the batch. So paths are searched for once with each size, and what any search finds counts: a path
            would have to be lost twice.
        kept_paths: Most paths kept of a link, strongest first.
        floor_db: Paths this far below the strongest of the link are dropped.
        seed: Seed of the solver.
    """

    max_depth: int = 6
    rays_per_source: int = 20_000
    path_capacity: int = 200_000
    diffraction: bool = True
    batch: int = 50
    candidate_tables: tuple[int, ...] = (2**23, 2**23 - 15)
    kept_paths: int = 24
    floor_db: float = 40.0
    seed: int = 42


NOT_IN_THE_KEY = ("batch", "path_capacity", "candidate_tables")
"""Settings on which paths do not depend, where they are large enough."""


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
        solver: Solver settings.
    """

    scene: str
    carrier_hz: float
    bs_ids: tuple[str, ...]
    bs_position_m: tuple[Point, ...]
    boresight_m: Point
    element: str = "tr38901"
    polarisation: str = "V"
    solver: SolverSettings = field(default_factory=SolverSettings)

    def key(self) -> str:
        """Digest of the world, 16 hexadecimal digits: equal worlds give equal paths.

        Raises:
            ChannelError: The scene is a file that cannot be read.
        """
        described = asdict(self)
        for setting in NOT_IN_THE_KEY:
            del described["solver"][setting]
        if is_scene_file(self.scene):
            described["scene"] = scene_digest(Path(self.scene))
        text = json.dumps(described, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_scene_file(scene: str) -> bool:
    """Whether a scene is given as a file and not by its name."""
    return scene.endswith(".xml")


def scene_digest(path: Path) -> str:
    """Digest of a Mitsuba scene file and of the files that it names.

    Raises:
        ChannelError: One of them cannot be read.
    """
    digest = hashlib.sha256()
    try:
        text = path.read_text()
        for name in [path.name, *re.findall(r'name="filename"\s+value="([^"]+)"', text)]:
            digest.update(hashlib.sha256((path.parent / name).read_bytes()).digest())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        where = getattr(error, "filename", None) or path
        raise ChannelError(f"{where}: the scene cannot be read ({reason})") from error
    return digest.hexdigest()


def world_of(deployment: Deployment, folder: Path | None = None) -> World:
    """What shapes the paths of a deployment; a scene file is looked for in ``folder`` first."""
    scene = deployment.scene
    if folder is not None and is_scene_file(scene) and (folder / scene).is_file():
        scene = str(folder / scene)
    return World(
        scene=scene,
        carrier_hz=deployment.radio.carrier_hz,
        bs_ids=deployment.bs_ids,
        bs_position_m=tuple(site.position_in_world_m for site in deployment.sites),
        boresight_m=deployment.boresight_in_world_m,
        element=deployment.radio.element,
        polarisation=deployment.radio.polarisation,
    )


def radio_of(deployment: Deployment) -> Radio:
    """The air interface of a deployment."""
    radio = deployment.radio
    return Radio(
        carrier_hz=radio.carrier_hz,
        subcarrier_spacing_hz=radio.subcarrier_spacing_hz,
        full_subcarriers=radio.num_subcarriers,
        subcarrier_stride=radio.keep_every,
        slots=radio.num_slots,
        slot_s=radio.slot_interval_s,
        rows=radio.array_rows,
        columns=radio.array_columns,
        ue_power_dbm=radio.ue_power_dbm,
        noise_figure_db=radio.noise_figure_db,
    )
