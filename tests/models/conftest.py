"""Networks this small need no large pools and calibrations, and are slower on several threads."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def small_sizes() -> Iterator[None]:
    """Of the module: also for models that are exported once for all of its tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.sampler.NOISE_POOL", 1 << 20)
        patch.setattr("models.training.CALIBRATED_ON", 256)
        patch.setattr("models.export.COVARIANCE_BATCHES", 4)
        yield
    torch.set_num_threads(threads)
