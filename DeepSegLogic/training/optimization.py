"""How weights are learnt, and what comes out: settings, schedule, optimizer, running average, outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

Weights = dict[str, torch.Tensor]
Size = tuple[int, ...]
"""Voxels along (Z, Y, X)."""

OPTIMIZERS = ("adamw", "sgd")
SGD_RATE = 1e-2
"""nnU-Net's learning rate."""


@dataclass(frozen=True)
class Options:
    """How the weights are learnt.

    Attributes:
        steps: of the training; None to go by ``seconds``.
        seconds: of the training, stops included; its steps follow from the measured speed.
        optimizer: ``"adamw"``, or ``"sgd"`` with nnU-Net's momentum, better for more than some 50 000 steps.
        rate: highest learning rate.
        schedule: factor of it by step and steps; nnU-Net's by default.
        decay: weight decay.
        clip: largest norm of the gradient.
        average: decay of the running average of the weights, which is the result.
        batch: samples per step.
        half: compute in half precision where the device does it fast.
        seed: of weights.
        every: seconds between two checkpoints.
    """

    steps: int | None = None
    seconds: float | None = None
    optimizer: str = "adamw"
    rate: float = 1e-3
    schedule: Callable[[int, int], float] | None = None
    decay: float = 3e-5
    clip: float = 12.0
    average: float = 0.998
    batch: int = 2
    half: bool = True
    seed: int = 0
    every: float = 180.0


@dataclass
class Outcome:
    """What a training gave.

    Attributes:
        weights: of the best average on held-out patches; of the last one if there are none, see
            :attr:`~.loop.Training.best`.
        step, steps: done and planned.
        dice: mean on held-out patches of ``weights``; None if there are none.
        loss: mean of the last 50 steps.
        stopped: whether the user stopped it early.
        patch, batch: as they were at the end; smaller than planned after a lack of memory.
        warnings: one sentence each.
    """

    weights: Weights
    step: int
    steps: int
    dice: float | None
    loss: float
    stopped: bool
    patch: Size
    batch: int
    warnings: list[str]


def polynomial(step: int, steps: int) -> float:
    """nnU-Net's schedule, after a rise over the first 20 steps."""
    return min(1.0, (step + 1) / 20) * float(max(0.0, 1 - step / max(1, steps)) ** 0.9)


def follow(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move running averages of weights towards those of a network; counters are copied."""
    with torch.no_grad():
        for old, new in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
            old.lerp_(new, 1 - decay) if old.is_floating_point() else old.copy_(new)


def make_optimizer(network: nn.Module, options: Options, slower: Mapping[str, float]) -> torch.optim.Optimizer:
    """The optimizer of a network.

    Args:
        slower: factors of the learning rate by name of parameter; 1 for those without.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        groups.setdefault(slower.get(name, 1.0), []).append(parameter)
    described = [{"params": parameters, "factor": factor} for factor, parameters in groups.items()]
    rate, decay = options.rate, options.decay
    if options.optimizer == "sgd":
        return torch.optim.SGD(described, rate, momentum=0.99, nesterov=True, weight_decay=decay)
    return torch.optim.AdamW(described, rate, weight_decay=decay)
