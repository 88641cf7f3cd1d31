"""Networks this small need no large pools and calibrations."""

import pytest


@pytest.fixture(autouse=True)
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.sampler.NOISE_POOL", 1 << 20)
    monkeypatch.setattr("models.training.CALIBRATED_ON", 256)
