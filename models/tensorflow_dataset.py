"""Training samples for pipelines that are still TensorFlow: the very ones that the torch training draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor


class Drawing(Protocol):
    """What draws batches, of traced points or of a data set."""

    def draw(self, size: int) -> tuple[Tensor, ...]:
        """A random batch."""
        ...

    def reseed(self, seed: int) -> None:
        """Draw from now on as a new sampler of this seed does."""
        ...

    def state(self) -> dict[str, Any]:
        """Where the draws are."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on drawing where the state was taken."""
        ...


def batches(sampler: Drawing, size: int, seed: int, count: int | None = None) -> Iterator[tuple[Tensor, ...]]:
    """The batches that a new sampler of this seed draws, one after the other.

    Args:
        sampler: Draws them; it is reseeded.
        size: Samples in a batch.
        seed: Of the draws.
        count: How many batches; None: without end.
    """
    sampler.reseed(seed)
    drawn = 0
    while count is None or drawn < count:
        yield sampler.draw(size)
        drawn += 1


def as_tf_dataset(sampler: Drawing, size: int, seed: int = 1, count: int | None = None) -> Any:
    """A ``tf.data.Dataset`` of :func:`batches`; needs the extra ``tensorflow``.

    Every iteration starts anew with the same samples, and several at once would share one sampler.

    Args:
        sampler: See :func:`batches`.
        size: Samples in a batch.
        seed: Of the draws.
        count: How many batches; None: without end.

    Raises:
        ImportError: TensorFlow is not installed.
    """
    import tensorflow as tf

    before = sampler.state()
    first = next(batches(sampler, size, seed, 1))
    sampler.restore(before)
    signature = tuple(
        tf.TensorSpec(tuple(part.shape), tf.as_dtype(part.cpu().numpy().dtype)) for part in first
    )

    def arrays() -> Iterator[tuple[Any, ...]]:
        with torch.no_grad():
            for batch in batches(sampler, size, seed, count):
                yield tuple(part.cpu().numpy() for part in batch)

    return tf.data.Dataset.from_generator(arrays, output_signature=signature)
