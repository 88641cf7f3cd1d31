"""Positions in 96 bits: the law that is trained is the law of the message."""

import numpy as np
import pytest
import torch

from models.messages import POSITION_STEP_M, GaussianMessage
from models.systems.encoders import sent_fix
from models.systems.local_fix import FIX_BITS, covariance_root, sent_numbers

MESSAGE = GaussianMessage()


def numbers(count: int = 30) -> np.ndarray:
    draws = np.random.default_rng(2)
    offset, octaves = draws.uniform(-200, 200, (count, 3)), draws.uniform(-5, 6, (count, 3))
    return np.concatenate([offset, octaves, draws.uniform(-1.5, 1.5, (count, 3))], axis=1).astype(np.float32)


def covariance(nine: np.ndarray) -> np.ndarray:
    axes, root = covariance_root(nine)
    whole: np.ndarray = axes @ root
    result: np.ndarray = whole @ whole.swapaxes(-1, -2)
    return result


def test_what_arrives_is_what_the_message_would_bring() -> None:
    """Numbers, to the message's indices and 12 bytes, and back: the same position and covariance."""
    site = np.array([130.0, 80.0, 28.0])
    for nine in sent_numbers(numbers()).astype(np.float64):
        indices = MESSAGE.indices(site + nine[:3], covariance(nine), site)
        payload = MESSAGE.pack(indices)
        assert 8 * len(payload) == FIX_BITS
        mean, arrived = MESSAGE.gaussian(MESSAGE.unpack(payload), site)
        assert mean == pytest.approx(site + nine[:3], abs=POSITION_STEP_M)
        scale = np.sqrt(np.diagonal(arrived))
        # The message was cut to its steps before: cut again, an index may move to its neighbour.
        assert np.abs(arrived - covariance(nine)).max() <= 0.15 * scale.max() ** 2


def test_the_covariance_of_an_index_is_that_of_the_message() -> None:
    site = np.zeros(3)
    indices = MESSAGE.indices(np.array([[90.0, -40.0, -20.0]]), 9 * np.eye(3)[None], site)
    rest = [(indices[0, 3:6].astype(float) - 127.5) / 16, (indices[0, 6:].astype(float) - 127.5) / 32]
    place = (indices[0, :3].astype(float) - 32767.5) / 32
    assert covariance(np.concatenate([place, *rest])) == pytest.approx(
        MESSAGE.gaussian(indices, site)[1][0], rel=1e-5
    )


def test_any_nine_numbers_make_a_covariance() -> None:
    assert (np.linalg.eigvalsh(covariance(numbers().astype(np.float64))) > 0).all()


def test_torch_sends_the_same_and_passes_the_gradient() -> None:
    wanted = torch.tensor(numbers(), requires_grad=True)
    arrived = sent_fix(wanted)
    assert arrived.detach().numpy() == pytest.approx(sent_numbers(numbers()), abs=1e-4)
    arrived.sum().backward()  # type: ignore[no-untyped-call]
    assert wanted.grad is not None
    assert torch.equal(wanted.grad, torch.ones_like(wanted))
