"""The fuser: from closed snapshots to positions with covariances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.quantiser import dequantise, unpack_many
from models.runtime import filled_up
from nodes.collector import Snapshot
from nodes.positioning_model import PositioningModel

Float64 = npt.NDArray[np.float64]

MIN_VARIANCE_M2 = 1e-6
"""No covariance is believed to be below (1 mm)² in any direction."""
MIN_SHARE = 1e-12
"""Nor below this share of its greatest variance: double precision could not tell it from none."""


@dataclass(frozen=True, slots=True, eq=False)
class Fused:
    """Positions and covariances of snapshots, in the order they were given."""

    position_m: Float64
    """``[n, 3]``"""
    covariance_m2: Float64
    """``[n, 3, 3]``, symmetric, eigenvalues at least `MIN_VARIANCE_M2` and `MIN_SHARE` of the greatest."""
    finite: npt.NDArray[np.bool_]
    """``[n]``; where false the model gave no number and the rest means nothing."""

    def __getitem__(self, rows: slice) -> "Fused":
        """Some of them."""
        return Fused(self.position_m[rows], self.covariance_m2[rows], self.finite[rows])


class Fuser:
    """Unpacks and dequantises the frames of snapshots and has the model fuse them, many at a time.

    A model's arithmetic may depend on the size of a batch. So batches are `models.runtime.filled_up`: the
    result of a snapshot is then the same to the last bit, alone or among others.

    Args:
        model: fuses.
        max_batch: most snapshots in one call of the model.
    """

    def __init__(self, model: PositioningModel, max_batch: int = 256) -> None:
        assert max_batch >= 1
        self._model = model
        self._max_batch = max_batch
        self._column = {bs: at for at, bs in enumerate(model.bs_ids)}

    def fuse(self, snapshots: Sequence[Snapshot]) -> Fused:
        """Positions of snapshots, each with at least one BS; missing BSs are masked.

        Args:
            snapshots: of BSs that the model knows, with payloads as announced.
        """
        return together(
            [
                self._fuse_batch(*self._gather(snapshots[at : at + self._max_batch]))
                for at in range(0, len(snapshots), self._max_batch)
            ]
        )

    def fuse_latents(
        self, latents: npt.NDArray[np.float32], gain_db: Float64, present: npt.NDArray[np.bool_]
    ) -> Fused:
        """As `fuse`, of latents that are dequantised already.

        Args:
            latents: ``[n, num_bs, dims]``, zero where a BS is missing or a message is shorter.
            gain_db: ``[n, num_bs]``
            present: ``[n, num_bs]``
        """
        places = [slice(at, at + self._max_batch) for at in range(0, len(latents), self._max_batch)]
        return together([self._fuse_batch(latents[at], gain_db[at], present[at]) for at in places])

    def _fuse_batch(
        self, latents: npt.NDArray[np.float32], gain_db: Float64, present: npt.NDArray[np.bool_]
    ) -> Fused:
        num = len(latents)
        rows = filled_up(num)
        position_m, covariance_m2 = self._model.fuse(latents[rows], gain_db[rows], present[rows])
        position_m, covariance_m2 = position_m[:num], covariance_m2[:num]
        assert position_m.shape == (num, 3), f"the model gave positions {position_m.shape}"
        assert covariance_m2.shape == (num, 3, 3), f"the model gave covariances {covariance_m2.shape}"
        numbers = np.concatenate([position_m, covariance_m2.reshape(num, 9)], axis=1)
        finite = np.isfinite(numbers).all(axis=1, keepdims=True)[:, 0]
        spread = np.where(finite[:, None, None], covariance_m2, np.eye(3)).astype(np.float64)
        return Fused(position_m.astype(np.float64), _positive_definite(spread), finite)

    def _gather(
        self, snapshots: Sequence[Snapshot]
    ) -> tuple[npt.NDArray[np.float32], Float64, npt.NDArray[np.bool_]]:
        shape = (len(snapshots), len(self._column))
        latents = np.zeros((*shape, self._model.dims), np.float32)
        gain_db = np.zeros(shape)
        present = np.zeros(shape, np.bool_)
        # Frames of the same size are unpacked in one go.
        by_size: dict[tuple[int, int], list[tuple[int, int, bytes, float]]] = {}
        for row, snapshot in enumerate(snapshots):
            for arrival in snapshot.arrivals:
                frame, column = arrival.frame, self._column[arrival.frame.bs]
                gain_db[row, column] = frame.gain_db
                present[row, column] = True
                by_size.setdefault((frame.dims, frame.bits), []).append(
                    (row, column, frame.payload, frame.step)
                )
        for (dims, bits), frames in by_size.items():
            rows, columns, payloads, steps = zip(*frames, strict=True)
            indices = unpack_many(payloads, dims, bits)
            latents[rows, columns, :dims] = dequantise(indices, bits, np.array(steps)[:, None])
        return latents, gain_db, present


def together(parts: Sequence[Fused]) -> Fused:
    """Batches one after the other."""
    if not parts:
        return Fused(np.zeros((0, 3)), np.zeros((0, 3, 3)), np.zeros(0, np.bool_))
    return Fused(
        position_m=np.concatenate([part.position_m for part in parts]),
        covariance_m2=np.concatenate([part.covariance_m2 for part in parts]),
        finite=np.concatenate([part.finite for part in parts]),
    )


def _positive_definite(covariance_m2: Float64) -> Float64:
    """The same matrices, exactly symmetric, with eigenvalues raised to the floor where they are below it."""
    symmetric = 0.5 * (covariance_m2 + covariance_m2.transpose(0, 2, 1))
    spread = np.linalg.eigvalsh(symmetric)
    weak = spread[:, 0] < np.maximum(MIN_VARIANCE_M2, MIN_SHARE * spread[:, 2])
    if weak.any():
        values, vectors = np.linalg.eigh(symmetric[weak])
        least = np.maximum(MIN_VARIANCE_M2, MIN_SHARE * values[:, 2:])
        raised = (vectors * np.maximum(values, least)[:, None]) @ vectors.transpose(0, 2, 1)
        symmetric[weak] = 0.5 * (raised + raised.transpose(0, 2, 1))
    return symmetric
