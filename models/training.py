"""Training, resumable at any step: stage I of Algorithm 1 at the base stations, stage II of Algorithm 2 end to end."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.network import (
    CENTRE_M,
    SCALE_M,
    Shape,
    build_autoencoder,
    build_network,
    position_loss,
    reconstruction_loss,
)
from models.path_table import PathTable
from models.preprocessing import encoder_input
from models.quantiser import calibrate_steps, straight_through
from models.sampler import Impairments, Sampler
from models.synthesis import Radio, world_from_array


class ConfigError(ValueError):
    """A training configuration that cannot be used: one clear line."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast; all lengths in samples.

    The learning rate rises over ``warmup``, stays, and falls to zero over the last ``decay`` of ``samples``: a run
    can be carried on from any step with a later end.
    """

    samples: int
    batch: int = 256
    rate: float = 1e-3
    warmup: int = 20_000
    decay: int = 0
    weight_decay: float = 0.01
    clip: float = 1.0

    def factor(self, done: int) -> float:
        """Share of the full learning rate after ``done`` samples."""
        rise = min(1.0, (done + self.batch) / max(self.warmup, 1))
        left = max(self.samples - done, 0) / max(self.decay, 1)
        return rise * min(1.0, left) if self.decay else rise


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides what comes out of a training.

    Attributes:
        name: Also the name of the folders written.
        about: What it reaches, in how long, on what: measured, not hoped.
        shape: Of the networks.
        phase_reference: See :mod:`models.preprocessing`.
        bits: Q of the quantiser.
        quantise_from: Samples after which the quantiser is in the loop (its step is calibrated then).
        bs_dropout: Probability that a base station is missing from a sample.
        loss: ``norm`` weighs distances, ``squared`` squared distances, by (34).
        local, joint: Schedules of the stages; without ``local`` training is joint from scratch.
        freeze_encoder: Stage II leaves the encoders as stage I made them.
        training_impairments, test_impairments: What is drawn anew for every sample.
        seed: Of weights, samples and masks.
        bfloat16: Mixed precision in the matrix products.
    """

    name: str
    joint: Schedule
    about: str = ""
    shape: Shape = field(default_factory=Shape)
    phase_reference: str = "delay"
    bits: int = 10
    quantise_from: int = 0
    bs_dropout: float = 0.05
    loss: str = "norm"
    local: Schedule | None = None
    freeze_encoder: bool = False
    training_impairments: Impairments = field(default_factory=Impairments)
    test_impairments: Impairments = field(
        default_factory=lambda: Impairments(displacement_m=0.0, speed_mps=3.0)
    )
    seed: int = 1
    bfloat16: bool = True


