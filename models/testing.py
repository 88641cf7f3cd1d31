"""A positioning model without weights, for tests of what surrounds one.

`GeometryModel` has the interface of a trained model. What it hears must come from `GeometryModel.pilots_at`,
which writes a position into the pilots; its latent carries that position, quantised like any other latent,
and its fusion is the mean over the BSs that are present. So a test knows what a fix must be.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class GeometryEmbedding:
    """What a BS sends of one snapshot, before quantisation: ``latent [dims]`` and SNR in dB."""

    latent: Float32
    gain_db: float


class GeometryModel:
    """Test double of a positioning model: the latent carries the position in so many words.

    Args:
        bs_ids: the BSs, in the order of the model's arrays.
        dims: D, at least 3. The three coordinates are repeated with dither, so more dimensions resolve more
            finely than one quantiser step.
        bits: Q, 1 to 16.
        extent_m: largest coordinate that can be carried.
        error_m: standard deviation per axis that one BS claims; n of them claim ``error_m / sqrt(n)``.
        name: enters the digest: models of different names refuse each other's frames.
    """

    def __init__(
        self,
        bs_ids: Sequence[str] = ("bs1", "bs2", "bs3", "bs4", "bs5", "bs6"),
        *,
        dims: int = 48,
        bits: int = 10,
        extent_m: float = 500.0,
        error_m: float = 1.0,
        name: str = "geometry",
    ) -> None:
        assert dims >= 3, "three coordinates take three dimensions"
        self.bs_ids = tuple(bs_ids)
        self.num_bs = len(self.bs_ids)
        self.dims = dims
        self.bits = bits
        self.extent_m = extent_m
        self.error_m = error_m
        self.steps: Float64 = np.full(self.num_bs, self._step())
        identity = f"{name} {self.bs_ids} {dims} {bits} {extent_m} {error_m}"
        self.digest = hashlib.blake2b(identity.encode(), digest_size=8).digest()

    def pilots_at(
        self,
        position_m: npt.ArrayLike,
        *,
        gain_db: float = 20.0,
        noise_variance: float = 1.0,
        shape: tuple[int, int, int] = (10, 8, 24),
    ) -> npt.NDArray[np.complex64]:
        """Pilots that a BS hears from a UE at a position, as this model understands them.

        Args:
            position_m: ``[3]``, each coordinate within the extent.
            gain_db: SNR per resource element that `encode` will find.
            noise_variance: what `encode` will be given.
            shape: slots, antennas, subcarriers; at least three elements.

        Returns:
            complex64 ``[num_slots, num_ant, num_sc]``.
        """
        coordinates = np.asarray(position_m, dtype=np.float64) / self.extent_m
        assert coordinates.shape == (3,), f"position is [3], not {coordinates.shape}"
        amplitude = np.sqrt(noise_variance * 10 ** (gain_db / 10))
        # A coordinate is the argument of a unit phasor: the power is the same wherever the UE is.
        angles = np.resize(coordinates * (np.pi / 2), int(np.prod(shape)))
        pilots: npt.NDArray[np.complex64] = (
            (amplitude * np.exp(1j * angles)).reshape(shape).astype(np.complex64)
        )
        return pilots

    def encode(self, bs: str, pilots: npt.NDArray[np.complex64], noise_variance: float) -> GeometryEmbedding:
        """Latent of one snapshot.

        Args:
            bs: one of ``bs_ids``; all encode alike.
            pilots: ``[num_slots, num_ant, num_sc]`` from `pilots_at`.
            noise_variance: of one resource element, positive.
        """
        if bs not in self.bs_ids:
            raise KeyError(bs)
        heard = pilots.ravel().astype(np.complex128)
        coordinates = np.angle(heard[:3]) / (np.pi / 2)
        latent = np.resize(coordinates, self.dims) + self._dither()
        power = float(np.mean(np.abs(heard) ** 2))
        return GeometryEmbedding(latent.astype(np.float32), float(10 * np.log10(power / noise_variance)))

    def fuse(
        self, latents: Float32, gain_db: Float64, present: npt.NDArray[np.bool_]
    ) -> tuple[Float64, Float64]:
        """Mean of the positions that the present BSs sent.

        Dimensions that a shortened frame left out are zero and do not count: no level of a midrise
        quantiser is zero.

        Args:
            latents: float32 ``[num_snapshots, num_bs, dims]``.
            gain_db: ``[num_snapshots, num_bs]``; not used.
            present: bool ``[num_snapshots, num_bs]``; at least one true per row.

        Returns:
            Positions ``[num_snapshots, 3]`` and covariances ``[num_snapshots, 3, 3]``, float64.
        """
        num, num_bs, dims = latents.shape
        assert (num_bs, dims) == (self.num_bs, self.dims), f"latents are {latents.shape}"
        assert gain_db.shape == present.shape == (num, num_bs), f"gains {gain_db.shape}, mask {present.shape}"
        assert present.any(axis=1).all(), "a snapshot without any BS"
        repeats = self.dims // 3
        spread = (latents.astype(np.float64) - self._dither())[:, :, : 3 * repeats]
        sent = (latents != 0)[:, :, : 3 * repeats].reshape(num, num_bs, repeats, 3)
        total = np.where(sent, spread.reshape(num, num_bs, repeats, 3), 0.0).sum(axis=2)
        per_bs = total / np.maximum(sent.sum(axis=2), 1) * self.extent_m
        used = present.sum(axis=1)
        position_m = np.where(present[:, :, None], per_bs, 0.0).sum(axis=1) / used[:, None]
        covariance_m2 = np.eye(3) * (self.error_m**2 / used)[:, None, None]
        return position_m, covariance_m2

    def _step(self) -> float:
        return 2.0 / (1 << self.bits)

    def _dither(self) -> Float64:
        """Offset of each repetition of the coordinates, spread evenly over one step."""
        repeats = -(-self.dims // 3)
        offsets = ((np.arange(repeats) + 0.5) / repeats - 0.5) * self._step()
        return np.repeat(offsets, 3)[: self.dims]
