"""The losses that keep what a model knows while its successor learns.

Where a case does not label a structure, the model itself labels it softly (with the background of each case: Cermelli
et al., Modeling the background, CVPR 2020, arXiv:2002.00718).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from .losses import IGNORED, narrowed


class Distillation:
    """The loss that keeps what a model knows, see :attr:`~.loop.Training.also`.

    In each case, the old network says softly where the structures are that were not looked for there.

    Args:
        teacher: the old network; it is not changed.
        classes: number of its output channels.
        looked_for: per case, the classes that were looked for.
        device: that computes.
    """

    def __init__(self, teacher: nn.Module, classes: int, looked_for: Sequence[Sequence[int]], device: torch.device):
        self._teacher = teacher.to(device).eval().requires_grad_(False)
        self._asked = [tuple(c for c in range(1, classes) if c not in known) for known in looked_for]
        self._device = device

    def __call__(
        self, images: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, cases: Sequence[int]
    ) -> torch.Tensor:
        """The mean divergence of the new network from the old one, over the voxels that have no label."""
        total = logits.new_zeros((), dtype=torch.float32)
        if not any(self._asked[case] for case in cases):
            return total
        with torch.no_grad(), torch.autocast(self._device.type, enabled=self._device.type == "cuda"):
            old = self._teacher(images).float()
        unlabelled = torch.where(labels == 0, 0, IGNORED)
        for n, case in enumerate(cases):
            if asked := self._asked[case]:
                own, _ = narrowed(logits[n : n + 1].float(), unlabelled[n : n + 1], asked)
                theirs, _ = narrowed(old[n : n + 1], unlabelled[n : n + 1], asked)
                kept = functional.kl_div(own.log_softmax(1), theirs.log_softmax(1), log_target=True, reduction="none")
                total = total + kept.sum(1).mean()
        return total / len(cases)


class RegionDistillation:
    """As :class:`Distillation`, for a new network whose outputs overlap.

    Args:
        teacher: the old network; it is not changed.
        channels: of the teacher, by the number from 1 of the output that goes on with it.
        exclusive: whether the teacher's outputs share a softmax; else each has a sigmoid of its own.
        looked_for: per case, the outputs that were looked for.
        device: that computes.
    """

    def __init__(
        self,
        teacher: nn.Module,
        channels: Mapping[int, int],
        exclusive: bool,
        looked_for: Sequence[Sequence[int]],
        device: torch.device,
    ):
        self._teacher = teacher.to(device).eval().requires_grad_(False)
        self._asked = [[n for n in channels if n not in known] for known in looked_for]
        self._channels, self._exclusive, self._device = channels, exclusive, device

    def __call__(
        self, images: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, cases: Sequence[int]
    ) -> torch.Tensor:
        """The mean divergence of the new network's outputs from the old one's, over all voxels and outputs."""
        total = logits.new_zeros((), dtype=torch.float32)
        if not any(self._asked[case] for case in cases):
            return total
        with torch.no_grad(), torch.autocast(self._device.type, enabled=self._device.type == "cuda"):
            old = self._teacher(images).float()
            old = old.softmax(1) if self._exclusive else old.sigmoid()
        for n, case in enumerate(cases):
            if asked := self._asked[case]:
                own, theirs = logits[n, [a - 1 for a in asked]].float(), old[n, [self._channels[a] for a in asked]]
                differs = functional.binary_cross_entropy_with_logits(own, theirs, reduction="none")
                kept = differs - torch.special.entr(theirs) - torch.special.entr(1 - theirs)
                total = total + kept.sum(0).mean()
        return total / (len(cases) * logits.shape[1])
