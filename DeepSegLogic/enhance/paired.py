"""Training from pairs: a U-Net learns the difference between worse and good patches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from ..util.progress import Cancel, Progress, check
from .network import HU_SCALE, Cleaner, new_network, scaled
from .samples import PAIRS, Planes
from .trial import must_be_finite

WIDTH, BATCH, RATE = 16, 16, 1.5e-3
INPUTS = {"denoise": 3, "slices": 1}
"""Channels of the network, by task: see :class:`~DeepSegLogic.enhance.network.Cleaner`."""


class Clock:
    """Time of a training, in minutes."""

    def __init__(self, minutes: float) -> None:
        self.minutes, self._began = minutes, time.monotonic()

    @property
    def share(self) -> float:
        """Of the time that is gone, 0 to 1."""
        return min(1.0, (time.monotonic() - self._began) / (60 * self.minutes))

    def rate(self, highest: float) -> float:
        """A learning rate that falls from the highest one to nearly 0, as a cosine; it rises during the first 3 %."""
        share = self.share
        return highest * min(1.0, (share + 0.003) / 0.03) * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)

    def falling(self, highest: float) -> float:
        """A learning rate that is the highest one for half of the time and then falls to 0, as a line."""
        return highest * min(1.0, 2 * (1 - self.share))


def learn_pairs(
    task: str,
    cts: Sequence[Planes],
    minutes: float,
    device: torch.device,
    progress: Progress,
    cancel: Cancel,
    *,
    seed: int = 0,
    log: Callable[[int, float], None] = lambda step, loss: None,
) -> Cleaner:
    """Train a network on good CTs, which are made worse.

    Args:
        task: ``"denoise"`` or ``"slices"``.
        minutes: to train.
        log: is called with each step and its loss, the mean absolute error in HU.

    Raises:
        ModelError: the training diverged.
    """
    torch.manual_seed(seed)
    rng, sample = np.random.default_rng(seed), PAIRS[task]
    network = new_network(WIDTH, INPUTS[task]).to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-4)
    clock, step = Clock(minutes), 0
    while clock.share < 1:
        check(cancel)
        for x, y in zip(*(scaled(hu.to(device)).split(BATCH) for hu in sample(cts, rng)), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = clock.rate(RATE)
            middle = x.shape[1] // 2
            loss = functional.l1_loss(x[:, middle : middle + 1] + network(x), y)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            step += 1
            must_be_finite(loss.item(), step)
            log(step, HU_SCALE * loss.item())
        progress("train", clock.share, f"step {step}")
    facts = {"training": "pairs", "cts": len(cts), "steps": step}
    return Cleaner(task, network.eval(), WIDTH, INPUTS[task], facts)
