"""The law of a base station: what it makes of the pilots of one UE at one time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from broker.frame import Frame
from models.quantiser import check_bits, pack, pack_many, quantise, rescale_step
from nodes.fuser import Fuser
from nodes.positioning_model import Embedding, PositioningModel


@dataclass(frozen=True, slots=True)
class Payload:
    """Size of a message: the first ``dims`` coefficients of the latent, ``bits`` each."""

    bits: int
    dims: int


class Place(NamedTuple):
    """Where a UE is by what one BS hears."""

    position_m: npt.NDArray[np.float64]
    """``[3]``, in world."""
    covariance_m2: npt.NDArray[np.float64]
    """``[3, 3]``, positive definite."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a send policy may look at: one snapshot before it is quantised."""

    bs: str
    ue: str
    seq: int
    t_sample_ns: int
    gain_db: float
    payload: Payload
    """What is sent if the policy has nothing else in mind."""
    latent: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """Not quantised, without the numbers at its head that say a direction; not to be changed."""
    locate: Callable[[], Place | None] | None = field(default=None, compare=False, repr=False)
    """Where the UE is by this BS alone, if asked: worth one fusion."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """One snapshot as it is to be sent."""

    ue: str
    seq: int
    t_sample_ns: int
    t_publish_ns: int
    embedding: Embedding


SendPolicy = Callable[[Heard], Payload | None]
"""Decides the size of each message, or with None that it is not sent."""


class PolicyError(ValueError):
    """A policy that wants what cannot be sent; the text is one line."""


class BaseStation:
    """Embeds, quantises and packs what one BS hears; owns no clock and no socket.

    Args:
        bs_id: one of ``model.bs_ids``.
        model: encodes.
        run: identity of the run, carried in every frame.
        bits: Q instead of the model's own, 1 to 16. The step is then scaled by what is best for a Gaussian.
        dims: number of leading coefficients to send instead of all.
        policy: decides message by message; gets ``bits`` and ``dims`` as its suggestion.

    Raises:
        ValueError: for a BS unknown to the model, or bits or dims out of range.
    """

    def __init__(
        self,
        bs_id: str,
        model: PositioningModel,
        run: str,
        *,
        bits: int | None = None,
        dims: int | None = None,
        policy: SendPolicy | None = None,
    ) -> None:
        if bs_id not in model.bs_ids:
            raise ValueError(f"{bs_id} is not a BS of the model: {', '.join(model.bs_ids)}")
        self.bs_id = bs_id
        self.run = run
        self.up = True
        """A BS that is down hears and counts nothing."""
        self._model = model
        self._policy = policy
        self.payload = Payload(model.bits if bits is None else bits, model.dims if dims is None else dims)
        self._step = float(model.steps[list(model.bs_ids).index(bs_id)])
        self._next_seq: dict[str, int] = {}
        self._alone: Alone | None = None

    @property
    def payload(self) -> Payload:
        """What is sent unless the policy says otherwise; may be changed between snapshots."""
        return self._payload

    @payload.setter
    def payload(self, payload: Payload) -> None:
        self._payload = self._checked(payload)

    @property
    def sends_alike(self) -> bool:
        """Whether all snapshots have messages of one size: no policy decides."""
        return self._policy is None

    def snapshot(
        self,
        ue: str,
        seq: int | None,
        t_sample_ns: int,
        pilots: npt.NDArray[np.complex64],
        noise_variance: float,
        t_publish_ns: int,
    ) -> Frame | None:
        """Frame of one snapshot, or None when the BS is down or its policy keeps silent.

        Args:
            ue: whose pilots these are.
            seq: number of the frame; None takes the next one of this UE, counted from 0.
            t_sample_ns: when the pilots were heard.
            pilots: complex64 ``[num_slots, num_ant, num_sc]``.
            noise_variance: of one resource element, in the unit of the pilots squared, positive.
            t_publish_ns: when the frame leaves.

        Raises:
            ValueError: when the encoder yields what cannot be quantised (NaN).
            PolicyError: when the policy wants a size out of range, or what is none.
        """
        assert pilots.ndim == 3, f"pilots are [num_slots, num_ant, num_sc], not {pilots.shape}"
        if not self.up:
            return None
        seq = self._next_seq.get(ue, 0) if seq is None else seq
        return self.frame(ue, seq, t_sample_ns, self._embed(ue, seq, pilots, noise_variance), t_publish_ns)

    def frame(
        self, ue: str, seq: int, t_sample_ns: int, embedding: Embedding, t_publish_ns: int
    ) -> Frame | None:
        """Frame of an embedding, or None when the policy keeps silent; the rest as of `snapshot`."""
        payload = self._chosen(ue, seq, t_sample_ns, embedding)
        if payload is None:
            return None
        self._next_seq[ue] = seq + 1
        return self._framed(ue, seq, t_sample_ns, embedding, t_publish_ns, payload)

    def frames(self, snapshots: Sequence[Embedded]) -> list[Frame]:
        """Frames of embeddings that `sends_alike`, quantised and packed in one go.

        Raises:
            ValueError: as `frame`, whichever of them is the cause; nothing is counted then.
        """
        payload = self._payload
        step = self.step(payload.bits)
        latents = np.stack([one.embedding.latent[: payload.dims] for one in snapshots])
        packed = pack_many(quantise(latents, payload.bits, step), payload.bits)
        found = []
        for one, content in zip(snapshots, packed, strict=True):
            self._next_seq[one.ue] = one.seq + 1
            found.append(self._frame_of(one, payload, step, content))
        return found

    def _framed(
        self, ue: str, seq: int, t_sample_ns: int, embedding: Embedding, t_publish_ns: int, payload: Payload
    ) -> Frame:
        """A frame of a chosen size."""
        step = self.step(payload.bits)
        content = self._pack(ue, seq, embedding, payload, step)
        return self._frame_of(Embedded(ue, seq, t_sample_ns, t_publish_ns, embedding), payload, step, content)

    def _frame_of(self, snapshot: Embedded, payload: Payload, step: float, content: bytes) -> Frame:
        return Frame(
            run=self.run,
            bs=self.bs_id,
            ue=snapshot.ue,
            seq=snapshot.seq,
            t_sample_ns=snapshot.t_sample_ns,
            t_publish_ns=snapshot.t_publish_ns,
            dims=payload.dims,
            bits=payload.bits,
            step=step,
            gain_db=gain_on_the_wire(snapshot.embedding),
            model=self._model.digest,
            payload=content,
        )

    def step(self, bits: int) -> float:
        """Quantiser step for messages of so many bits per coefficient."""
        return rescale_step(self._step, self._model.bits, bits)

    def _embed(
        self, ue: str, seq: int, pilots: npt.NDArray[np.complex64], noise_variance: float
    ) -> Embedding:
        embedding = self._model.encode(self.bs_id, pilots, noise_variance)
        assert embedding.latent.shape == (self._model.dims,), f"latent is {embedding.latent.shape}"
        return embedding

    def _pack(self, ue: str, seq: int, embedding: Embedding, payload: Payload, step: float) -> bytes:
        """The bytes of a message."""
        return pack(quantise(embedding.latent[: payload.dims], payload.bits, step), payload.bits)

    def _chosen(self, ue: str, seq: int, t_sample_ns: int, embedding: Embedding) -> Payload | None:
        """What is sent of a snapshot."""
        if self._policy is None:
            return self._payload
        heard = Heard(
            self.bs_id,
            ue,
            seq,
            t_sample_ns,
            gain_on_the_wire(embedding),
            self._payload,
            embedding.latent[getattr(self._model, "leading", 0) :],
            partial(self._locate, ue, seq, embedding),
        )
        payload = self._policy(heard)
        try:
            return None if payload is None else self._checked(payload)
        except (ValueError, TypeError, AttributeError) as error:
            raise PolicyError(
                f"the policy of {self.bs_id} wants {payload!r} for {ue}#{seq}: {error}"
            ) from error

    def _locate(self, ue: str, seq: int, embedding: Embedding) -> Place | None:
        """Where the UE is by this BS alone; None where the model gives no number."""
        if self._alone is None:
            self._alone = Alone(self.bs_id, self._model)
        latent = np.asarray(embedding.latent, np.float32)[None]
        return self._alone.places(latent, np.array([gain_on_the_wire(embedding)]))[0]

    def _checked(self, payload: Payload) -> Payload:
        check_bits(payload.bits)
        for name, number in (("bits", payload.bits), ("dims", payload.dims)):
            if type(number) is not int:  # a frame takes nothing else
                raise ValueError(f"{name} must be an integer, not {number!r}")
        if not 1 <= payload.dims <= self._model.dims:
            raise ValueError(f"dims must be from 1 to {self._model.dims}, not {payload.dims}")
        return payload


class Alone:
    """Positions by what one BS hears and no other: the model's fusion with all others masked.

    Args:
        bs_id: which BS.
        model: fuses.
    """

    def __init__(self, bs_id: str, model: PositioningModel) -> None:
        self._column = list(model.bs_ids).index(bs_id)
        self._model = model
        self._fuser = Fuser(model)

    def places(
        self, latents: npt.NDArray[np.float32], gain_db: npt.NDArray[np.float64]
    ) -> list[Place | None]:
        """Places of snapshots, None where the model gives no number.

        Args:
            latents: ``[n, dims]``, not quantised.
            gain_db: ``[n]``, as on the wire.
        """
        shape = (len(latents), len(self._model.bs_ids))
        all_latents = np.zeros((*shape, self._model.dims), np.float32)
        all_gains = np.zeros(shape)
        present = np.zeros(shape, np.bool_)
        all_latents[:, self._column] = latents
        all_gains[:, self._column] = gain_db
        present[:, self._column] = True
        fused = self._fuser.fuse_latents(all_latents, all_gains, present)
        return [
            Place(position_m, covariance_m2) if finite else None
            for position_m, covariance_m2, finite in zip(
                fused.position_m, fused.covariance_m2, fused.finite.tolist(), strict=True
            )
        ]


def gain_on_the_wire(embedding: Embedding) -> float:
    """The gain as a frame carries it: float32."""
    return float(np.float32(embedding.gain_db))
