"""What can be judged: systems that make positions of what base stations hear, and their names."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from broker.frame import Frame, encode_frame, wire_bits
from models.intersection import Intersection
from models.messages import DirectionMessage
from models.music import Arrivals, Music
from models.quantiser import dequantise, pack, quantise, rescale_step
from sim.deployment import MUNICH6
from sim.errors import UserError

if TYPE_CHECKING:
    from models.systems.compared import ComparedSystem

Floats = NDArray[np.float64]
Pilots = NDArray[np.complex64]
Made = TypeVar("Made")

PADDED_BITS = 16
"""Messages that are no embedding are counted as numbers of so many bits."""


UNDIRECTED = "-without-directions"
"""Behind the name of a model: as if it knew of none, in its messages and in its fixes."""


class EvaluationError(UserError):
    """A system that cannot be judged here."""


class System(Protocol):
    """All that a comparison asks of a system.

    Attributes:
        name: Of the system, with the size of its messages where it is not the usual one.
        payload_bits: Bits that one base station sends about one snapshot.
        wire_bits: Bits on the wire of one frame with them.
        samples_trained: Samples that it has seen in training; None if there were none or nobody knows.
        csi_shape: Slots, antennas and subcarriers of the pilots that it takes.
        num_bs: Base stations that it takes.
    """

    @property
    def name(self) -> str:
        """See above, as for the others."""
        ...

    @property
    def payload_bits(self) -> int:
        """Without gain and header."""
        ...

    @property
    def wire_bits(self) -> int:
        """With all that comes beside it."""
        ...

    @property
    def samples_trained(self) -> int | None:
        """How much it has learned from."""
        ...

    @property
    def csi_shape(self) -> tuple[int, int, int]:
        """``(num_slots, num_ant, num_sc)``."""
        ...

    @property
    def num_bs(self) -> int:
        """In the order of the deployment."""
        ...

    def estimate(
        self, pilots: Pilots, noise_variance: Floats, present: NDArray[np.bool_]
    ) -> tuple[Floats, Floats | None]:
        """Positions ``[n, 3]``, m, and what is claimed about their errors, ``[n, 3, 3]``, m², or None.

        Called again with the same pilots and other base stations missing, it should not encode them again:
        see :class:`Kept`.

        Args:
            pilots: Received, of unit modulus when sent, ``[n, num_bs, num_slots, num_ant, num_sc]``.
            noise_variance: Of one resource element, in the units of ``|pilots|^2``, ``[num_bs]``.
            present: Whose messages arrive, ``[n, num_bs]``.
        """
        ...


class Kept(Generic[Made]):
    """What was last made of a batch of pilots: systems that share it have it made once.

    Args:
        make: Makes something of ``(pilots, noise_variance)``.
    """

    def __init__(self, make: Callable[[Pilots, Floats], Made]) -> None:
        self._make = make
        self._pilots: Pilots | None = None
        self._made: Made

    def of(self, pilots: Pilots, noise_variance: Floats) -> Made:
        """The same object again for the same array of pilots, which must not have been changed meanwhile."""
        if pilots is not self._pilots:
            self._made = self._make(pilots, noise_variance)
            self._pilots = pilots
        return self._made


class Encoding(Protocol):
    """What is asked of a model; see :class:`models.runtime.OnnxModel`."""

    bs_ids: tuple[str, ...]
    csi_shape: tuple[int, int, int]
    dims: int
    bits: int
    steps: NDArray[np.float64]
    digest: bytes

    def encode_many(
        self, bs: str, pilots: NDArray[Any], noise_variance: float
    ) -> tuple[NDArray[np.float32], Floats]:
        """Latents ``[n, dims]`` and gains in dB ``[n]`` of pilots ``[n, num_slots, num_ant, num_sc]``."""
        ...

    def fuse(
        self, latents: NDArray[np.float32], gain_db: NDArray[Any], present: NDArray[np.bool_]
    ) -> tuple[Floats, Floats]:
        """Positions ``[n, 3]`` and covariances ``[n, 3, 3]``."""
        ...


Encoded = tuple[NDArray[np.float32], Floats]


def kept_encodings(model: Encoding) -> Kept[Encoded]:
    """What `encoded` makes, kept."""
    return Kept(partial(encoded, model))


def encoded(model: Encoding, pilots: Pilots, noise_variance: Floats) -> Encoded:
    """Latents ``[n, num_bs, dims]`` and gains in dB ``[n, num_bs]``, as they would be on the wire."""
    parts = [
        model.encode_many(bs, pilots[:, number], float(noise_variance[number]))
        for number, bs in enumerate(model.bs_ids)
    ]
    gain_db = np.stack([gain for _, gain in parts], axis=1).astype(np.float32)
    return np.stack([latent for latent, _ in parts], axis=1), gain_db.astype(np.float64)


@dataclass(frozen=True, eq=False)
class EmbeddingSystem:
    """A model whose base stations send the first so many numbers of their latents with so many bits each.

    Attributes:
        name: See :class:`System`.
        model: Encodes and fuses.
        encodings: What the model makes of pilots; shared by all systems of the same model.
        bits: Q.
        dims: Numbers that are sent; the central unit takes the others for zero.
        samples_trained: See :class:`System`.
    """

    name: str
    model: Encoding
    encodings: Kept[Encoded]
    bits: int
    dims: int
    samples_trained: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 16:
            raise EvaluationError(f"bits must be from 1 to 16, not {self.bits}")
        if not 1 <= self.dims <= self.model.dims:
            raise EvaluationError(f"dims must be from 1 to {self.model.dims}, not {self.dims}")

    @property
    def csi_shape(self) -> tuple[int, int, int]:
        """See :class:`System`."""
        return self.model.csi_shape

    @property
    def num_bs(self) -> int:
        """See :class:`System`."""
        return len(self.model.bs_ids)

    @property
    def payload_bits(self) -> int:
        """Bits of one embedding."""
        return self.dims * self.bits

    @property
    def wire_bits(self) -> int:
        """Bits on the wire of one frame with it."""
        return bits_on_wire(self.dims, self.bits)

    @property
    def steps(self) -> Floats:
        """Quantiser step of each base station, ``[num_bs]``."""
        return np.array([rescale_step(float(step), self.model.bits, self.bits) for step in self.model.steps])

    def sent(self, latents: NDArray[np.float32]) -> NDArray[np.float32]:
        """What arrives of latents ``[n, num_bs, dims]``: (19) and back, zero for what is not sent."""
        steps = self.steps[:, None]
        arrived = np.zeros_like(latents)
        indices = quantise(latents[..., : self.dims], self.bits, steps)
        arrived[..., : self.dims] = dequantise(indices, self.bits, steps)
        return arrived

    def estimate(
        self, pilots: Pilots, noise_variance: Floats, present: NDArray[np.bool_]
    ) -> tuple[Floats, Floats | None]:
        """See :class:`System`."""
        latents, gain_db = self.encodings.of(pilots, noise_variance)
        return self.model.fuse(self.sent(latents), gain_db, present)


def bits_on_wire(dims: int, bits: int) -> int:
    """Bits on the wire of a frame with so many numbers of so many bits: payload, header, topic, transport."""
    frame = Frame(
        run="evaluate",
        bs="bs1",
        ue="ue1",
        seq=1_000,
        t_sample_ns=10**11,
        t_publish_ns=10**11,
        dims=dims,
        bits=bits,
        step=0.01,
        gain_db=20.0,
        model=bytes(8),
        payload=pack(np.zeros(dims, np.uint16), bits),
    )
    return wire_bits(encode_frame(frame))


def payload_on_wire(payload_bits: int) -> int:
    """Bits on the wire of a frame with a payload that is no embedding."""
    return bits_on_wire(-(-payload_bits // PADDED_BITS), PADDED_BITS)


class MusicSystem:
    """Directions by MUSIC at each base station, intersected at the central unit: nothing is learned.

    Args:
        name: See :class:`System`.
        robust: Whether to trust the directions that most agree on, or to weigh all by their power.
        arrivals: What base stations find; shared by both variants.
    """

    samples_trained: int | None = None

    def __init__(self, name: str, *, robust: bool, arrivals: Kept[Arrivals]) -> None:
        self.name, self._robust, self._arrivals = name, robust, arrivals
        self._intersection = lines_of_munich6()
        self.num_bs = len(MUNICH6.sites)
        radio = MUNICH6.radio
        self.csi_shape = (radio.num_slots, radio.num_antennas, radio.num_pilots)
        self.payload_bits = DirectionMessage.bits
        self.wire_bits = payload_on_wire(self.payload_bits)

    def estimate(
        self, pilots: Pilots, noise_variance: Floats, present: NDArray[np.bool_]
    ) -> tuple[Floats, Floats | None]:
        """See :class:`System`."""
        arrivals = self._arrivals.of(pilots, noise_variance)
        intersect = self._intersection.robust if self._robust else self._intersection.plain
        return intersect(arrivals, present), None


def lines_of_munich6() -> Intersection:
    """Where directions lead from the sites of the benchmark, within its area."""
    site_m = np.array([site.position_in_world_m for site in MUNICH6.sites])
    low_m, high_m = np.array([MUNICH6.area.x_m, MUNICH6.area.y_m, MUNICH6.area.z_m]).T
    return Intersection.looking_at(site_m, np.array(MUNICH6.boresight_in_world_m), low_m, high_m)


def kept_arrivals() -> Kept[Arrivals]:
    """What MUSIC finds at base stations, as it arrives in 80 bits from each."""
    radio = MUNICH6.radio
    music, message = Music(radio.array_rows, radio.array_columns), DirectionMessage()
    return Kept(partial(arrived, music, message))


def arrived(music: Music, message: DirectionMessage, pilots: Pilots, noise_variance: Floats) -> Arrivals:
    """Directions as they come out of their messages."""
    return message.arrivals(message.indices(music.arrivals(pilots, noise_variance)))


def music_systems(arrivals: Kept[Arrivals]) -> dict[str, Callable[[], System]]:
    """MUSIC, plain and robust."""
    return {
        "music": lambda: MusicSystem("music", robust=False, arrivals=arrivals),
        "music-robust": lambda: MusicSystem("music-robust", robust=True, arrivals=arrivals),
    }


class Framed:
    """A system whose messages go into frames like embeddings do.

    Args:
        system: All of :class:`System` but ``wire_bits``.
    """

    def __init__(self, system: ComparedSystem) -> None:
        self._system = system
        self.name, self.payload_bits = system.name, system.payload_bits
        self.samples_trained: int | None = system.samples_trained
        self.csi_shape, self.num_bs = system.csi_shape, system.num_bs
        self.wire_bits = payload_on_wire(system.payload_bits)

    def estimate(
        self, pilots: Pilots, noise_variance: Floats, present: NDArray[np.bool_]
    ) -> tuple[Floats, Floats | None]:
        """See :class:`System`."""
        return self._system.estimate(pilots, noise_variance, present)


def other_systems(arrivals: Kept[Arrivals]) -> dict[str, Callable[[], System]]:
    """What is compared with the shipped models, by name; each is loaded when it is called for."""
    from models.systems.compared import compared_names, compared_systems

    def trained(name: str) -> Callable[[], System]:
        return lambda: Framed(compared_systems([name])[0])

    return {name: trained(name) for name in compared_names()} | music_systems(arrivals)


def embedding_systems(
    models: Sequence[str], bits: Sequence[int] = (), dims: Sequence[int] = (), *, directions: bool = True
) -> list[System]:
    """Shipped models by name, or any by folder, each with its own messages or with all those asked for.

    Args:
        models: Names or folders.
        bits: Q, if not the models' own.
        dims: Numbers sent, if not all.
        directions: Whether they use directions, if they know of them.

    Raises:
        ModelError: There is no such model, or it is damaged.
        EvaluationError: Bits or dims out of range.
    """
    from models.runtime import load_model

    systems: list[System] = []
    for name in models:
        model = load_model(name, directions=directions)
        encodings = kept_encodings(model)
        seen = json.loads((model.folder / "model.json").read_text(encoding="utf-8")).get("samples_trained")
        for length in dims or (model.dims,):
            for number in bits or (model.bits,):
                label = name + ("" if directions else UNDIRECTED) + size_label(length, number, model)
                systems.append(EmbeddingSystem(label, model, encodings, number, length, seen))
    return systems


def size_label(dims: int, bits: int, model: Encoding) -> str:
    """How the name of a system tells its messages from the usual ones of its model."""
    parts = []
    if dims != model.dims:
        parts.append(f"{dims} numbers")
    if bits != model.bits:
        parts.append(f"{bits} bits")
    return f" at {', '.join(parts)}" if parts else ""


def shipped_models() -> list[str]:
    """Names of the models that come with the project."""
    from models.runtime import WEIGHTS

    return sorted(path.parent.name for path in WEIGHTS.glob("*/model.json"))


def histories() -> dict[str, list[dict[str, Any]]]:
    """Errors on the validation points as trainings went, for each shipped system that tells."""
    from models.runtime import WEIGHTS

    found = {}
    for path in sorted([*WEIGHTS.glob("*/model.json"), *WEIGHTS.glob("compare/*/model.json")]):
        history = json.loads(path.read_text(encoding="utf-8")).get("history")
        if history:
            found[path.parent.name] = history
    return found


def systems_named(names: Sequence[str], bits: Sequence[int] = (), dims: Sequence[int] = ()) -> list[System]:
    """Systems by name: shipped models, in all sizes asked for, systems compared with them, or ``all``.

    A shipped model with ``-without-directions`` behind its name is judged as if it knew of none.

    Raises:
        EvaluationError: There is no system of this name; bits or dims out of range.
        ModelError: A model is damaged.
    """
    arrivals = kept_arrivals()
    shipped, others = shipped_models(), other_systems(arrivals)
    known = [*shipped, *(name + UNDIRECTED for name in shipped), *others]
    systems: list[System] = []
    for name in known if "all" in names else names:
        if name in shipped:
            systems += embedding_systems([name], bits, dims)
        elif name.removesuffix(UNDIRECTED) in shipped:
            systems += embedding_systems([name.removesuffix(UNDIRECTED)], bits, dims, directions=False)
        elif name in others:
            systems.append(others[name]())
        else:
            raise EvaluationError(f"unknown system '{name}'; one of {', '.join(known)}")
    return systems
