"""A direction at the head of a message survives any quantiser, and is not seen where there is none."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.directions import CELLS, LARGEST_TRUST, LEADING, LEAST_BITS, DirectionNumbers, peaks
from models.music import Music
from models.quantiser import dequantise, quantise, rescale_step
from models.runtime import WEIGHTS, ModelError, load_model

STEPS, BITS = np.array([0.0183, 0.0198]), 10
NUMBERS = DirectionNumbers.of_steps(STEPS, BITS)
COMPONENT = st.floats(-0.7, 0.7)
needs_weights = pytest.mark.skipif(
    not (WEIGHTS / "ecc-r").is_dir(), reason="the shipped weights are not there"
)


def arrived(k: np.ndarray, trust: np.ndarray, bits: int) -> np.ndarray:
    """Numbers ``[n, 2, LEADING]`` behind the quantisers of two base stations."""
    written = np.stack([NUMBERS.written(column, k, trust) for column in range(2)], axis=1)
    steps = np.array([rescale_step(float(step), BITS, bits) for step in STEPS])[:, None]
    result: np.ndarray = dequantise(quantise(written, bits, steps), bits, steps)
    return result


@given(COMPONENT, COMPONENT, st.floats(-LARGEST_TRUST, LARGEST_TRUST), st.integers(LEAST_BITS, 16))
def test_a_direction_arrives_as_finely_as_bits_allow(k_y: float, k_z: float, trust: float, bits: int) -> None:
    k, odds, there = NUMBERS.read(arrived(np.array([[k_y, k_z]]), np.array([trust]), bits))
    assert there.all()
    half_step = rescale_step(float(STEPS[0]), BITS, bits) / 2 / NUMBERS.reach[0]  # half of the range is 1
    assert half_step < 2.3 / (1 << bits)
    assert np.abs(k - [k_y, k_z]).max() <= half_step / CELLS**2 + 1e-6
    assert np.abs(odds - trust).max() <= LARGEST_TRUST * half_step + 1e-4


@given(COMPONENT, COMPONENT, st.integers(1, LEAST_BITS - 1))
def test_fewer_than_four_bits_say_no_direction(k_y: float, k_z: float, bits: int) -> None:
    assert not NUMBERS.read(arrived(np.array([[k_y, k_z]]), np.zeros(1), bits))[2].any()


@given(COMPONENT, COMPONENT, st.integers(LEAST_BITS, 16), st.integers(0, LEADING - 1))
def test_a_message_that_ends_before_says_no_direction(k_y: float, k_z: float, bits: int, kept: int) -> None:
    numbers = arrived(np.array([[k_y, k_z]]), np.zeros(1), bits)
    numbers[..., kept:] = 0
    assert not NUMBERS.read(numbers)[2].any()


def test_no_number_that_is_sent_is_zero() -> None:
    assert (NUMBERS.written(0, np.zeros((3, 2)), np.zeros(3)) != 0).all()


@pytest.mark.parametrize("count", [2, 5, 64])
def test_a_peak_does_not_depend_on_its_neighbours(count: int) -> None:
    draws = np.random.default_rng(1)
    noise = draws.standard_normal((count, 10, 8, 24, 2), np.float32).view(np.complex64)[..., 0]
    wave = Music().steering(np.array([0.2, -0.1]))[None, None, :, None].astype(np.complex64)
    pilots = noise + 10 * draws.random((count, 1, 1, 1), np.float32) * wave
    together, features = peaks(Music(), pilots, 1.0)
    for row in range(0, count, 7):
        alone, own = peaks(Music(), pilots[row : row + 1], 1.0)
        assert (alone.k_y[0], alone.k_z[0]) == (together.k_y[row], together.k_z[row])
        assert (own[0] == features[row]).all()


@needs_weights
class TestShipped:
    def test_messages_begin_with_directions(self) -> None:
        model, without = load_model("ecc-r"), load_model("ecc-r", directions=False)
        assert (model.leading, model.dims, without.leading, without.dims) == (LEADING, 776, 0, 768)
        assert model.digest != without.digest
        pilots = Music().steering(np.array([0.3, 0.05]))[None, :, None] * np.ones((10, 1, 24))
        noise = np.random.default_rng(4).standard_normal((*pilots.shape, 2)) @ [1, 1j] / 2**0.5
        heard = (1e-4 * pilots + 1e-6 * noise).astype(np.complex64)
        latent = model.encode("bs2", heard, 1e-12).latent
        assert (latent[LEADING:] == without.encode("bs2", heard, 1e-12).latent).all()
        numbers = np.repeat(latent[None, None, :LEADING], model.num_bs, axis=1)
        k, odds, there = DirectionNumbers.of_steps(model.steps, model.bits).read(numbers)
        assert there[0, 1]
        assert k[0, 1] == pytest.approx([0.3, 0.05], abs=1e-3)
        assert odds[0, 1] > 2

    def test_rows_do_not_depend_on_the_batch(self) -> None:
        model = load_model("ecc-r")
        draws = np.random.default_rng(2)
        latents = draws.standard_normal((64, model.num_bs, model.dims)).astype(np.float32)
        numbers = DirectionNumbers.of_steps(model.steps, model.bits)
        for bs in range(model.num_bs):
            k, odds = draws.uniform(-0.6, 0.6, (64, 2)), draws.uniform(-8, 8, 64)
            latents[:, bs, :LEADING] = numbers.written(bs, k, odds)
        gain_db, present = draws.uniform(0, 40, latents.shape[:2]), draws.random(latents.shape[:2]) < 0.8
        position, covariance = model.fuse(latents, gain_db, present)
        assert np.linalg.eigvalsh(covariance).min() > 0
        for rows in (slice(0, 4), slice(20, 28), slice(63, 64)):
            few = np.resize(np.arange(rows.start, rows.stop), max(4, rows.stop - rows.start))
            own = model.fuse(latents[few], gain_db[few], present[few])
            kept = rows.stop - rows.start
            assert (own[0][:kept] == position[rows]).all()
            assert (own[1][:kept] == covariance[rows]).all()

    def test_without_directions_in_messages_it_is_the_network_alone(self) -> None:
        model, without = load_model("ecc-r"), load_model("ecc-r", directions=False)
        draws = np.random.default_rng(3)
        latents = draws.standard_normal((4, model.num_bs, model.dims)).astype(np.float32)
        latents[..., :LEADING] = 0
        gain_db, present = np.full((4, 6), 20.0), np.ones((4, 6), bool)
        both = model.fuse(latents, gain_db, present), without.fuse(latents[..., LEADING:], gain_db, present)
        assert (both[0][0] == both[1][0]).all()
        assert (both[0][1] == both[1][1]).all()

    def test_what_is_heard_and_not_finite_has_no_direction(self) -> None:
        directions = load_model("ecc-r").description.directions
        assert directions is not None
        heard = np.ones((2, 10, 8, 24), np.complex64)
        heard[1, 3, 2, 1] = np.nan
        assert (np.isnan(directions.of_pilots(0, heard, 1e-2)).any(axis=1) == [False, True]).all()

    def test_covariances_are_wider_where_messages_are_short(self, tmp_path: Path) -> None:
        """By the factors for fixes with directions, on top of those for the network alone."""
        model = load_model("ecc-r")
        draws = np.random.default_rng(5)
        latents = draws.standard_normal((4, model.num_bs, model.dims)).astype(np.float32)
        latents[:2, :, LEADING + 96 :] = 0
        numbers = DirectionNumbers.of_steps(model.steps, model.bits)
        for bs in range(model.num_bs):
            latents[:, bs, :LEADING] = numbers.written(bs, draws.uniform(-0.6, 0.6, (4, 2)), np.full(4, 3.0))
        given = latents, np.full((4, 6), 20.0), np.ones((4, 6), bool)
        covariance = {}
        for name, scales in {"none": [], "some": [[96, 3.0], [768, 1.0]]}.items():
            folder = tmp_path / name
            shutil.copytree(WEIGHTS / "ecc-r", folder)
            page = json.loads((folder / "model.json").read_text())
            page["directions"]["short_scales"] = scales
            (folder / "model.json").write_text(json.dumps(page))
            covariance[name] = load_model(folder).fuse(*given)[1]
        ratio = covariance["some"][:, 0, 0] / covariance["none"][:, 0, 0]
        assert ratio == pytest.approx([3, 3, 1, 1])

    def test_a_damaged_section_is_refused(self, tmp_path: Path) -> None:
        folder = tmp_path / "model"
        folder.mkdir()
        shutil.copy(WEIGHTS / "ecc-r" / "model.json", folder)
        description = json.loads((folder / "model.json").read_text())
        description["directions"]["site_m"].pop()
        (folder / "model.json").write_text(json.dumps(description))
        with pytest.raises(ModelError, match=r"damaged \(directions\.site_m \[5, 3\]\)"):
            load_model(folder)
