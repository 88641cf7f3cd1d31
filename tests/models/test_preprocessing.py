"""What a base station makes of its CSI: (7)–(15), against plain loops, for NumPy and torch."""

import cmath
import math

import numpy as np
import pytest
import torch

from models.preprocessing import (
    HARMONICS,
    encoder_input,
    gain_db,
    normalise,
    reference_antenna,
    remove_delay,
    side_features,
    slot_basis,
    stabilise_antenna,
    stabilise_slot,
    stack,
)

SLOTS, ANTENNAS, SUBCARRIERS = 5, 4, 12
NOISE = 0.2


def some_csi(*lead: int, seed: int = 1) -> np.ndarray:
    draws = np.random.default_rng(seed).standard_normal((*lead, SLOTS, ANTENNAS, SUBCARRIERS, 2))
    return (draws[..., 0] + 1j * draws[..., 1]).astype(np.complex64)


def one_path(delay_turns: float, drift: float = 0.3, seed: int = 1) -> np.ndarray:
    """A channel of one path: phases are linear over frequency, slots and antennas."""
    t, m, n = np.meshgrid(np.arange(SLOTS), np.arange(ANTENNAS), np.arange(SUBCARRIERS), indexing="ij")
    offset = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    phase = offset + drift * t + 0.7 * m - 2 * np.pi * delay_turns * n
    csi: np.ndarray = (3.0 * np.exp(1j * phase)).astype(np.complex64)
    return csi


def frobenius(csi: np.ndarray) -> float:
    return math.sqrt(sum(abs(complex(h)) ** 2 for h in csi.ravel()))


def test_gain_is_the_frobenius_norm_7_over_noise_in_decibels() -> None:
    csi = some_csi()
    g = frobenius(csi)
    wanted = 10 * math.log10(g**2 / csi.size / NOISE)
    assert gain_db(csi, NOISE) == pytest.approx(wanted, abs=0.01)


def test_gain_of_silence_is_finite() -> None:
    assert gain_db(some_csi() * 0, NOISE) == pytest.approx(-30.0)


def test_normalised_csi_is_8_times_the_root_of_its_size() -> None:
    csi = some_csi()
    wanted = csi / frobenius(csi) * math.sqrt(csi.size)
    assert normalise(csi) == pytest.approx(wanted, abs=1e-5)
    assert np.isfinite(normalise(csi * 0)).all()


def test_reference_antenna_is_the_strongest_by_9() -> None:
    csi = some_csi()
    power = [
        sum(abs(complex(csi[t, m, n])) ** 2 for t in range(SLOTS) for n in range(SUBCARRIERS))
        for m in range(ANTENNAS)
    ]
    assert reference_antenna(csi) == power.index(max(power))


def test_ties_of_9_go_to_the_smallest_index() -> None:
    assert reference_antenna(np.ones((SLOTS, ANTENNAS, SUBCARRIERS), np.complex64)) == 0


def test_phases_are_stabilised_by_10_and_11() -> None:
    csi = some_csi()
    m0, threshold = int(reference_antenna(csi)), 1e-6
    csi[2, m0, 3] = 0  # below the threshold: nothing is turned there
    stabilised = stabilise_antenna(csi, threshold)
    for t in range(SLOTS):
        for n in range(SUBCARRIERS):
            reference = complex(csi[t, m0, n])
            phase = cmath.phase(reference) if abs(reference) >= threshold else 0.0
            for m in range(ANTENNAS):
                wanted = complex(csi[t, m, n]) * cmath.exp(-1j * phase)
                assert stabilised[t, m, n] == pytest.approx(wanted, abs=1e-5)


def test_stabilised_csi_keeps_the_phases_between_antennas_12() -> None:
    csi = some_csi()
    stabilised = stabilise_antenna(csi)
    before = csi[:, :1] * csi[:, 1:].conj()
    after = stabilised[:, :1] * stabilised[:, 1:].conj()
    assert after == pytest.approx(before, abs=1e-4)


