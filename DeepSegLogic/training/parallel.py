"""Training on several GPUs of a machine: a process each, with the same weights, and patches of its own.

``torchrun`` starts the processes. torch's ``DistributedDataParallel`` averages their gradients, so that a step is one
with as many times the batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn

from ..util.errors import UsageError


@dataclass(frozen=True)
class Ranks:
    """The processes of a training.

    Attributes:
        rank: number of this one; the first one, 0, alone writes files.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def of_torchrun(cls) -> Ranks:
        """What ``torchrun`` says in the environment, before the processes can talk."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def wrapped(self, network: nn.Module) -> nn.Module:
        """A network as a function from images to logits of all levels, whose gradients are averaged."""
        levels = Levels(network)
        if self.size == 1:
            return levels
        return nn.parallel.DistributedDataParallel(levels, static_graph=True)

    def share(self, first: int, steps: int, batch: int) -> Iterator[int]:
        """Numbers of this process's samples: its part of each step's, from ``first`` on."""
        for step in range(steps):
            start = first + (step * self.size + self.rank) * batch
            yield from range(start, start + batch)

    def mean(self, loss: float, device: torch.device) -> float:
        """The mean loss; not a number if it is none for any process."""
        if self.size == 1:
            return loss
        told = torch.tensor(loss / self.size, dtype=torch.float64, device=device)
        distributed.all_reduce(told)
        return float(told)

    def agreed(self, steps: int, stop: bool, device: torch.device) -> tuple[int, bool]:
        """The steps that the first process plans, and whether any process wants to stop.

        All processes get the same, so that they go on or stop together.
        """
        if self.size == 1:
            return steps, stop
        told = torch.tensor([steps if self.is_first else 0, int(stop)], device=device)
        distributed.all_reduce(told)
        planned, stops = told.tolist()
        return planned, stops > 0

    def learnt_by_all(self, loss: torch.Tensor, outputs: list[torch.Tensor]) -> torch.Tensor:
        """A loss that has a gradient, though of zeros, where there is nothing to learn: the others wait for it."""
        if self.size == 1 or loss.requires_grad:
            return loss
        return loss + 0 * torch.stack([level.float().sum() for level in outputs]).sum()

    def wait(self) -> None:
        """Wait for all."""
        if self.size > 1:
            distributed.barrier()


ALONE = Ranks()


class Levels(nn.Module):
    """From images to the logits of each level of a network's decoder, fine to coarse."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        levels = getattr(self.network, "levels", None)
        found: list[torch.Tensor] = levels(images) if levels is not None else [self.network(images)]
        return found


@contextmanager
def several(device: torch.device) -> Iterator[tuple[Ranks, torch.device]]:
    """In the ``with`` block, the processes that ``torchrun`` started can talk; gives this one, and its device.

    Raises:
        UsageError: there are more processes than GPUs.
    """
    if Ranks.of_torchrun().size == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        own = int(os.environ.get("LOCAL_RANK", "0"))
        if own >= torch.cuda.device_count():
            raise UsageError(
                f"There are more processes than GPUs ({torch.cuda.device_count()}).",
                "Give torchrun as many processes as there are GPUs.",
                code="usage.device",
            )
        device = torch.device("cuda", own)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()