def read_config(path: Path, overrides: dict[str, Any] | None = None) -> TrainingConfig:
    """Read a training configuration (YAML); unknown keys are refused.

    Raises:
        ConfigError: The file is missing, not YAML, or has a key that means nothing.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        mapping = YAML(typ="safe", pure=True).load(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    if not isinstance(mapping, dict):
        raise ConfigError(f"{path}: a mapping is expected")
    mapping = mapping | (overrides or {})
    config: TrainingConfig = _build(TrainingConfig, mapping, str(path))
    return config


_NESTED: dict[str, type] = {
    "joint": Schedule, "local": Schedule, "shape": Shape,
    "training_impairments": Impairments, "test_impairments": Impairments,
}  # fmt: skip


def _build(kind: Any, mapping: dict[str, Any], where: str) -> Any:
    known = {f.name for f in fields(kind)}
    for key in mapping:
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{key}'; one of {', '.join(sorted(known))}")
    values = {
        key: _build(_NESTED[key], value, f"{where}: {key}")
        if key in _NESTED and isinstance(value, dict)
        else value
        for key, value in mapping.items()
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error


def as_mapping(config: Any) -> Any:
    """A configuration as plain mappings, as a checkpoint keeps it."""
    if is_dataclass(config) and not isinstance(config, type):
        return {f.name: as_mapping(getattr(config, f.name)) for f in fields(config)}
    return config


@dataclass
class Site:
    """Where the base stations of a training are: positions ``[L, 3]`` and common boresight ``[3]``, m; their names."""

    bs_ids: tuple[str, ...]
    position_m: Any
    boresight_m: Any
    radio: Radio


class Trainer:
    """One training run: networks, optimiser, samples, and the file that holds its state.

    Args:
        config: What to do.
        site: Base stations and radio.
        training, validation: Path tables.
        checkpoint: Where the state is kept; if it exists, the run goes on from there.
        device: ``cpu`` or ``cuda``.
        report: Gets one line of progress now and then.
    """

    def __init__(
        self,
        config: TrainingConfig,
        site: Site,
        training: PathTable,
        validation: PathTable,
        checkpoint: Path,
        device: str = "cpu",
        report: Callable[[str], None] = print,
    ) -> None:
        self.config, self.site, self.device, self.report = config, site, device, report
        self.checkpoint = checkpoint
        torch.manual_seed(config.seed)
        self.encoder, self.fusion = build_network(config.shape, config.phase_reference)
        axes = np.stack([world_from_array(s, site.boresight_m) for s in site.position_m])
        self.centre = torch.tensor(CENTRE_M, device=device)
        self.fusion.place_sites(
            torch.tensor(np.asarray(site.position_m), dtype=torch.float32),
            torch.tensor(axes, dtype=torch.float32),
        )
        self.networks = nn.ModuleDict({"encoder": self.encoder, "fusion": self.fusion}).to(device)
        self.steps = torch.full((config.shape.num_bs,), 8.0 / 2**config.bits, device=device)
        self.samples = Sampler(
            training,
            site.position_m,
            site.boresight_m,
            site.radio,
            config.training_impairments,
            config.seed + 1,
            device,
        )
        self.held_out = Sampler(
            validation,
            site.position_m,
            site.boresight_m,
            site.radio,
            config.test_impairments,
            config.seed + 2,
            device,
        )
        self.masks = torch.Generator(device).manual_seed(config.seed + 3)
        self.stage, self.done, self.seconds = ("local" if config.local else "joint"), 0, 0.0
        self.calibrated = False
        self.skipped = 0
        """Steps left out because a gradient was not finite."""
        self.history: list[dict[str, Any]] = []
        self.decoder: nn.Module | None = (
            build_autoencoder(config.shape, config.phase_reference).to(device) if config.local else None
        )
        self.optimiser = self._optimiser()
        if checkpoint.is_file():
            self._restore()

    def _optimiser(self) -> torch.optim.Optimizer:
        schedule = self._schedule()
        if self.stage == "local":
            assert self.decoder is not None
            parameters: Iterator[nn.Parameter] = iter(
                [*self.encoder.parameters(), *self.decoder.parameters()]
            )
        elif self.config.freeze_encoder:
            parameters = self.fusion.parameters()
        else:
            parameters = self.networks.parameters()
        return torch.optim.AdamW(
            parameters, lr=schedule.rate, weight_decay=schedule.weight_decay, betas=(0.9, 0.98), fused=True
        )

    def _schedule(self) -> Schedule:
        if self.stage == "local":
            assert self.config.local is not None
            return self.config.local
        return self.config.joint

    def train(self, minutes: float = math.inf, every_s: float = 60.0) -> None:
        """Train until the schedule ends or the time is up; state is kept every ``every_s`` and at the end."""
        started = said = time.monotonic()
        before, made_before = self.seconds, self.samples.seconds_making
        began_at = self.done
        while True:
            now = time.monotonic()
            self.seconds = before + now - started
            ended = self.done >= self._schedule().samples
            out_of_time = now - started > minutes * 60
            if now - said > every_s or ended or out_of_time:
                said = now
                making = (self.samples.seconds_making - made_before) / max(now - started, 1e-9)
                self._say(self.done - began_at, now - started, making)
                self.keep()
            if out_of_time or (ended and self.stage == "joint"):
                return
            if ended:
                self._begin_joint()
                before, started, began_at = self.seconds, time.monotonic(), 0
                continue
            self.step()

    def _begin_joint(self) -> None:
        self.stage, self.done = "joint", 0
        self.decoder = None
        self.optimiser = self._optimiser()

    def step(self) -> float:
        """One step of the optimiser; returns the loss."""
        schedule = self._schedule()
        for group in self.optimiser.param_groups:
            group["lr"] = schedule.rate * schedule.factor(self.done)
        if self.stage == "joint" and not self.calibrated and self.done >= self.config.quantise_from > 0:
            self.calibrate()
        with torch.no_grad():
            csi, position = self.samples.draw(schedule.batch)
            features, side, gain = encoder_input(
                csi, 1.0, self.config.phase_reference, self.config.shape.slot_modes
            )
        loss = (
            self._local_loss(features, side)
            if self.stage == "local"
            else self._joint_loss(features, side, gain, position)
        )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(
            (p for group in self.optimiser.param_groups for p in group["params"]), schedule.clip
        )
        if torch.isfinite(norm):
            self.optimiser.step()
        else:
            self.skipped += 1
        self.done += schedule.batch
        return float(loss.detach())

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.config.bfloat16)

    def _local_loss(self, features: Tensor, side: Tensor) -> Tensor:
        assert self.decoder is not None
        with self._autocast():
            rebuilt = self.decoder(self.encoder(features, side))
        return reconstruction_loss(features, rebuilt.float()).mean()

    def _joint_loss(self, features: Tensor, side: Tensor, gain: Tensor, position: Tensor) -> Tensor:
        present = self._present(gain)
        with self._autocast():
            latent = self.encoder(features, side)
        latent = self.quantised(latent.float())
        with self._autocast():
            out = self.fusion(latent, gain.clamp(min=self.config.shape.gain_floor_db), present)
        out = {name: value.float() for name, value in out.items()}
        return position_loss(out, (position - self.centre) / SCALE_M, present, self.config.loss)

    def quantised(self, latent: Tensor) -> Tensor:
        """Latents through the quantiser (19) with the straight-through gradient (35), once it is calibrated."""
        if not self.calibrated:
            return latent
        quantised: Tensor = straight_through(latent, self.config.bits, self.steps[:, None, None])
        return quantised

    def _present(self, gain: Tensor) -> Tensor:
        drawn = torch.rand(gain.shape, generator=self.masks, device=self.device) >= self.config.bs_dropout
        nobody = ~drawn.any(dim=1, keepdim=True)
        return drawn | nobody

    @torch.no_grad()
    def latents(self, count: int = 2048) -> Tensor:
        """Continuous latents of fresh training samples, ``[count, L, N, d_z]``."""
        parts = []
        for _ in range(0, count, 256):
            csi, _ = self.samples.draw(256)
            features, side, _ = encoder_input(
                csi, 1.0, self.config.phase_reference, self.config.shape.slot_modes
            )
            parts.append(self.encoder(features, side).float())
        return torch.cat(parts)[:count]

    def calibrate(self) -> None:
        """Set each base station's quantiser step: least squared error on training latents."""
        latents = self.latents().flatten(2).cpu().numpy()
        self.steps = torch.tensor(
            calibrate_steps(latents, self.config.bits), dtype=torch.float32, device=self.device
        )
        self.calibrated = True

    @torch.no_grad()
    def predict(
        self, sampler: Sampler, seed: int, missing: tuple[int, ...] = ()
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Estimates for every row of a sampler, in order, m: truth, position, covariance factor input and gains."""
        sampler.generator.manual_seed(seed)
        self.networks.eval()
        columns: dict[str, list[Tensor]] = {"truth": [], "position": [], "covariance": [], "gain_db": []}
        for start in range(0, len(sampler), 250):
            csi, truth = sampler.at(torch.arange(start, min(start + 250, len(sampler)), device=self.device))
            features, side, gain = encoder_input(
                csi, 1.0, self.config.phase_reference, self.config.shape.slot_modes
            )
            present = torch.ones_like(gain, dtype=torch.bool)
            present[:, list(missing)] = False
            latent = self.quantised(self.encoder(features, side).float())
            position, covariance = self.fusion.estimate(
                latent, gain.clamp(min=self.config.shape.gain_floor_db), present
            )
            for name, value in zip(columns, (truth, position, covariance, gain), strict=True):
                columns[name].append(value.cpu())
        self.networks.train()
        return {name: torch.cat(values).double().numpy() for name, values in columns.items()}

    def validate(self) -> dict[str, float]:
        """Errors on the validation points, m."""
        if self.stage == "local":
            return {}
        found = self.predict(self.held_out, self.config.seed + 2)
        error = np.linalg.norm(found["position"] - found["truth"], axis=1)
        served = (found["gain_db"] >= 0).sum(axis=1) >= 3
        return {
            "all_mean_m": float(error.mean()),
            "served_mean_m": float(error[served].mean()),
            "served_median_m": float(np.median(error[served])),
            "served_e90_m": float(np.quantile(error[served], 0.9)),
        }

    def _say(self, since: int, seconds: float, making: float) -> None:
        schedule = self._schedule()
        speed = since / max(seconds, 1e-9)
        left = (schedule.samples - self.done) / max(speed, 1e-9)
        figures = self.validate()
        self.history.append(
            {"stage": self.stage, "samples": self.done, "seconds": round(self.seconds, 1), **figures}
        )
        shown = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
        self.report(
            f"{self.config.name} {self.stage}: {self.done} of {schedule.samples} samples, {speed:.0f}/s "
            f"({making:.0%} of the time making them), {left:.0f} s to go; {shown}"
        )

    def keep(self) -> None:
        """Write the state; the file appears whole or not at all."""
        state = {
            "config": json.dumps(as_mapping(self.config)),
            "stage": self.stage,
            "done": self.done,
            "seconds": self.seconds,
            "networks": self.networks.state_dict(),
            "decoder": self.decoder.state_dict() if self.decoder else None,
            "optimiser": self.optimiser.state_dict(),
            "steps": self.steps,
            "calibrated": self.calibrated,
            "generators": [self.samples.generator.get_state(), self.masks.get_state()],
            "history": self.history,
        }
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _restore(self) -> None:
        try:
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            if state["stage"] != self.stage:
                self._begin_joint()
            self.networks.load_state_dict(state["networks"])
            if self.decoder is not None and state["decoder"] is not None:
                self.decoder.load_state_dict(state["decoder"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, KeyError, ValueError, EOFError, OSError) as error:
            raise ConfigError(
                f"{self.checkpoint}: damaged, or of another configuration ({str(error).splitlines()[0]})"
            ) from error
        self.done, self.seconds, self.history = state["done"], state["seconds"], state["history"]
        self.steps, self.calibrated = state["steps"], state["calibrated"]
        for generator, kept in zip((self.samples.generator, self.masks), state["generators"], strict=True):
            generator.set_state(kept.cpu())
