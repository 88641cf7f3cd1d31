"""Training samples out of a data set: as they were measured, and varied as unseen places would vary them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.dataset import SAME_PLACE_M, Dataset
from models.dataset_features import link_features, shape_of
from models.dataset_places import linked, told_apart

NEIGHBOURS = 4
"""Samples are mixed with others about as far away as the fourth place next to theirs."""
MEASURED_ON = 512
MIXED_SHARE = 0.8


@dataclass(frozen=True)
class Variation:
    """How far training samples are varied; in standard deviations over the training data.

    Attributes:
        name: Of the variation.
        rough: Noise on features that small-scale fading decides: nothing there can be learned by heart.
        smooth: Noise on the others, and on gains.
        mixing: Whether samples are mixed with others from near by, positions and gains alike.
    """

    name: str
    rough: float
    smooth: float
    mixing: bool = True


NONE = Variation("none", 0.0, 0.0, mixing=False)


class DatasetSampler:
    """Draws samples of some rows of a data set.

    Args:
        dataset: The set.
        rows: Which of its samples.
        seed: Of the draws.
        bs_dropout: Share of the links that a drawn sample misses.
        device: Where samples are made.
        origin_m: ``[3]``, subtracted from positions before they become float32, which resolves no more than
            0.5 m at five million; None: nothing.
    """

    def __init__(
        self, dataset: Dataset, rows: Any, seed: int, bs_dropout: float = 0.0, device: str = "cpu",
        origin_m: Any = None,
    ) -> None:  # fmt: skip
        self.device, self.bs_dropout = device, bs_dropout
        chosen = dataset.csi[rows]
        self.link_shape = shape_of(chosen)
        flat = chosen.reshape(-1, *chosen.shape[2:])
        features, gain = link_features(flat, dataset.noise_variance)
        links = chosen.shape[:2]
        self.features = torch.tensor(features.reshape(*links, -1), device=device)
        self.gain = torch.tensor(gain.reshape(links), device=device)
        self.heard = torch.tensor(dataset.heard[rows], device=device)
        self.origin_m = np.zeros(3) if origin_m is None else np.asarray(origin_m, dtype=np.float64)
        position_m = dataset.position_m[rows] - self.origin_m
        self.position = torch.tensor(position_m, dtype=torch.float32, device=device)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.variation = NONE
        self.rough, self.smooth = torch.zeros(()), torch.zeros(())
        self.gain_spread = torch.zeros(())
        self.same_m, self.reach_m = SAME_PLACE_M, 0.0
        self.seconds_making = 0.0

    def __len__(self) -> int:
        return len(self.position)

    def vary(self, variation: Variation, spread: Tensor, gain_spread: Tensor) -> None:
        """From now on vary what is drawn.

        Args:
            variation: By how much.
            spread: Standard deviation of each feature, ``[L, F]``.
            gain_spread: Of each base station's gain, ``[L]``, dB.
        """
        amount = torch.full((self.features.shape[-1],), variation.rough, device=self.device)
        amount[: self.link_shape.smooth] = variation.smooth
        self.rough, self.gain_spread = spread * amount, gain_spread * variation.smooth
        self.variation = variation
        if variation.mixing:
            self.same_m, self.reach_m = self._reach_m()

    def state(self) -> dict[str, Any]:
        """Where the draws are, for :meth:`restore`."""
        return {"generator": self.generator.get_state(), "seconds_making": self.seconds_making}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on drawing where :meth:`state` was taken."""
        self.generator.set_state(state["generator"].cpu())
        self.seconds_making = state.get("seconds_making", 0.0)  # states of older versions have none

    def reseed(self, seed: int) -> None:
        """Draw from now on as a new sampler of this seed does."""
        self.generator.manual_seed(seed)

    def at(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Samples as they were measured.

        Returns:
            Features ``[B, L, F]``, gains ``[B, L]``, dB, which links were heard ``[B, L]``, positions
            ``[B, 3]``, m from the origin.
        """
        return self.features[rows], self.gain[rows], self.heard[rows], self.position[rows]

    def draw(self, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A random batch, varied; see :meth:`at`."""
        started = time.perf_counter()
        rows = torch.randint(len(self), (size,), generator=self.generator, device=self.device)
        features, gain, heard, position = self.at(rows)
        if self.variation.mixing:
            features, gain, heard, position = self._mixed(features, gain, heard, position)
        if self.variation is not NONE:
            features = features + self.rough * self._normal(*features.shape)
            gain = gain + self.gain_spread * self._normal(*gain.shape)
        if self.bs_dropout:
            kept = heard & (self._uniform(*heard.shape) >= self.bs_dropout)
            heard = torch.where(kept.any(dim=1, keepdim=True), kept, heard)
        self.seconds_making += time.perf_counter() - started
        return features, gain, heard, position

    def _mixed(
        self, features: Tensor, gain: Tensor, heard: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Each sample moved towards another of the batch; rough features are those of one or the other."""
        size, num_bs = gain.shape
        distance = torch.cdist(position, position)
        weight = torch.exp(-0.5 * (distance / self.reach_m) ** 2) * (distance > self.same_m) + 1e-12
        other = torch.multinomial(weight, 1, generator=self.generator)[:, 0]
        share = self._uniform(size, 1) * (self._uniform(size, 1) < MIXED_SHARE)
        share = share * (weight.gather(1, other[:, None]) > 1e-6)
        theirs = self._uniform(size, num_bs) < share
        both = heard & heard[other]
        weighed = torch.where(both, share, theirs.float())  # of a link that one heard alone, all or nothing
        gain = gain + weighed * (gain[other] - gain)
        smooth = self.link_shape.smooth
        blended = features[..., :smooth] + weighed[..., None] * (
            features[other][..., :smooth] - features[..., :smooth]
        )
        rough = torch.where(theirs[..., None], features[other][..., smooth:], features[..., smooth:])
        heard = torch.where(theirs, heard[other], heard)
        position = position + share * (position[other] - position)
        return torch.cat([blended, rough], -1), gain, heard, position

    def _reach_m(self) -> tuple[float, float]:
        """How far apart samples of different places are at least, and about how far next places are, m."""
        position = self.position.cpu().numpy()
        cells = np.unique(np.round(position / SAME_PLACE_M), axis=0)
        places = cells * SAME_PLACE_M
        within_m = told_apart(position.astype(np.float64), len(cells)).within_m
        if within_m > 0:
            _, first = np.unique(linked(position.astype(np.float64), within_m), return_index=True)
            places = position[first]
        same_m = max(SAME_PLACE_M, within_m)
        if len(places) < 2:
            return same_m, 1.0
        step = max(1, len(places) // MEASURED_ON)
        distance = np.linalg.norm(places[::step, None] - places[None], axis=2)
        nearest = np.sort(distance, axis=1)[:, min(NEIGHBOURS, len(places) - 1)]
        return same_m, float(np.median(nearest))

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device)
