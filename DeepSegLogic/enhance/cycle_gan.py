"""Training without pairs: a CycleGAN between worse and good images (Zhu et al., ICCV 2017, arXiv:1703.10593).

One generator makes worse planes good, the other good ones worse; each has a discriminator that tells its planes from
real ones. As published: adversarial loss with least squares, cycle loss with weight 10, identity loss with weight 5, a
history of 50 generated images for the discriminators (Shrivastava et al., CVPR 2017), Adam with β₁ = 0.5. The
generators are the U-Nets of :mod:`~DeepSegLogic.enhance.network` instead of residual networks, since they begin by
changing nothing; the discriminators are MONAI's PatchGAN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..util.progress import Cancel, Progress, check
from .network import Cleaner, new_network, scaled
from .paired import WIDTH, Clock
from .samples import Planes, plain_patches
from .trial import must_be_finite

CYCLE, IDENTITY, RATE, HISTORY = 10.0, 5.0, 2e-4, 50
BATCH = 8

Generator = Callable[[torch.Tensor], torch.Tensor]


class History:
    """Generated planes for a discriminator: half of the time one from before instead of the newest."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._kept: list[torch.Tensor] = []
        self._rng = rng

    def mixed(self, planes: torch.Tensor) -> torch.Tensor:
        """The planes (N, 1, Y, X), some of them replaced by earlier ones."""
        given = []
        for plane in planes.detach():
            if len(self._kept) < HISTORY:
                self._kept.append(plane)
                given.append(plane)
            elif self._rng.random() < 0.5:
                place = int(self._rng.integers(HISTORY))
                given.append(self._kept[place])
                self._kept[place] = plane
            else:
                given.append(plane)
        return torch.stack(given)


def learn_unpaired(
    task: str,
    good: Sequence[Planes],
    worse: Sequence[Planes],
    minutes: float,
    device: torch.device,
    progress: Progress,
    cancel: Cancel,
    *,
    seed: int = 0,
    log: Callable[[int, dict[str, float]], None] = lambda step, losses: None,
) -> Cleaner:
    """Train a network on good CTs and on worse ones of other patients.

    Args:
        task: ``"denoise"`` or ``"slices"``.
        good, worse: the CTs of both kinds; for ``"slices"`` those with thin and with thick slices.
        minutes: to train.
        log: is called with each step and its losses by name.

    Raises:
        ModelError: the training diverged.
    """
    from monai.networks.nets import PatchDiscriminator

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    to_good, to_worse = (new_network(WIDTH, 1).to(device).train() for _ in range(2))
    judges = [
        PatchDiscriminator(spatial_dims=2, channels=16, in_channels=1, out_channels=1, num_layers_d=2, norm="INSTANCE")
        .to(device)
        .train()
        for _ in range(2)
    ]
    makers = [*to_good.parameters(), *to_worse.parameters()]
    optimizers = [
        torch.optim.Adam(parameters, RATE, betas=(0.5, 0.999))
        for parameters in (makers, [p for judge in judges for p in judge.parameters()])
    ]
    histories = [History(rng), History(rng)]
    clock, step = Clock(minutes), 0

    def cleaned(x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + to_good(x)
        return y

    def worsened(x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = x + to_worse(x)
        return y

    while clock.share < 1:
        check(cancel)
        bad, fine = (plain_patches(task, cts, kind, rng) for cts, kind in ((worse, "worse"), (good, "good")))
        for x, y in zip(*(scaled(hu.to(device)).split(BATCH) for hu in (bad, fine)), strict=True):
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = clock.falling(RATE)
            losses, made = _makers_losses(x, y, cleaned, worsened, judges)
            _step(optimizers[0], sum(losses.values(), torch.zeros((), device=device)))
            real = (y, x)
            told = [
                (_adversarial(judge, fact, True) + _adversarial(judge, history.mixed(fake), False)) / 2
                for judge, history, fact, fake in zip(judges, histories, real, made, strict=True)
            ]
            _step(optimizers[1], told[0] + told[1])
            step += 1
            values = {name: loss.item() for name, loss in losses.items()} | {"judges": (told[0] + told[1]).item()}
            must_be_finite(sum(values.values()), step)
            log(step, values)
        progress("train", clock.share, f"step {step}")
    facts = {"training": "CycleGAN", "cts": len(good) + len(worse), "steps": step}
    return Cleaner(task, to_good.eval(), WIDTH, 1, facts)


def _makers_losses(
    x: torch.Tensor, y: torch.Tensor, cleaned: Generator, worsened: Generator, judges: Sequence[nn.Module]
) -> tuple[dict[str, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """The losses of both generators on worse planes ``x`` and good ones ``y``, and the planes that they made: good
    ones of ``x``, worse ones of ``y``."""
    good, worse = cleaned(x), worsened(y)
    losses = {
        "adversarial": _adversarial(judges[0], good, True) + _adversarial(judges[1], worse, True),
        "cycle": CYCLE * (functional.l1_loss(worsened(good), x) + functional.l1_loss(cleaned(worse), y)),
        "identity": IDENTITY * (functional.l1_loss(cleaned(y), y) + functional.l1_loss(worsened(x), x)),
    }
    return losses, (good, worse)


def _adversarial(judge: nn.Module, planes: torch.Tensor, real: bool) -> torch.Tensor:
    """Least squares between what a discriminator says, 1 for real and 0 for made, and what it should say."""
    says: torch.Tensor = judge(planes)[-1]
    return ((says - float(real)) ** 2).mean()


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    loss.backward()
    optimizer.step()
