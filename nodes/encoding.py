"""Many snapshots of one base station in one go: that takes hardly longer than one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nodes.positioning_model import Embedding, PositioningModel


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """One of several snapshots that were encoded together."""

    latent: npt.NDArray[np.float32]
    gain_db: float


def encode_together(
    model: PositioningModel,
    bs: str,
    pilots: Sequence[npt.NDArray[np.complex64]],
    noise_variance: float,
) -> list[Embedding]:
    """Embeddings of snapshots of one BS, all of one shape; numbers are those of encoding one by one.

    Args:
        model: if it has an `encode_many`, all go in one call.
        bs: that heard them.
        pilots: each ``[num_slots, num_ant, num_sc]``.
        noise_variance: of one resource element, in the unit of the pilots squared.
    """
    if len(pilots) == 1:
        return [model.encode(bs, pilots[0], noise_variance)]
    latents, gains_db = encode_array(model, bs, np.stack(pilots), noise_variance)
    return [Encoded(latent, float(gain_db)) for latent, gain_db in zip(latents, gains_db, strict=True)]


def encode_array(
    model: PositioningModel, bs: str, pilots: npt.NDArray[np.complex64], noise_variance: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """As `encode_together`, from and to arrays.

    Args:
        model: if it has an `encode_many`, all go in one call.
        bs: that heard them.
        pilots: ``[n, num_slots, num_ant, num_sc]``, n > 0.
        noise_variance: of one resource element, in the unit of the pilots squared.

    Returns:
        Latents ``[n, dims]`` and gains in dB ``[n]``.
    """
    many = getattr(model, "encode_many", None)
    if many is not None:
        latents, gains_db = many(bs, pilots, noise_variance)
        return latents, gains_db
    embeddings = [model.encode(bs, heard, noise_variance) for heard in pilots]
    latents = np.stack([embedding.latent for embedding in embeddings])
    return latents, np.array([embedding.gain_db for embedding in embeddings], np.float64)
