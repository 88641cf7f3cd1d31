"""Several processes that train one network, started by `torchrun`: equal weights, samples of their own."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: Its number.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that reports, judges and writes."""
        return self.rank == 0

    @property
    def together(self) -> bool:
        """Whether there are others to talk to: until all of them :func:`leave`."""
        return self.size > 1 and distributed.is_initialized()

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace all gradients by their mean over the processes."""
        if not self.together:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].reshape(gradient.shape))
            start += gradient.numel()

    def from_first(self, value: Tensor) -> Tensor:
        """The first process's value, in all of them."""
        if self.together:
            distributed.broadcast(value, 0)
        return value

    def agree(self, flag: bool, device: str = "cpu") -> bool:
        """The first process's word."""
        if not self.together:
            return flag
        return bool(self.from_first(torch.tensor([float(flag)], device=device)).item())


ALONE = Ranks()
PATIENCE = timedelta(days=1)
"""How long processes wait for each other: the first may have points to trace."""


def started() -> int:
    """How many processes `torchrun` started, this one included; one without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join(device: str) -> Ranks:
    """Meet the processes that `torchrun` started beside this one; alone without it.

    Args:
        device: ``cuda`` meets over NCCL, each process with the GPU of its local number; ``cpu`` over gloo.
    """
    if started() == 1:
        return ALONE
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def leave() -> None:
    """Part from the others, if there are any."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
