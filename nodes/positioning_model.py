"""What base stations and the central unit need of a model; trained ones and test doubles have it alike."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


class Embedding(Protocol):
    """One snapshot as a model's encoder sees it."""

    @property
    def latent(self) -> npt.NDArray[np.float32]:
        """``[dims]``, in falling order of importance if the model lets frames be shortened."""
        ...

    @property
    def gain_db(self) -> float:
        """SNR per resource element in dB."""
        ...


class PositioningModel(Protocol):
    """Encoder of every BS and fusion of the CU, trained together."""

    @property
    def digest(self) -> bytes:
        """8 bytes that name the weights."""
        ...

    @property
    def dims(self) -> int:
        """D, coefficients of a whole latent."""
        ...

    @property
    def bits(self) -> int:
        """Q that ``steps`` are calibrated for."""
        ...

    @property
    def bs_ids(self) -> Sequence[str]:
        """BSs in the order of the model's arrays."""
        ...

    @property
    def steps(self) -> npt.NDArray[Any]:
        """Quantiser step of each BS, ``[num_bs]``."""
        ...

    def encode(self, bs: str, pilots: npt.NDArray[np.complex64], noise_variance: float, /) -> Embedding:
        """Embed the pilots ``[num_slots, num_ant, num_sc]`` that one BS heard."""
        ...

    def fuse(
        self,
        latents: npt.NDArray[np.float32],
        gain_db: Float64,
        present: npt.NDArray[np.bool_],
        /,
    ) -> tuple[Float64, Float64]:
        """Positions ``[n, 3]`` and covariances ``[n, 3, 3]`` of n snapshots.

        ``latents [n, num_bs, dims]`` and ``gain_db [n, num_bs]`` are zero, and mean nothing, where
        ``present [n, num_bs]`` is false.
        """
        ...