def test_the_papers_stabilisation_deletes_the_delay_and_the_slots_keeps_it() -> None:
    near, far = one_path(0.1), one_path(0.2, seed=2)
    assert stabilise_antenna(near) == pytest.approx(stabilise_antenna(far), abs=1e-5)
    turned = stabilise_slot(far)
    ramp = turned[0, 0, 1:] * turned[0, 0, :-1].conj()
    assert np.angle(ramp) == pytest.approx(-2 * np.pi * 0.2, abs=1e-4)


@pytest.mark.parametrize("stabilise", [stabilise_antenna, stabilise_slot])
def test_stabilised_csi_does_not_depend_on_a_slots_common_phase(stabilise: object) -> None:
    assert callable(stabilise)
    csi = some_csi()
    phases = np.exp(1j * np.random.default_rng(3).uniform(0, 2 * np.pi, (SLOTS, 1, 1)))
    turned = (csi * phases).astype(np.complex64)
    assert stabilise(turned) == pytest.approx(stabilise(csi), abs=1e-4)


def test_stacking_is_13_to_15() -> None:
    csi = some_csi()
    X = stack(csi)
    assert X.shape == (SLOTS * ANTENNAS, SUBCARRIERS, 2)
    for t in range(SLOTS):
        for m in range(ANTENNAS):
            for n in range(SUBCARRIERS):
                # The paper counts from one: row (t - 1) N_r + m.
                assert X[t * ANTENNAS + m, n, 0] == csi[t, m, n].real
                assert X[t * ANTENNAS + m, n, 1] == csi[t, m, n].imag


@pytest.mark.parametrize("delay_turns", [0.02, 0.3, 0.6, 0.95])
def test_the_delay_of_one_path_is_measured_and_taken_out(delay_turns: float) -> None:
    flat, slope = remove_delay(one_path(delay_turns, drift=0.0)[:1])
    assert -slope / (2 * np.pi) == pytest.approx(delay_turns, abs=1e-4)
    assert np.angle(flat[0, :, 1:] * flat[0, :, :-1].conj()) == pytest.approx(0.0, abs=1e-3)


def test_slot_modes_are_orthogonal_polynomials() -> None:
    basis = slot_basis(10, 3)
    assert basis @ basis.T == pytest.approx(np.eye(3) / 10)
    assert basis[0] == pytest.approx(0.1)  # the mean
    assert np.diff(basis[1]) == pytest.approx(np.diff(basis[1])[0])  # the drift


