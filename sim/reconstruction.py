"""What stage I preserves: CSI beside what its decoder makes of the quantised latent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.adcpm import adcpm
from models.quantiser import calibrate_steps, dequantise, quantise
from sim.channel.held_out import held_out, shipped_pool
from sim.compare import Report
from sim.scenario.scenario import Clock
from sim.train import EVERY_S, TrainOptions, denormals_flushed, make_trainer, read_points
from sim.variants import folders, shortened_comparison

if TYPE_CHECKING:
    from models.config import TrainingConfig
    from models.training import Trainer

SAMPLES, DECAY, RATE = 77_824, 20_480, 1e-3
"""As many as other variants see, all of them in stage I."""
WIDTH = 384
"""That of the shipped model's encoders, eight times the comparison's."""
BITS = (10, 8, 6, 4)
DRAWN = (10, 4)
HEARD_DB = 10.0
"""Links that are heard as loud as this or louder are judged."""
SEED = 1

Csi = NDArray[np.complex64]


def stage_one() -> TrainingConfig:
    """The comparison's stage I, longer and wider, with the delay left in the CSI."""
    config = shortened_comparison()[1]["ecc-stage-one"]
    assert config.local is not None
    local = replace(config.local, samples=SAMPLES, decay=DECAY, rate=RATE)
    shape = replace(config.shape, width=WIDTH)
    return replace(config, name="stage-one-slot", shape=shape, phase_reference="slot", local=local)


def trained(options: TrainOptions, report: Report = print) -> Trainer:
    """Encoders and decoders after stage I; trained now as far as they were not."""
    config = stage_one()
    state = folders()[1] / f"{config.name}.pt"
    trainer = make_trainer(config, read_points(config, options.chunks, report), state, options, report)
    if not trainer.ended:
        with denormals_flushed():
            trainer.train(float("inf") if options.minutes is None else options.minutes, EVERY_S)
    return trainer


