"""Training, resumable at any step: stage I per base station (Algorithm 1), stage II of all (Algorithm 2)."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from models.build import build_decoder, build_network
from models.config import ConfigError, Schedule, TrainingConfig
from models.layers import CENTRE_M, SCALE_M, Placed
from models.losses import position_loss, reconstruction_loss
from models.parallel import ALONE, Ranks
from models.path_table import PathTable
from models.quantiser import calibrate_steps, rescale_step, straight_through
from models.sampler import Sampler
from models.synthesis import Radio, world_from_array
from models.systems.encoders import sent_fix
from models.systems.front import EMBEDDING, FIX, kept_subcarriers, system_input
from models.training_state import keep_state, take_state

if TYPE_CHECKING:
    from models.imported import Weights

CALIBRATED_ON = 2048
"""Samples whose latents the quantiser's steps are calibrated on."""
BETAS = (0.9, 0.98)
SERVED_DB = 3.01
"""Measured gain of a link with 0 dB SNR: signal and noise add up."""
SERVED_BY = 3
RANK_STRIDE = 1_000_003
"""Between the seeds of processes that train together."""
HARD_SITES = 3
"""A point that sees no more sites than this is hard."""


@dataclass
class Site:
    """Where the base stations of a training stand.

    Attributes:
        bs_ids: Their names.
        position_m: ``[L, 3]``, m.
        boresight_m: The point that all arrays look at, ``[3]``, m.
        radio: The air interface.
        world: Key of the traced world; empty: none that has one.
    """

    bs_ids: tuple[str, ...]
    position_m: Any
    boresight_m: Any
    radio: Radio
    world: str = ""