def test_slot_modes_of_three_slots_in_closed_form() -> None:
    """Of a shape that is the same at every start: the last slot counts positively in each."""
    wanted = np.array([[1, 1, 1], [-1, 0, 1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
    assert slot_basis(3, 3) == pytest.approx(wanted / np.sqrt(3))
    assert (slot_basis(10, 4)[:, -1] > 0).all()


def test_one_phase_is_left_to_agree_on_and_a_rule_for_it() -> None:
    """That of the strongest antenna at the middle subcarrier; without delay, of the middle antenna."""
    csi = some_csi()
    csi[:, 1] *= 2
    turned = stabilise_slot(csi)
    assert turned[:, 1, SUBCARRIERS // 2].mean() == pytest.approx(
        abs(turned[:, 1, SUBCARRIERS // 2].mean()), abs=1e-5
    )
    for modes in (csi, one_path(0.3, drift=0.0)[:1]):
        flat, slope = remove_delay(modes)
        together = complex(flat[0, ANTENNAS // 2].sum())
        assert together == pytest.approx(abs(together), rel=1e-5)
        assert -2 * np.pi < slope <= 0
        assert np.abs(flat) == pytest.approx(np.abs(modes), abs=1e-5)


def test_a_token_is_a_subcarrier_mode_by_mode_and_antenna_by_antenna_real_before_imaginary() -> None:
    csi = some_csi(seed=7)
    features, _, _ = encoder_input(csi, NOISE, "slot", 2)
    turned = stabilise_slot(normalise(csi))
    for mode, weights in enumerate(slot_basis(SLOTS, 2)):
        wanted = np.einsum("t,tmn->nm", weights, turned)
        at = slice(mode * ANTENNAS, (mode + 1) * ANTENNAS)
        assert features[:, at] == pytest.approx(wanted.real, abs=1e-3)
        assert features[:, 2 * ANTENNAS :][:, at] == pytest.approx(wanted.imag, abs=1e-3)


def test_a_lone_path_has_all_its_power_in_the_first_mode() -> None:
    """The slots are turned onto each other first, so Doppler is gone."""
    features, _, _ = encoder_input(one_path(0.2, drift=0.3), NOISE, "delay", 3)
    modes = features.reshape(SUBCARRIERS, 2, 3, ANTENNAS)
    power = np.square(modes).sum(axis=(0, 1, 3)) / (ANTENNAS * SUBCARRIERS)
    assert power == pytest.approx([1.0, 0.0, 0.0], abs=1e-2)


def test_side_features_tell_gain_and_delay() -> None:
    _, side, gain = encoder_input(one_path(0.25), NOISE, "delay", 1)
    assert side.shape == (2 + 2 * len(HARMONICS),)
    assert side[0] == pytest.approx(gain / 30 - 1)
    assert side[1] == pytest.approx(4 * 0.25 - 1.5, abs=1e-3)
    for number, k in enumerate(HARMONICS):
        angle = 2 * np.pi * k * 0.25
        assert side[2 + 2 * number : 4 + 2 * number] == pytest.approx(
            [math.cos(angle), math.sin(angle)], abs=1e-3 * k
        )


@pytest.mark.parametrize("modes", [1, 2, None])
@pytest.mark.parametrize("phase_reference", ["antenna", "slot", "delay"])
def test_shapes_and_that_numpy_is_torch(phase_reference: str, modes: int | None) -> None:
    csi = some_csi(2, 3)
    if phase_reference == "delay" and modes is None:
        with pytest.raises(ValueError, match="'delay' needs modes"):
            encoder_input(csi, NOISE, phase_reference, modes)
        return
    by_numpy = encoder_input(csi, NOISE, phase_reference, modes)
    by_torch = encoder_input(torch.tensor(csi), NOISE, phase_reference, modes)
    features, side, gain = by_numpy
    inner = (SLOTS * ANTENNAS, SUBCARRIERS, 2) if modes is None else (SUBCARRIERS, 2 * modes * ANTENNAS)
    assert features.shape == (2, 3, *inner)
    assert side.shape == (2, 3, 12 if phase_reference == "delay" else 1)
    assert side.shape[-1] == side_features(phase_reference)
    assert gain.shape == (2, 3)
    for one, other in zip(by_numpy, by_torch, strict=True):
        assert one.dtype == np.float32
        assert one == pytest.approx(other.numpy(), abs=2e-4)


@pytest.mark.parametrize("phase_reference", ["antenna", "slot", "delay"])
def test_a_link_does_not_depend_on_the_others_of_the_batch(phase_reference: str) -> None:
    csi = some_csi(2, 3)
    together = encoder_input(csi, NOISE, phase_reference, 1)
    alone = encoder_input(csi[1, 2], NOISE, phase_reference, 1)
    for one, other in zip(together, alone, strict=True):
        assert one[1, 2] == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("phase_reference", ["antenna", "slot", "delay"])
def test_features_do_not_depend_on_the_scale(phase_reference: str) -> None:
    """Real channels are of the order of 1e-6: nothing may vanish in a threshold."""
    csi = some_csi()
    large, _, gain = encoder_input(csi, NOISE, phase_reference, 1)
    small, _, same_gain = encoder_input(csi * np.float32(1e-6), NOISE * 1e-12, phase_reference, 1)
    assert small == pytest.approx(large, abs=1e-4)
    assert same_gain == pytest.approx(gain, abs=1e-4)


def test_an_unknown_phase_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="phase_reference must be one of antenna, slot, delay, not none"):
        encoder_input(some_csi(), NOISE, "none", 1)
