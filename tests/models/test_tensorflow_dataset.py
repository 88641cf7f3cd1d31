"""TensorFlow gets the samples that torch gets, bit by bit, from traced points and from data sets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.dataset import read_dataset
from models.dataset_sampler import DatasetSampler, Variation
from models.sampler import Sampler
from models.tensorflow_dataset import Drawing, as_tf_dataset, batches
from tests.models.dataset_kit import arrays, write
from tests.models.kit import BORESIGHT, RADIO, SITES, STILL, free_space, random_positions


def traced() -> Sampler:
    return Sampler(free_space(random_positions(50, 1)), SITES, BORESIGHT, RADIO, STILL, seed=7)


def measured(folder: Path) -> DatasetSampler:
    dataset = read_dataset(write(folder / "set.h5", arrays()))
    sampler = DatasetSampler(dataset, np.arange(len(dataset)), seed=7, bs_dropout=0.2)
    spread = torch.ones(sampler.features.shape[1:])
    sampler.vary(Variation("some", 0.5, 0.5), spread, torch.ones(spread.shape[0]))
    return sampler


def equal(one: Any, other: Any) -> bool:
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(one, other, strict=True))


@pytest.fixture(params=["traced", "measured"])
def sampler(request: pytest.FixtureRequest, tmp_path: Path) -> Drawing:
    return traced() if request.param == "traced" else measured(tmp_path)


def test_batches_are_those_of_a_new_sampler(sampler: Drawing) -> None:
    sampler.draw(3)
    first, second = batches(sampler, 4, seed=9, count=2)
    sampler.reseed(9)
    assert equal(first, sampler.draw(4))
    assert equal(second, sampler.draw(4))
    assert not equal(first, second)


def test_tensorflow_gets_the_samples_of_torch(sampler: Drawing) -> None:
    pytest.importorskip("tensorflow")
    wanted = list(batches(sampler, 4, seed=9, count=3))
    for _ in range(2):
        found = list(as_tf_dataset(sampler, 4, seed=9, count=3))
        assert len(found) == 3
        for ours, theirs in zip(found, wanted, strict=True):
            assert equal(ours, theirs)
