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
        asked: per case, the outputs of the new network of which the old one is asked.
        device: that computes.
    """

    def __init__(self, teacher: nn.Module, asked: Sequence[Sequence[int]], device: torch.device):
        self._teacher = teacher.to(device).eval().requires_grad_(False)
        self._asked, self._device = asked, device

    def __call__(
        self, images: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, cases: Sequence[int]
    ) -> torch.Tensor:
        """The mean divergence of the new network from the old one."""
        total = logits.new_zeros((), dtype=torch.float32)
        if not any(self._asked[case] for case in cases):
            return total
        with torch.no_grad(), torch.autocast(self._device.type, enabled=self._device.type == "cuda"):
            old = self._teacher(images).float()
        for n, case in enumerate(cases):
            if asked := self._asked[case]:
                total = total + self._differs(logits[n : n + 1].float(), old[n : n + 1], labels[n : n + 1], asked)
        return total / len(cases)

    def _differs(
        self, logits: torch.Tensor, old: torch.Tensor, labels: torch.Tensor, asked: Sequence[int]
    ) -> torch.Tensor:
        """The mean divergence in one case."""
        raise NotImplementedError


class ClassDistillation(Distillation):
    """For classes that share a softmax with the background; over the voxels that have no label.

    Args:
        classes: number of the teacher's output channels.
        looked_for: per case, the classes that were looked for.
    """

    def __init__(self, teacher: nn.Module, classes: int, looked_for: Sequence[Sequence[int]], device: torch.device):
        super().__init__(teacher, [[c for c in range(1, classes) if c not in known] for known in looked_for], device)

    def _differs(
        self, logits: torch.Tensor, old: torch.Tensor, labels: torch.Tensor, asked: Sequence[int]
    ) -> torch.Tensor:
        unlabelled = torch.where(labels == 0, 0, IGNORED)
        own, theirs = (narrowed(one, unlabelled, asked)[0].log_softmax(1) for one in (logits, old))
        return functional.kl_div(own, theirs, log_target=True, reduction="none").sum(1).mean()


class RegionDistillation(Distillation):
    """For outputs that overlap; over all voxels and outputs.

    Args:
        channels: of the teacher, by the number from 1 of the output that goes on with it.
        exclusive: whether the teacher's outputs share a softmax; else each has a sigmoid of its own.
        looked_for: per case, the outputs that were looked for.
    """

    def __init__(
        self,
        teacher: nn.Module,
        channels: Mapping[int, int],
        exclusive: bool,
        looked_for: Sequence[Sequence[int]],
        device: torch.device,
    ):
        super().__init__(teacher, [[n for n in channels if n not in known] for known in looked_for], device)
        self._channels, self._exclusive = channels, exclusive

    def _differs(
        self, logits: torch.Tensor, old: torch.Tensor, labels: torch.Tensor, asked: Sequence[int]
    ) -> torch.Tensor:
        probabilities = old.softmax(1) if self._exclusive else old.sigmoid()
        own, theirs = logits[0, [a - 1 for a in asked]], probabilities[0, [self._channels[a] for a in asked]]
        differs = functional.binary_cross_entropy_with_logits(own, theirs, reduction="none")
        kept: torch.Tensor = differs - torch.special.entr(theirs) - torch.special.entr(1 - theirs)
        return kept.sum(0).mean() / logits.shape[1]
