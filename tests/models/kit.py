"""A small world without walls, in which networks learn within seconds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.config import Impairments, Schedule, TrainingConfig
from models.path_table import Array, PathTable
from models.shape import Shape
from models.synthesis import SPEED_OF_LIGHT_MPS, Radio
from models.training import Site, Trainer

RADIO = Radio(slots=4, rows=2, columns=4, subcarrier_stride=24)  # 12 subcarriers
SITES = ((130.0, 80.0, 28.0), (30.0, 200.0, 32.0), (-110.0, 50.0, 40.0))
BORESIGHT = (30.0, 60.0, 10.0)
SITE = Site(("bs1", "bs2", "bs3"), SITES, BORESIGHT, RADIO)
LOW_M, HIGH_M = (-20.0, 10.0, 1.0), (80.0, 110.0, 20.0)
STILL = Impairments(displacement_m=0.0, speed_mps=0.0, ue_clock_s=0.0, bs_sync_s=0.0)
SHAPE = Shape(
    num_bs=3, slots=4, subcarriers=12, width=48, depth=1, latent=8, hidden=24, fusion=48, site_hidden=24
)
PAPER = replace(SHAPE, encoder="res_segnet", width=3, cu="paper")


def free_space(
    position_m: Array, sites_m: Sequence[Sequence[float]] = SITES, radio: Radio = RADIO
) -> PathTable:
    """Path table of positions ``[P, 3]`` between which and the base stations nothing stands."""
    towards = np.asarray(sites_m)[None] - position_m[:, None]  # [P, L, 3]
    distance = np.linalg.norm(towards, axis=-1)
    direction = (towards / distance[..., None]).reshape(-1, 3)
    count = np.ones(distance.shape, np.int32)
    links = distance.size
    return PathTable(
        world_key="free-space",
        bs_ids=tuple(f"bs{number + 1}" for number in range(len(sites_m))),
        position_m=position_m,
        first=np.arange(links).reshape(distance.shape),
        count=count,
        gain=(radio.wavelength_m / (4 * np.pi * distance)).ravel().astype(np.complex64),
        delay_s=distance.ravel() / SPEED_OF_LIGHT_MPS,
        ue_direction=direction,
        bs_direction=-direction,
        mirror=np.broadcast_to(np.eye(3), (links, 3, 3)).copy(),
        image_distance_m=distance.ravel(),
        line_of_sight=np.ones(links, bool),
        dropped_energy=np.zeros(distance.shape, np.float32),
        attributes={},
    )


def random_positions(count: int, seed: int) -> Array:
    result: Array = np.random.default_rng(seed).uniform(LOW_M, HIGH_M, (count, 3))
    return result


def tiny_config(**changes: Any) -> TrainingConfig:
    config = TrainingConfig(
        name="tiny",
        joint=Schedule(samples=4096, batch=128, rate=3e-3, warmup=512, decay=2048),
        shape=SHAPE,
        training_impairments=Impairments(ue_clock_s=0.0, bs_sync_s=0.0),
        test_impairments=STILL,
        bfloat16=False,
    )
    return replace(config, **changes)


def tiny_trainer(checkpoint: Path, config: TrainingConfig | None = None, **changes: Any) -> Trainer:
    """A trainer on 400 points, validated on 100 others."""
    config = config or tiny_config(**changes)
    training, validation = free_space(random_positions(400, 1)), free_space(random_positions(100, 2))
    return Trainer(config, SITE, training, validation, checkpoint, report=lambda line: None)
