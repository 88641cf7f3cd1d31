import numpy as np
import numpy.typing as npt
import pytest

from models.quantiser import dequantise, quantise
from models.testing import GeometryModel


def sent(model: GeometryModel, position_m: list[float], bits: int = 10) -> npt.NDArray[np.float32]:
    embedding = model.encode("bs1", model.pilots_at(position_m), 1.0)
    level: npt.NDArray[np.float32] = dequantise(
        quantise(embedding.latent, bits, model.steps[0]), bits, model.steps[0]
    )
    return level


def test_fusion_finds_the_position_in_the_pilots() -> None:
    model = GeometryModel(dims=48)
    position_m = [12.25, -77.5, 3.125]
    latents = np.tile(sent(model, position_m), (1, 6, 1))
    present = np.ones((1, 6), bool)
    found, covariance = model.fuse(latents, np.zeros((1, 6)), present)
    np.testing.assert_allclose(found[0], position_m, atol=1000 / 2**10 / 16)
    np.testing.assert_allclose(covariance[0], np.eye(3) / 6)


def test_only_present_bss_count() -> None:
    model = GeometryModel(("bs1", "bs2"), dims=48)
    latents = np.stack([sent(model, [10, 10, 10]), sent(model, [90, 90, 90])])[None]
    found, covariance = model.fuse(latents, np.zeros((1, 2)), np.array([[True, False]]))
    np.testing.assert_allclose(found[0], [10, 10, 10], atol=0.1)
    np.testing.assert_allclose(covariance[0], np.eye(3))


def test_a_shortened_latent_is_coarser_but_right() -> None:
    model = GeometryModel(("bs1",), dims=48)
    latents = sent(model, [10, 20, 30])[None, None]
    latents[..., 7:] = 0
    found, _ = model.fuse(latents, np.zeros((1, 1)), np.ones((1, 1), bool))
    np.testing.assert_allclose(found[0], [10, 20, 30], atol=1000 / 2**10)


def test_gain_is_the_snr_that_was_asked_for() -> None:
    model = GeometryModel()
    pilots = model.pilots_at([1, 2, 3], gain_db=-7.0, noise_variance=1e-9)
    assert model.encode("bs2", pilots, 1e-9).gain_db == pytest.approx(-7.0, abs=1e-5)


def test_digest_tells_models_apart() -> None:
    assert GeometryModel().digest == GeometryModel().digest
    assert len({GeometryModel().digest, GeometryModel(bits=8).digest, GeometryModel(name="x").digest}) == 3


def test_unknown_bs_is_refused() -> None:
    with pytest.raises(KeyError, match="bs9"):
        GeometryModel().encode("bs9", GeometryModel().pilots_at([0, 0, 0]), 1.0)
