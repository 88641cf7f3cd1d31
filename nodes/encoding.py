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
    many = getattr(model, "encode_many", None)
    if many is None or len(pilots) == 1:
        return [model.encode(bs, heard, noise_variance) for heard in pilots]
    latents, gains_db = many(bs, np.stack(pilots), noise_variance)
    return [Encoded(latent, float(gain_db)) for latent, gain_db in zip(latents, gains_db, strict=True)]
