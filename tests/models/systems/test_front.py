"""What encoders are fed: each message is what its page says, against loops."""

import numpy as np
import pytest
import torch

from models.payloads import PAYLOADS
from models.preprocessing import encoder_input, gain_db
from models.systems.front import kept_subcarriers, payload_bits, power_map, system_input

MUNICH = (10, 8, 24)
SIZES = {
    "embedding": 7_680, "complex64": 122_880, "bfp9": 35_840, "mean-bfp9": 3_584, "adcpm": 6_144, "fix": 96,
}  # fmt: skip


def csi(*lead: int, seed: int = 1) -> np.ndarray:
    draws = np.random.default_rng(seed)
    shape = (*lead, 4, 8, 12)
    return (draws.standard_normal(shape) + 1j * draws.standard_normal(shape)).astype(np.complex64)


@pytest.mark.parametrize("message", SIZES)
def test_messages_are_as_long_as_the_table_says(message: str) -> None:
    assert payload_bits(message, MUNICH, 768, 10) == SIZES[message]


def test_subcarriers_are_kept_in_the_middle_of_the_band() -> None:
    assert kept_subcarriers(24, 24, 1) == tuple(range(24))
    assert kept_subcarriers(24, 3, 8) == (3, 11, 19)
    assert kept_subcarriers(24, 6, 1) == (9, 10, 11, 12, 13, 14)
    with pytest.raises(ValueError, match="4 subcarriers 8 apart are more than 24"):
        kept_subcarriers(24, 4, 8)


def test_the_power_map_is_the_mean_power_of_beams_and_delays() -> None:
    """|V^H H F|^2 with plain sums: beams of a 2 × 4 array, delays, decades over the noise."""
    found, h = power_map(csi()[None], 0.5)[0], csi()
    for vertical in range(2):
        for level in range(4):
            for delay in range(12):
                power = 0.0
                for slot in range(4):
                    cell = 0.0j
                    for column in range(4):
                        for row in range(2):
                            for n in range(12):
                                turns = vertical * row / 2 + (level - 2) * column / 4 - n * delay / 12
                                cell += h[slot, 2 * column + row, n] * np.exp(-2j * np.pi * turns)
                    power += abs(cell) ** 2 / (8 * 12) / 4
                assert found[delay, 4 * vertical + level] == pytest.approx(
                    np.log10(max(power, 0.5) / 0.5), abs=1e-5
                )


@pytest.mark.parametrize("message", ["complex64", "16-bit", "bfp9", "mean-bfp9"])
def test_csi_is_encoded_as_it_arrives_and_the_gain_is_that_of_before(message: str) -> None:
    sent = csi(5, 3)
    features, side, gain = system_input(sent, 0.7, message, "delay", 1)
    arrived = PAYLOADS[message].sent(sent)
    wanted = encoder_input(arrived, 0.7, "delay", 1)
    assert np.array_equal(features, wanted[0])
    assert np.array_equal(side, wanted[1])
    assert np.array_equal(gain, gain_db(sent, 0.7))


@pytest.mark.parametrize("message", ["embedding", "fix"])
def test_encoders_at_the_base_station_see_the_csi_itself(message: str) -> None:
    found = system_input(csi(5, 3), 0.7, message, "slot", 2)
    assert all(
        np.array_equal(a, b) for a, b in zip(found, encoder_input(csi(5, 3), 0.7, "slot", 2), strict=True)
    )


@pytest.mark.parametrize("message", ["embedding", "complex64", "16-bit", "bfp9", "mean-bfp9", "adcpm", "fix"])
def test_training_and_runtime_see_the_same(message: str) -> None:
    """torch and NumPy, but for rounding: a step of nine bits may fall to the other side."""
    one = system_input(csi(5, 3), 1.0, message, "delay", 1)
    other = system_input(torch.from_numpy(csi(5, 3)), 1.0, message, "delay", 1)
    for ours, theirs in zip(one, other, strict=True):
        assert ours == pytest.approx(theirs.numpy(), abs=0.03 if "bfp" in message else 2e-4)
