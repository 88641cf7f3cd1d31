"""Snapshots that are encoded together come out as if each had been alone."""

import numpy as np
import pytest

from models.runtime import WEIGHTS, load_model
from models.testing import GeometryModel
from nodes.encoding import encode_together


@pytest.mark.skipif(not (WEIGHTS / "ecc-r").is_dir(), reason="the shipped weights are not there")
def test_the_same_to_the_last_bit_together_or_alone() -> None:
    model = load_model("ecc-r")
    random = np.random.default_rng(1)
    shape = (3, *model.csi_shape)
    pilots = (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(np.complex64)
    together = encode_together(model, "bs2", list(pilots), 0.1)
    for heard, embedding in zip(pilots, together, strict=True):
        alone = model.encode("bs2", heard, 0.1)
        assert np.array_equal(embedding.latent, alone.latent)
        assert embedding.gain_db == alone.gain_db


def test_a_model_that_takes_one_at_a_time_is_given_one_at_a_time() -> None:
    model = GeometryModel(("bs1", "bs2"))
    pilots = [np.full((1, 1, 3), value, np.complex64) for value in (1, 2)]
    together = encode_together(model, "bs1", pilots, 0.1)
    alone = [model.encode("bs1", heard, 0.1) for heard in pilots]
    assert [one.gain_db for one in together] == [one.gain_db for one in alone]
    assert all(np.array_equal(one.latent, other.latent) for one, other in zip(together, alone, strict=True))
