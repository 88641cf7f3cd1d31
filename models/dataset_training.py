"""Training on a data set: what suits its size is found by itself, judged on groups that are held out."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.config import Schedule
from models.dataset import SAME_PLACE_M, Dataset, DatasetError, Split
from models.dataset_network import LinkEncoder, PlaceFusion, PlaceNetwork
from models.dataset_regression import BlendedFusion, best_share, fitted
from models.dataset_runtime import calibrated
from models.dataset_sampler import DatasetSampler, Variation
from models.gaussian import lower
from models.losses import robust_nll
from models.quantiser import calibrate_steps, dequantise, quantise
from models.training_state import keep_state, take_state

STRONG, MEDIUM, LIGHT = (
    Variation("strong", 2.0, 0.3), Variation("medium", 0.7, 0.2), Variation("light", 0.15, 0.05, mixing=False)
)  # fmt: skip
SMALL, LARGE = 200, 2_000
"""Groups up to which a set is small, and from which it is large."""
CALIBRATED_ON = 2_048
LOOKS = 25
"""Looks at the validation groups in one trial."""
PATIENCE = 10
"""Looks without progress after which a trial ends."""
AVERAGED = 0.98
"""Of the running average of the weights, which is what is judged and exported."""
BATCH_JUDGED = 1_000
ORIGIN_STEP_M = 100.0
"""Networks work with positions from an origin near the training places, in whole multiples of this."""


@dataclass(frozen=True)
class DatasetConfig:
    """How a network for a data set is trained.

    Attributes:
        schedule: Of one trial.
        trials: Variations to try; the best on the validation groups is kept.
        width, depth: Of the encoders.
        latent: D, numbers in one message.
        fusion: Width of the central unit.
        bits: Q of the quantiser.
        bs_dropout: Share of links that a training sample misses.
        seed: Of weights and samples.
    """

    schedule: Schedule
    trials: tuple[Variation, ...]
    width: int = 64
    depth: int = 1
    latent: int = 16
    fusion: int = 128
    bits: int = 10
    bs_dropout: float = 0.1
    seed: int = 1


def suited_config(dataset: Dataset, split: Split, epochs: int | None = None, seed: int = 1) -> DatasetConfig:
    """What suits a set of this size.

    Args:
        dataset: The set.
        split: Its groups.
        epochs: How often a trial sees every training sample; None: as often as suits.
        seed: Of weights and samples.
    """
    groups, count = len(split.training), len(split.rows(dataset, "training"))
    batch = 128 if groups <= LARGE else 256
    samples = max(500 * batch, 40 * count) if epochs is None else epochs * count
    samples = batch * math.ceil(samples / batch)
    schedule = Schedule(
        samples=samples, batch=batch, rate=2e-3, warmup=samples // 20, decay=samples * 6 // 10,
        weight_decay=0.01,
    )  # fmt: skip
    small = DatasetConfig(schedule, (STRONG, MEDIUM, LIGHT), seed=seed)
    if groups <= SMALL:
        return small
    if groups <= LARGE:
        return replace(small, trials=(MEDIUM, LIGHT), width=128, depth=2, latent=32, fusion=256)
    return replace(small, trials=(LIGHT,), width=256, depth=2, latent=64, fusion=512, bs_dropout=0.05)


class DatasetTrainer:
    """One training: trial after trial, the best network of all, and the file that holds the state.

    Args:
        config: How to train.
        dataset: The set.
        split: Which groups are for what; test groups are never touched.
        checkpoint: Where the state is kept; if it exists, the training goes on from there.
        device: ``cpu`` or ``cuda``.
        report: Gets lines of progress.

    Raises:
        DatasetError: The checkpoint is damaged, or of another set or network.
    """

    def __init__(
        self, config: DatasetConfig, dataset: Dataset, split: Split, checkpoint: Path, device: str = "cpu",
        report: Callable[[str], object] = print,
    ) -> None:  # fmt: skip
        self.config, self.dataset, self.split, self.device = config, dataset, split, device
        self.checkpoint, self.report = checkpoint, report
        rows = split.rows(dataset, "training")
        self.groups = split.grouping.labels(dataset)[rows]
        self.origin_m = np.round(dataset.position_m[rows].mean(axis=0) / ORIGIN_STEP_M) * ORIGIN_STEP_M + 0.0
        self.samples = DatasetSampler(
            dataset, rows, config.seed + 1, config.bs_dropout, device, self.origin_m
        )
        self.held_out = DatasetSampler(
            dataset, split.rows(dataset, "validation"), config.seed, 0.0, device, self.origin_m
        )
        self.held_out.heard &= self.samples.heard.any(0)
        self.trial, self.done, self.seconds, self.seen, self.looked = 0, 0, 0.0, 0, 0
        self.best: dict[str, Any] = {"mean_m": math.inf, "trial": -1, "networks": None, "look": 0}
        self.trial_best_m, self.since_best = math.inf, 0
        self.history: list[dict[str, Any]] = []
        self._begin()
        if checkpoint.is_file():
            self._restore()

    def _begin(self) -> None:
        """Fresh networks, and the variation of the trial."""
        config, shape = self.config, self.samples.link_shape
        torch.manual_seed(config.seed)
        sites = self.dataset.num_bs
        self.networks = PlaceNetwork(
            LinkEncoder(sites, shape.features, config.width, config.depth, config.latent),
            PlaceFusion(sites, config.latent, config.fusion),
        ).to(self.device)
        self.encoder, self.fusion = self.networks.encoder, self.networks.fusion
        self._standardise()
        self.samples.vary(config.trials[self.trial], self.encoder.spread, self.fusion.gain_spread)
        self.averaged = copy.deepcopy(self.networks).requires_grad_(False)
        schedule = config.schedule
        self.optimiser = torch.optim.AdamW(
            self.networks.parameters(), lr=schedule.rate, weight_decay=schedule.weight_decay,
            betas=(0.9, 0.98),
        )  # fmt: skip
        self.done, self.trial_best_m, self.since_best = 0, math.inf, 0

    @torch.no_grad()
    def _standardise(self) -> None:
        """Means and spreads of features and gains over the heard links; centre and extent of the places."""
        samples = self.samples
        heard = samples.heard[..., None].float()
        count = heard.sum(0).clamp(min=1)
        mean = (samples.features * heard).sum(0) / count
        square = ((samples.features - mean).square() * heard).sum(0) / count
        self.encoder.mean.copy_(mean)
        self.encoder.spread.copy_(square.sqrt().clamp(min=0.05))
        gain = (samples.gain * samples.heard).sum(0) / count[:, 0]
        spread = (((samples.gain - gain).square() * samples.heard).sum(0) / count[:, 0]).sqrt()
        self.fusion.gain_mean.copy_(gain)
        self.fusion.gain_spread.copy_(spread.clamp(min=1.0))
        centre = samples.position.mean(0)
        scale = (samples.position - centre).square().sum(1).mean().sqrt().clamp(min=0.01) / 2
        self.fusion.centre_m.copy_(centre)
        self.fusion.scale_m.copy_(scale)
        self.fusion.free.copy_(samples.position.std(0, correction=0) > SAME_PLACE_M)
        self.fusion.site.copy_((self._sites() - centre) / scale)

    def _sites(self) -> Tensor:
        """Base stations, or about where each is loudest, ``[L, 3]``, m from the origin."""
        if self.dataset.bs_position_m is not None:
            sites = self.dataset.bs_position_m - self.origin_m
            return torch.tensor(sites, dtype=torch.float32, device=self.device)
        samples = self.samples
        level = self.fusion.levels(samples.gain).masked_fill(~samples.heard, -1e4)
        return torch.softmax(1.5 * level, 0).T @ samples.position

    @property
    def num_parameters(self) -> int:
        """Numbers that are trained."""
        return sum(parameter.numel() for parameter in self.networks.parameters())

    @property
    def ended(self) -> bool:
        """Whether all trials are over."""
        return self.trial >= len(self.config.trials)

    def train(self, minutes: float = math.inf, every_s: float = 60.0) -> None:
        """Train until all trials are over or the time is up; state is kept now and then and at the end."""
        started = kept = time.monotonic()
        before = self.seconds
        every = max(self.config.schedule.batch, self.config.schedule.samples // LOOKS)
        try:
            while not self.ended:
                self.step()
                now = time.monotonic()
                self.seconds = before + now - started
                out_of_time = now - started > minutes * 60
                trial_ends = self.done >= self.config.schedule.samples
                if out_of_time or trial_ends or self.done // every > self.looked:
                    self.looked = self.done // every
                    trial_ends |= not self._look()
                if trial_ends and not out_of_time:
                    self._end_trial()
                if now - kept > every_s:
                    kept = now
                    self.keep()
                if out_of_time:
                    break
        finally:
            self.keep()

    def step(self) -> float:
        """One step of the optimiser; returns the loss."""
        schedule = self.config.schedule
        for group in self.optimiser.param_groups:
            group["lr"] = schedule.rate * schedule.factor(self.done)
        features, gain, heard, position = self.samples.draw(schedule.batch)
        fusion = self.fusion
        latent = self.encoder.encode(self.encoder.standardise(features))
        found, spread = fusion(latent, fusion.levels(gain), heard.float())
        error = found - (position - fusion.centre_m) / fusion.scale_m
        distance = torch.sqrt(error.square().sum(1) + 1e-6).mean()
        loss = distance + 0.05 * robust_nll(error.detach(), lower(spread)).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.networks.parameters(), schedule.clip)
        self.optimiser.step()
        self.done += schedule.batch
        self.seen += schedule.batch
        share = min(AVERAGED, self.done / schedule.batch / (10 + self.done / schedule.batch))
        with torch.no_grad():
            for mean, weight in zip(self.averaged.parameters(), self.networks.parameters(), strict=True):
                mean.lerp_(weight, 1 - share)
        return float(loss.detach())

    @torch.no_grad()
    def predict(self, sampler: DatasetSampler, networks: PlaceNetwork | None = None) -> dict[str, Any]:
        """``position``, ``covariance`` (not yet calibrated) and ``truth`` of all samples, in order.

        Positions are in m from the origin.
        """
        networks = self.averaged if networks is None else networks
        parts = []
        for start in range(0, len(sampler), BATCH_JUDGED):
            rows = torch.arange(start, min(start + BATCH_JUDGED, len(sampler)), device=self.device)
            features, gain, heard, truth = sampler.at(rows)
            position, covariance = networks.fusion.estimate(networks.encoder(features), gain, heard.float())
            parts.append((truth, position, covariance))
        names = ("truth", "position", "covariance")
        columns = zip(*parts, strict=True)
        return {
            name: torch.cat(column).double().cpu().numpy()
            for name, column in zip(names, columns, strict=True)
        }

    def _look(self) -> bool:
        """Look at the validation groups, and keep the best network; returns whether to go on."""
        found = self.predict(self.held_out)
        mean_m = float(np.linalg.norm(found["position"] - found["truth"], axis=1).mean())
        variation = self.config.trials[self.trial].name
        self.history.append(
            {"trial": variation, "samples": self.done, "seconds": round(self.seconds, 1), "mean_m": mean_m}
        )
        if mean_m < self.trial_best_m:
            self.trial_best_m, self.since_best = mean_m, 0
        else:
            self.since_best += 1
        if mean_m < self.best["mean_m"]:
            self.best = {
                "mean_m": mean_m,
                "trial": self.trial,
                "samples": self.done,
                "networks": copy.deepcopy(self.averaged.state_dict()),
            }
        return self.since_best < PATIENCE

    def _end_trial(self) -> None:
        trials = self.config.trials
        making = self.samples.seconds_making / max(self.seconds, 1e-9)
        self.report(
            f"trial {self.trial + 1} of {len(trials)}, variation {trials[self.trial].name}: "
            f"{self.done} samples, best mean on validation groups {self.trial_best_m:.2f} m "
            f"({self.seconds:.0f} s in all, {making:.0%} of the time making samples)"
        )
        self.trial += 1
        self.looked = 0
        if not self.ended:
            self._begin()

    def best_networks(self) -> PlaceNetwork:
        """The best network of all trials; the present one, if none was judged yet."""
        networks = copy.deepcopy(self.averaged)
        if self.best["networks"] is not None:
            networks.load_state_dict(self.best["networks"])
        return networks.eval()

    def blended(self, networks: PlaceNetwork) -> BlendedFusion:
        """The central unit of a network, beside a regression on gains, in shares chosen by validation."""
        samples, held_out = self.samples, self.held_out
        gains, left = fitted(samples.gain, samples.heard, samples.position, self.groups)
        found = self.predict(held_out, networks)
        with torch.no_grad():
            by_gains = gains(held_out.gain, held_out.heard.float()).double().cpu().numpy()
        share = best_share(found["position"], by_gains, found["truth"])
        self.report(
            f"regression on gains: {left.mean_m:.2f} m on training groups left out in turn; "
            f"the network's share is {share:.0%}"
        )
        return BlendedFusion(networks.fusion, gains, share).eval()

    @torch.no_grad()
    def quantiser_steps(self, networks: PlaceNetwork) -> list[float]:
        """Step of each base station: least squared error on training latents of links that were heard."""
        count = min(len(self.samples), CALIBRATED_ON)
        rows = torch.linspace(0, len(self.samples) - 1, count, device=self.device).long()
        features, _, heard, _ = self.samples.at(rows)
        latent = networks.encoder(features).cpu().numpy()
        there = heard.cpu().numpy()
        steps = []
        for bs in range(self.dataset.num_bs):
            own = latent[there[:, bs], bs]
            own = own if len(own) else latent[:, bs]
            steps.append(float(calibrate_steps(own[:, None], self.config.bits)[0]))
        return steps

    @torch.no_grad()
    def covariance_scale(
        self, encoder: LinkEncoder, fusion: BlendedFusion, steps: list[float]
    ) -> list[float]:
        """Factors of the axes' standard deviations that make covariances honest on the validation groups.

        They are widened a little, since few groups know little about the spread, and chose the network.
        """
        sampler, size = self.held_out, np.asarray(steps)[:, None]
        features, gain, heard, truth = sampler.at(torch.arange(len(sampler), device=self.device))
        latent = encoder(features).cpu().numpy()
        arrived = dequantise(quantise(latent, self.config.bits, size), self.config.bits, size)
        position, covariance = fusion.estimate(
            torch.tensor(arrived, dtype=torch.float32, device=self.device), gain, heard.float()
        )
        error = (position - truth).double().cpu().numpy()
        matrix = covariance.double().cpu().numpy()
        variance = np.diagonal(matrix, axis1=1, axis2=2)
        axes = np.sqrt((error**2 / variance).mean(axis=0)) + 1e-6
        claimed = np.linalg.inv(calibrated(matrix, axes))
        squared = np.einsum("ni,nij,nj->n", error, claimed, error).mean() / float(self.fusion.free.sum())
        groups = len(self.split.validation)
        squared *= (groups + 2) / max(groups - 2, 1)
        return [float(axis) for axis in axes * np.sqrt(max(squared, 1e-6))]

    def keep(self) -> None:
        """Write the state."""
        state = {
            "dataset": self.dataset.digest,
            "trained_on": self.trained_on(),
            "config": json.dumps(asdict(self.config)),
            "split": json.dumps(asdict(self.split)),
            "origin_m": self.origin_m.tolist(),
            "trial": self.trial,
            "done": self.done,
            "seen": self.seen,
            "looked": self.looked,
            "seconds": self.seconds,
            "networks": self.networks.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "samples": self.samples.state(),
            "best": self.best,
            "trial_best_m": self.trial_best_m,
            "since_best": self.since_best,
            "history": self.history,
        }
        keep_state(state, self.checkpoint)

    def trained_on(self) -> dict[str, Any]:
        """What this network was trained on, and for how long."""
        return {
            "file": Path(self.dataset.name).name,
            "digest": self.dataset.digest,
            "samples": len(self.samples),
            "groups": len(self.split.training),
            "validation_groups": len(self.split.validation),
            "samples_drawn": self.seen,
            "seconds": round(self.seconds, 1),
            "device": self.device,
        }

    def _restore(self) -> None:
        take_state(self.checkpoint, self.device, self._take, DatasetError)

    def _take(self, state: dict[str, Any]) -> None:
        kept = {"origin_m": [0.0, 0.0, 0.0]} | state  # states of older versions have none
        split = json.loads(kept["split"])
        split["grouping"].setdefault("within_m", 0.0)
        kept["split"] = json.dumps(split)
        for name, wanted in (
            ("dataset", self.dataset.digest),
            ("split", json.dumps(asdict(self.split))),
            ("config", json.dumps(asdict(self.config))),
            ("origin_m", self.origin_m.tolist()),
        ):
            if kept[name] != wanted:
                raise DatasetError(f"{self.checkpoint}: made with another {name}; leave out --resume")
        self.trial, self.looked = state["trial"], state["looked"]
        if not self.ended:
            self._begin()
            self.networks.load_state_dict(state["networks"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimiser.load_state_dict(state["optimiser"])
        self.done, self.seen, self.seconds = state["done"], state["seen"], state["seconds"]
        self.best, self.history = state["best"], state["history"]
        self.trial_best_m, self.since_best = state["trial_best_m"], state["since_best"]
        self.samples.restore(state["samples"])