class Trainer:
    """One training run: networks, optimiser, samples, and the file that holds its state.

    Args:
        config: What to do.
        site: Base stations and radio.
        training: Path table of the points to train on.
        validation: Path table of the points to validate on.
        checkpoint: Where the state is kept; if it exists, the run goes on from there.
        device: ``cpu`` or ``cuda``.
        report: Gets one line of progress now and then.
        ranks: This process among those that train together.
        fresh: Begin anew even if there is a checkpoint: it is not looked at.

    Raises:
        ConfigError: The checkpoint is damaged or of another network, or the radio does not fit the shape.
    """

    def __init__(
        self,
        config: TrainingConfig,
        site: Site,
        training: PathTable,
        validation: PathTable,
        checkpoint: Path,
        device: str = "cpu",
        report: Callable[[str], object] = print,
        ranks: Ranks = ALONE,
        *,
        fresh: bool = False,
    ) -> None:
        self.config, self.site, self.device, self.report = config, site, device, report
        self.ranks = ranks
        own = RANK_STRIDE * ranks.rank
        self.checkpoint = checkpoint
        _check_shape(config, site)
        self.subcarriers = _kept(config, site)
        """Those of the radio's that the network sees; None: all."""
        torch.manual_seed(config.seed)
        self.encoder, self.fusion = build_network(config.shape, config.phase_reference)
        axes = np.stack([world_from_array(s, site.boresight_m) for s in site.position_m])
        self.centre = torch.tensor(CENTRE_M, device=device)
        for placed in (self.encoder, self.fusion):
            if isinstance(placed, Placed):
                placed.place_sites(
                    torch.tensor(np.asarray(site.position_m), dtype=torch.float32),
                    torch.tensor(axes, dtype=torch.float32),
                )
        self.networks = nn.ModuleDict({"encoder": self.encoder, "fusion": self.fusion}).to(device)
        self.steps = torch.full((config.shape.num_bs,), 8.0 / 2**config.bits, device=device)
        places = (site.position_m, site.boresight_m, site.radio)
        self.samples = Sampler(
            training,
            *places,
            config.training_impairments,
            config.seed + 1 + own,
            device,
            subcarriers=self.subcarriers,
        )
        if config.hard_share:
            self.samples.favour(hard_points(training, site.radio), config.hard_share)
        self.held_out = Sampler(
            validation,
            *places,
            config.test_impairments,
            config.seed + 2,
            device,
            noise_pool=0,
            subcarriers=self.subcarriers,
        )
        self.masks = torch.Generator(device).manual_seed(config.seed + 3 + own)
        self.stage, self.done, self.seconds = ("local" if config.local else "joint"), 0, 0.0
        self.calibrated = False
        self.skipped = 0
        """Steps left out because a gradient was not finite."""
        self.history: list[dict[str, Any]] = []
        self.trunk: dict[str, Any] | None = None
        """The ``config`` of the training that this one branched off, and the ``trunk`` of that, if any."""
        self.begun_with: dict[str, Any] | None = None
        """The model whose weights this training began with: its name, digest, and samples trained."""
        self.decoder: nn.Module | None = build_decoder(config.shape).to(device) if config.local else None
        self.optimiser = self._optimiser()
        if checkpoint.is_file() and not fresh:
            self._restore()

    def _optimiser(self) -> torch.optim.Optimizer:
        schedule = self._schedule()
        parameters: Iterable[nn.Parameter]
        if self.stage == "local":
            assert self.decoder is not None
            parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        elif self.config.freeze_encoder:
            parameters = self.fusion.parameters()
        else:
            parameters = self.networks.parameters()
        return torch.optim.AdamW(
            parameters, lr=schedule.rate, weight_decay=schedule.weight_decay, betas=BETAS, fused=True
        )

    def _schedule(self) -> Schedule:
        if self.stage == "local":
            assert self.config.local is not None
            return self.config.local
        return self.config.joint

    @property
    def num_parameters(self) -> int:
        """Numbers that are trained in stage II, in all encoders and at the central unit."""
        return sum(parameter.numel() for parameter in self.networks.parameters())

    @property
    def seen(self) -> int:
        """Samples drawn so far, in both stages."""
        local = self.config.local
        return self.done + (local.samples if local is not None and self.stage == "joint" else 0)

    @property
    def samples_in_all(self) -> int:
        """Samples that these weights have seen in stage II, also in the model that they come from."""
        return self.done + (self.begun_with["samples"] if self.begun_with else 0)

    def begin_with(self, weights: Weights) -> None:
        """Begin with the weights of an exported model instead of random ones; the optimiser begins anew.

        Raises:
            ConfigError: The model has other networks, or this training has begun already.
        """
        if self.seen:
            raise ConfigError(f"{self.checkpoint}: has begun already, not with {weights.folder}")
        weights.give(self.encoder, self.fusion)
        self.begun_with = {"model": weights.name, "digest": weights.digest, "samples": weights.samples}

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to do."""
        local = self.config.local
        if self.config.only_local and local is not None:
            return self.done >= local.samples
        return self.stage == "joint" and self.done >= self.config.joint.samples

    def train(self, minutes: float = math.inf, every_s: float = 60.0) -> None:
        """Train until the schedule ends or the time is up; state is kept every ``every_s`` and at the end.

        Interrupted (Ctrl-C), it keeps the state and passes the interruption on.
        """
        started = said = time.monotonic()
        before = self.seconds
        mark = (started, self.done, self.samples.seconds_making)  # where speed is measured from
        try:
            while True:
                now = time.monotonic()
                self.seconds = before + now - started
                stage_ended = self.done >= self._schedule().samples
                out_of_time = self.ranks.agree(now - started > minutes * 60, self.device)
                if now - said > every_s or stage_ended or out_of_time:
                    said = now
                    if self.ranks.first:
                        self._say(*mark)
                        self.keep()
                if out_of_time or self.ended:
                    return
                if stage_ended:
                    self._begin_joint()
                    mark = (time.monotonic(), 0, self.samples.seconds_making)
                else:
                    self.step()
        except KeyboardInterrupt:
            if self.ranks.first:
                with interrupted_once():
                    self.keep()
            raise

    def _begin_joint(self) -> None:
        self.stage, self.done = "joint", 0
        self.decoder = None
        self.optimiser = self._optimiser()

    def step(self) -> float:
        """One step of the optimiser; returns the loss."""
        schedule = self._schedule()
        for group in self.optimiser.param_groups:
            group["lr"] = schedule.rate * schedule.factor(self.done)
        if self._must_calibrate(self.ranks.size * schedule.batch):
            self.calibrate()
        with torch.no_grad():
            csi, position = self.samples.draw(schedule.batch)
            features, side, gain = self.inputs(csi)
        loss = (
            self._local_loss(features, side)
            if self.stage == "local"
            else self._joint_loss(features, side, gain, position)
        )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.ranks.average(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, schedule.clip)
        if torch.isfinite(norm):
            self.optimiser.step()
        else:
            self.skipped += 1
        self.done += self.ranks.size * schedule.batch
        return float(loss.detach())

    def inputs(self, csi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoder input, side features and gains, dB, of CSI whose noise has unit variance."""
        config = self.config
        features, side, gain = system_input(
            csi, 1.0, config.message, config.phase_reference, config.shape.input_modes
        )
        return features, side, gain

    def _must_calibrate(self, batch: int) -> bool:
        begin = self.config.quantise_from
        if self.stage == "local" or begin is None or self.done < begin:
            return False
        return not self.calibrated or (self.done - begin) % self.config.recalibrate < batch

    def _autocast(self) -> torch.autocast:
        mixed = self.config.bfloat16 and knows_bfloat16(self.device)
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=mixed)

    def _local_loss(self, features: Tensor, side: Tensor) -> Tensor:
        assert self.decoder is not None
        with self._autocast():
            rebuilt = self.decoder(self.encoder(features, side))
        return reconstruction_loss(features, rebuilt.float()).mean()

    def _joint_loss(self, features: Tensor, side: Tensor, gain: Tensor, position: Tensor) -> Tensor:
        present = self._present(gain)
        with self._autocast():
            latent = self.encoder(features, side)
        latent = self.sent(latent.float())
        with self._autocast():
            out = self.fusion(latent, self.audible(gain), present)
        out = {name: value.float() for name, value in out.items()}
        return position_loss(out, (position - self.centre) / SCALE_M, present, self.config.loss)

    def audible(self, gain: Tensor) -> Tensor:
        """Gains as the central unit counts them, dB."""
        return gain.clamp(min=self.config.shape.gain_floor_db)

    def quantised(self, latent: Tensor) -> Tensor:
        """Latents through the quantiser (19) with the gradient (35), once it is calibrated; fixes rounded."""
        if self.config.message == FIX:
            return sent_fix(latent)
        if not self.calibrated:
            return latent
        quantised: Tensor = straight_through(latent, self.config.bits, self.steps[:, None, None])
        return quantised

    def sent(self, latent: Tensor) -> Tensor:
        """What arrives of latents in training: a share of the samples shortened, each link in its own way.

        Nested dropout: only the first of the D numbers arrive, how many is drawn evenly on a log scale,
        at a resolution drawn from ``short_bits``. So the first numbers learn to carry the most.
        """
        config, dims = self.config, self.config.shape.dims
        whole = self.quantised(latent)
        if not config.short_share or not self.calibrated:
            return whole
        batch, sites = latent.shape[:2]
        short = (self._mask_draws(batch, 1) < config.short_share).expand(batch, sites)
        shortest = min(config.shortest_dims, dims)
        length = shortest * (dims / shortest) ** self._mask_draws(batch, sites)
        kept = torch.arange(dims, device=self.device) < length[..., None]
        choice = (self._mask_draws(batch, sites) * len(config.short_bits)).long()
        shortened = whole.clone()
        for number, bits in enumerate(config.short_bits):
            some = torch.nonzero(short & (choice == number), as_tuple=True)
            arrived = whole[some]
            if bits != config.bits:
                step = self.steps[some[1]] * rescale_step(1.0, config.bits, bits)
                arrived = straight_through(latent[some], bits, step[:, None, None])
            shortened[some] = arrived * kept[some].reshape(arrived.shape)
        return shortened

    def _mask_draws(self, *size: int) -> Tensor:
        return torch.rand(*size, generator=self.masks, device=self.device)

    def _present(self, gain: Tensor) -> Tensor:
        drawn = self._mask_draws(*gain.shape) >= self.config.bs_dropout
        nobody = ~drawn.any(dim=1, keepdim=True)
        return drawn | nobody

    @torch.no_grad()
    def latents(self, count: int) -> Tensor:
        """Continuous latents of fresh training samples, ``[count, L, N, d_z]``."""
        parts = []
        for start in range(0, count, 256):
            csi, _ = self.samples.draw(min(256, count - start))
            features, side, _ = self.inputs(csi)
            parts.append(self.encoder(features, side).float())
        return torch.cat(parts)

    def calibrate(self) -> None:
        """Set each base station's quantiser step: least squared error on training latents.

        Messages of other kinds have no such step: nothing happens.
        """
        if self.config.message != EMBEDDING:
            return
        latents = self.latents(CALIBRATED_ON).flatten(2).cpu().numpy()
        self.steps = torch.tensor(
            calibrate_steps(latents, self.config.bits), dtype=torch.float32, device=self.device
        )
        self.steps = self.ranks.from_first(self.steps)
        self.calibrated = True

    @torch.no_grad()
    def predict(
        self, sampler: Sampler, seed: int, missing: tuple[int, ...] = ()
    ) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """Estimates for every row of a sampler, in order; the same for the same seed.

        Args:
            sampler: Draws the samples.
            seed: Of the draws.
            missing: Indices of base stations that nobody hears of.

        Returns:
            ``truth`` and ``position [n, 3]``, m, ``covariance [n, 3, 3]``, m², not yet calibrated, and
            ``gain_db [n, L]``.
        """
        sampler.reseed(seed)
        self.networks.eval()
        columns: dict[str, list[Tensor]] = {"truth": [], "position": [], "covariance": [], "gain_db": []}
        for start in range(0, len(sampler), 250):
            csi, truth = sampler.at(torch.arange(start, min(start + 250, len(sampler)), device=self.device))
            features, side, gain = self.inputs(csi)
            present = torch.ones_like(gain, dtype=torch.bool)
            present[:, list(missing)] = False
            latent = self.quantised(self.encoder(features, side).float())
            position, covariance = self.fusion.estimate(latent, self.audible(gain), present)
            for name, value in zip(columns, (truth, position, covariance, gain), strict=True):
                columns[name].append(value.cpu())
        self.networks.train()
        return {name: torch.cat(values).double().numpy() for name, values in columns.items()}

    def validate(self) -> dict[str, float]:
        """Errors on the validation points, m; in stage I the loss (22) there."""
        if self.stage == "local":
            return {"reconstruction": self._held_out_reconstruction()}
        found = self.predict(self.held_out, self.config.seed + 2)
        error = np.linalg.norm(found["position"] - found["truth"], axis=1)
        figures = {"all_mean_m": float(error.mean())}
        served = error[(found["gain_db"] >= SERVED_DB).sum(axis=1) >= SERVED_BY]
        if len(served):
            figures |= {
                "served_mean_m": float(served.mean()),
                "served_median_m": float(np.median(served)),
                "served_e90_m": float(np.quantile(served, 0.9)),
            }
        return figures

    @torch.no_grad()
    def _held_out_reconstruction(self) -> float:
        assert self.decoder is not None
        self.held_out.reseed(self.config.seed + 2)
        rows = torch.arange(min(len(self.held_out), 250), device=self.device)
        features, side, _ = self.inputs(self.held_out.at(rows)[0])
        return float(reconstruction_loss(features, self.decoder(self.encoder(features, side))).mean())

    def _say(self, began_s: float, began_at: int, began_making_s: float) -> None:
        schedule = self._schedule()
        spent_s = max(time.monotonic() - began_s, 1e-9)
        speed = (self.done - began_at) / spent_s
        remaining = max(schedule.samples - self.done, 0)
        making = (self.samples.seconds_making - began_making_s) / spent_s
        figures = self.validate()
        self.history.append(
            {"stage": self.stage, "samples": self.done, "seconds": round(self.seconds, 1), **figures}
        )
        shown = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
        left = f"{remaining / speed:.0f} s to go" if speed else "just begun" if remaining else "done"
        skipped = f", {self.skipped} steps skipped" if self.skipped else ""
        self.report(
            f"{self.config.name} {self.stage}: {self.done} of {schedule.samples} samples, {speed:.0f}/s "
            f"({making:.0%} of the time making them), {left}{skipped}; {shown}"
        )

    def keep(self) -> None:
        """Write the state."""
        state = {
            "trained_on": self.trained_on(),
            "config": json.dumps(asdict(self.config)),
            "stage": self.stage,
            "done": self.done,
            "seconds": self.seconds,
            "networks": self.networks.state_dict(),
            "decoder": self.decoder.state_dict() if self.decoder else None,
            "optimiser": self.optimiser.state_dict(),
            "steps": self.steps,
            "calibrated": self.calibrated,
            "skipped": self.skipped,
            "generators": [self.samples.generator.get_state(), self.masks.get_state()],
            "samples": self.samples.state(),
            "history": self.history,
            "begun_with": self.begun_with,
            "trunk": self.trunk,
        }
        keep_state(state, self.checkpoint)

    def trained_on(self) -> dict[str, Any]:
        """What these networks were trained on, and for how long."""
        return {
            "world": self.site.world,
            "points": len(self.samples),
            "samples": self.seen,
            "seconds": round(self.seconds, 1),
            "device": self.device,
            "processes": self.ranks.size,
            "begun_with": self.begun_with,
        }

    def _restore(self) -> None:
        take_state(self.checkpoint, self.device, self._take, ConfigError)

    def branch(self, trunk: Path) -> None:
        """Go on from where another training ended, as this one's configuration says.

        From the end of its stage I only the encoders come along, and the central unit may be another; from
        stage II comes everything.

        Raises:
            ConfigError: Its state is missing, damaged or of another network.
        """
        take_state(trunk, self.device, self._branch_off, ConfigError)

    def _branch_off(self, state: dict[str, Any]) -> None:
        self._take_encoder_or_all(state)
        self.trunk = {"config": json.loads(state["config"]), "trunk": state.get("trunk")}

    def _take_encoder_or_all(self, state: dict[str, Any]) -> None:
        if state["stage"] == "joint":
            self._take(state)
            return
        encoder = {
            name.removeprefix("encoder."): value
            for name, value in state["networks"].items()
            if name.startswith("encoder.")
        }
        self.encoder.load_state_dict(encoder)
        if self.decoder is not None:
            self.decoder.load_state_dict(state["decoder"])
        self.done, self.seconds, self.history = state["done"], state["seconds"], state["history"]

    def _take(self, state: dict[str, Any]) -> None:
        self._check_network(json.loads(state["config"]))
        if state["stage"] != self.stage:
            self._begin_joint()
        self.networks.load_state_dict(state["networks"])
        if self.decoder is not None and state["decoder"] is not None:
            self.decoder.load_state_dict(state["decoder"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.done, self.seconds, self.history = state["done"], state["seconds"], state["history"]
        self.steps, self.calibrated = state["steps"], state["calibrated"]
        self.skipped = state.get("skipped", 0)
        self.begun_with = state.get("begun_with")
        self.trunk = state.get("trunk")
        generators = [generator.cpu() for generator in state["generators"]]
        # A checkpoint of an earlier version does not say where the sampler's noise was.
        self.samples.restore(
            state.get("samples", {"generator": generators[0], "pool_seed": None, "pool_used": None})
        )
        self.masks.set_state(generators[1])
        if not self.ranks.first:  # the state is the first process's: others must not draw its samples
            fresh = self.config.seed + RANK_STRIDE * self.ranks.rank + self.done
            self.samples.reseed(fresh + 1)
            self.masks.manual_seed(fresh + 3)

    def _check_network(self, kept: dict[str, Any]) -> None:
        """Refuse a checkpoint of another network; when the training ends, and its rates, may have changed."""
        wanted = asdict(self.config)
        here = {"phase_reference": wanted["phase_reference"], **wanted["shape"]}
        there = {"phase_reference": kept["phase_reference"], **kept["shape"]}
        for key in here.keys() & there.keys():
            if here[key] != there[key]:
                raise ConfigError(f"{self.checkpoint}: made with {key} {there[key]!r}, not {here[key]!r}")


@contextmanager
def interrupted_once() -> Iterator[None]:
    """For a while Ctrl-C does nothing: `torchrun` passes on one that its processes have had already."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def knows_bfloat16(device: str) -> bool:
    """Whether products in bfloat16 are quick: without instructions for them they take 30 times as long."""
    if device != "cpu":
        return True
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def hard_points(table: PathTable, radio: Radio) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows of the points with few sites in sight that enough base stations hear at 0 dB or more all the same.

    They make most of the mean error over served points, and are less than a third of the points.
    """
    heard = (table.power() >= radio.noise_variance()).sum(axis=1) >= SERVED_BY
    return np.flatnonzero(heard & (table.sites_in_sight() <= HARD_SITES))


def _check_shape(config: TrainingConfig, site: Site) -> None:
    shape, radio = config.shape, site.radio
    there = {
        "num_bs": len(site.bs_ids),
        "slots": radio.slots,
        "antennas": radio.antennas,
        "subcarriers": shape.subcarriers if config.subcarrier_step else radio.subcarriers,
    }
    for name, value in there.items():
        if getattr(shape, name) != value:
            raise ConfigError(
                f"{config.name}: shape.{name} is {getattr(shape, name)}, the radio's is {value}"
            )


def _kept(config: TrainingConfig, site: Site) -> tuple[int, ...] | None:
    if config.subcarrier_step is None:
        return None
    try:
        return kept_subcarriers(site.radio.subcarriers, config.shape.subcarriers, config.subcarrier_step)
    except ValueError as error:
        raise ConfigError(f"{config.name}: subcarrier_step: {error}") from error