def judge_reconstruction(trainer: Trainer, points: int | None = None) -> dict[str, Any]:
    """How near the decoder comes on the random test split, and one link as an example.

    Every link is compared up to a complex factor, which (22) leaves open. The example is the link whose
    error at 10 bits is the median.

    Args:
        trainer: After stage I, with its decoder.
        points: At most so many snapshots.
    """
    snapshots = held_out("random", clock=Clock(kind="ue_unknown"))
    snapshots = snapshots if points is None else snapshots.thinned(points)
    rows = np.array([index for _, index in snapshots.snapshots])
    original, clean, gain_db, rebuilt = links(trainer, rows)
    names = {"not quantised": None} | {f"Q = {bits}": bits for bits in BITS}
    error = {name: nmse(original, rebuilt[name]) for name in names}
    alike = {name: cosine(original, rebuilt[name]) for name in names}
    middle = int(np.argsort(error["Q = 10"])[len(original) // 2])
    shown = {"original": original[middle]}
    for bits in DRAWN:
        name = f"Q = {bits}"
        shown[name] = turned(original[middle], rebuilt[name][middle])
    return {
        "samples_trained": trainer.seen,
        "links": len(original),
        "heard_db": HEARD_DB,
        "rows": [
            {
                "reconstruction": name,
                "bits": None if bits is None else 768 * bits,
                "nmse_median_db": decibels(np.median(error[name])),
                "nmse_mean_db": decibels(np.mean(error[name])),
                "nmse_to_clean_median_db": decibels(np.median(nmse(clean, rebuilt[name]))),
                "cosine_median": float(np.median(alike[name])),
                "cosine_p10": float(np.quantile(alike[name], 0.1)),
            }
            for name, bits in names.items()
        ],
        "noise_median_db": decibels(np.median(nmse(clean, original))),
        "example": {
            "gain_db": float(gain_db[middle]),
            "nmse_db": {name: decibels(error[name][middle]) for name in shown if name != "original"},
            "cosine": {name: float(alike[name][middle]) for name in shown if name != "original"},
            "csi": {
                name: np.round([csi.real, csi.imag], 3).astype(float).tolist() for name, csi in shown.items()
            },
        },
    }


def links(trainer: Trainer, rows: NDArray[Any]) -> tuple[Csi, Csi, NDArray[Any], dict[str, Csi]]:
    """All links that are heard well: CSI as encoded, the same without noise, gains, and reconstructions.

    CSI is the mean over the slots, ``[n, num_ant, num_sc]``.
    """
    import torch

    decoder = trainer.decoder
    assert decoder is not None
    trainer.held_out.use(shipped_pool("test-random"))
    parts: dict[str, list[Any]] = {}
    steps = {bits: quantiser_steps(trainer, bits) for bits in BITS}
    with torch.no_grad():
        for start in range(0, len(rows), 250):
            chosen = torch.as_tensor(rows[start : start + 250])
            both = []
            for noisy in (True, False):
                trainer.held_out.reseed(SEED + start)
                features, side, gain = trainer.inputs(trainer.held_out.at(chosen, noisy=noisy)[0])
                both.append((features, side, gain))
            (features, side, gain), (clean, _, _) = both
            heard = (gain >= HEARD_DB).numpy()
            latent = trainer.encoder(features, side).float()
            sent = {"not quantised": latent}
            for bits in BITS:
                step = steps[bits]
                sent[f"Q = {bits}"] = dequantise(quantise(latent, bits, step), bits, step)
            found = {"original": features, "clean": clean}
            found |= {name: decoder(one) for name, one in sent.items()}
            for name, one in found.items():
                parts.setdefault(name, []).append(complex_csi(one.numpy())[heard])
            parts.setdefault("gain", []).append(gain.numpy()[heard])
    whole = {name: np.concatenate(part) for name, part in parts.items()}
    original, clean_csi, gain_db = (whole.pop(name) for name in ("original", "clean", "gain"))
    return original, clean_csi, gain_db, whole


def quantiser_steps(trainer: Trainer, bits: int) -> Any:
    """Each base station's step at so many bits, from training latents, ``[L, 1, 1]``."""
    import torch

    from models.training import CALIBRATED_ON

    steps = calibrate_steps(trainer.latents(CALIBRATED_ON).flatten(2).numpy(), bits)
    return torch.tensor(steps, dtype=torch.float32)[:, None, None]


def complex_csi(features: NDArray[Any]) -> Csi:
    """Encoder input ``[..., num_sc, 2·num_ant]``, real parts first, as CSI ``[..., num_ant, num_sc]``."""
    half = features.shape[-1] // 2
    joined = features[..., :half] + 1j * features[..., half:]
    result: Csi = np.moveaxis(joined, -1, -2).astype(np.complex64)
    return result


def nmse(original: Csi, rebuilt: Csi) -> NDArray[np.float64]:
    """Squared error over power of each link ``[n, ...]``, after the complex factor that makes it least."""
    a, b = (csi.reshape(len(csi), -1) for csi in (original, rebuilt))
    product = np.abs((a.conj() * b).sum(axis=1)) ** 2
    powers = (np.abs(a) ** 2).sum(axis=1) * (np.abs(b) ** 2).sum(axis=1)
    left: NDArray[np.float64] = np.maximum(1 - product / (powers + 1e-30), 1e-12).astype(np.float64)
    return left


def cosine(original: Csi, rebuilt: Csi) -> NDArray[np.float64]:
    """Cosine between the angle–delay powers of each link ``[n, num_ant, num_sc]``."""
    a, b = (adcpm(csi[:, None], 0.0).reshape(len(csi), -1) for csi in (original, rebuilt))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found: NDArray[np.float64] = ((a * b).sum(axis=1) / (lengths + 1e-30)).astype(np.float64)
    return found


def turned(original: Csi, rebuilt: Csi) -> Csi:
    """A reconstruction with the complex factor that brings it nearest."""
    factor = (rebuilt.conj() * original).sum() / ((np.abs(rebuilt) ** 2).sum() + 1e-30)
    result: Csi = (rebuilt * factor).astype(np.complex64)
    return result


def decibels(value: Any) -> float:
    """Of a ratio of powers."""
    return float(10 * np.log10(value))
