"""Losses for cases in which not everything was looked for.

What was not looked for in a case is not learnt as background there: its probability is added to that of the background
(marginal loss: Shi et al., Medical Image Analysis 2021, doi:10.1016/j.media.2021.101979). MONAI's losses and
cross-entropy are then computed on what is left. Means over voxels leave out those that are ignored, as nnU-Net's do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..data.types import MaskArray
from ..util.errors import ResourceError, UsageError

IGNORED = -1
"""The label of voxels that nothing is learnt from."""

_SURE = 30.0  # logit
_LEAST = 1e-6  # sum of weights of voxels
Loss = Callable[[torch.Tensor, torch.Tensor, Sequence[int]], torch.Tensor]
"""From logits (N, C, Z, Y, X), labels (N, Z, Y, X) and the numbers of the N cases to a scalar."""

_FOREGROUND = {"include_background": False, "to_onehot_y": True, "softmax": True}
_BATCH = {**_FOREGROUND, "batch": True}
_FOCAL = {"to_onehot_y": True, "use_softmax": True}  # MONAI's DiceFocalLoss has sigmoids, which no output is read by
_WEIGHTED = {"DiceLoss": 1, "FocalLoss": 0, "CrossEntropy": 0}  # first weight used
_OVER_VOXELS = ("FocalLoss", "BoundaryLoss")  # of MONAI: means over all voxels, also those that are ignored
_Parts = Sequence[tuple[str, float, dict[str, Any]]]  # class here or in monai.losses, factor, arguments
_DICE_CE: _Parts = [("DiceLoss", 1.0, _BATCH), ("CrossEntropy", 1.0, {})]
_LOSSES: Mapping[str, _Parts] = {
    "dice": [("DiceLoss", 1.0, _BATCH)],
    "dice-ce": _DICE_CE,
    "focal": [("FocalLoss", 1.0, _FOCAL)],
    "dice-focal": [("DiceLoss", 1.0, _BATCH), ("FocalLoss", 1.0, _FOCAL)],
    "tversky": [("TverskyLoss", 1.0, {**_BATCH, "alpha": 0.3, "beta": 0.7})],
    "cldice": [*_DICE_CE, ("SoftclDiceLoss", 1.0, _FOREGROUND)],
    "boundary": [*_DICE_CE, ("BoundaryLoss", 0.05, _FOREGROUND)],
    "ce": [("CrossEntropy", 1.0, {})],
}
LOSSES = tuple(_LOSSES)
"""Names of losses. clDice is for vessels (Shit et al., CVPR 2021), the boundary loss for thin and small structures
(Kervadec et al., MIDL 2019); both are added to Dice and cross-entropy."""


class CaseLoss:
    """A loss of MONAI for cases with different sets of structures that were looked for.

    Args:
        name: one of :data:`LOSSES`.
        looked_for: per case, the classes that were looked for, in ascending order, without the background's 0.
        weights: how much each class from 1 counts; none for 1 each. The background's weight is 1.

    Raises:
        ResourceError: MONAI is too old for this loss.
        UsageError: this loss has no weights.
    """

    def __init__(self, name: str, looked_for: Sequence[Sequence[int]], weights: Sequence[float] = ()) -> None:
        self._looked_for = [tuple(known) for known in looked_for]
        self._rules = {known: _rules(name, _weights_of(known, weights)) for known in self._looked_for}

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, cases: Sequence[int]) -> torch.Tensor:
        """The mean over the patches; see :data:`Loss`. Labels are classes, or :data:`IGNORED`."""
        total = logits.new_zeros((), dtype=torch.float32)
        asked = [self._looked_for[case] for case in cases]
        for known in sorted(set(asked)):
            chosen = [n for n, other in enumerate(asked) if other == known]
            if known:
                narrow, target = narrowed(logits[chosen].float(), labels[chosen], known)
                total = total + len(chosen) * self._loss(narrow, target, labels[chosen] != IGNORED, known)
        return total / len(asked)

    def _loss(
        self, logits: torch.Tensor, target: torch.Tensor, seen: torch.Tensor, known: tuple[int, ...]
    ) -> torch.Tensor:
        parts = []
        for factor, rule in self._rules[known]:
            if isinstance(rule, CrossEntropy):
                parts.append(factor * rule.to(logits.device)(logits, target, seen))
                continue
            value = rule.to(logits.device)(logits, target[:, None])
            if type(rule).__name__ in _OVER_VOXELS:
                value = value * (seen.numel() / seen.sum().clamp(min=1))
            parts.append(factor * value)
        return torch.stack(parts).sum()


class CrossEntropy(nn.Module):
    """torch's cross-entropy as a mean over the voxels that are seen; 0 where none is.

    Args:
        weight: of each class; none for 1 each.
    """

    def __init__(self, weight: torch.Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)

    def forward(self, logits: torch.Tensor, target: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """From logits (N, C, …), classes (N, …) and bool (N, …) to a scalar."""
        costs = functional.cross_entropy(logits, target, self.weight, reduction="none")  # type: ignore[arg-type]
        counted = seen if self.weight is None else self.weight[target] * seen  # type: ignore[index]
        return (costs * seen).sum() / counted.sum().clamp(min=_LEAST)


class RegionLoss:
    """A loss of MONAI for structures that overlap: the mean over structures, each against all that it is not.

    As each output has a sigmoid of its own, it is the loss of two classes whose logits are 0 and that output.

    Args:
        name: one of :data:`LOSSES`.
        looked_for: per case, the outputs that were looked for, counted from 1.
        table: (structures, labels) bool: which label belongs to which structure.
        weights: how much each structure counts; none for 1 each.

    Raises:
        ResourceError: MONAI is too old for this loss.
    """

    def __init__(
        self, name: str, looked_for: Sequence[Sequence[int]], table: MaskArray, weights: Sequence[float] = ()
    ) -> None:
        asked = [[n in known for known in looked_for] for n in range(1, len(table) + 1)]
        self._losses = [CaseLoss(name, [(1,) if one else () for one in per_case]) for per_case in asked]
        self._table, self._weights = torch.from_numpy(table), weights or [1.0] * len(table)

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, cases: Sequence[int]) -> torch.Tensor:
        """See :data:`Loss`; labels are those of the data set, or :data:`IGNORED`."""
        parts = []
        for n, loss in enumerate(self._losses):
            against = torch.stack([torch.zeros_like(logits[:, n]), logits[:, n]], 1)
            parts.append(self._weights[n] * loss(against, in_region(labels, self._table[n]), cases))
        return torch.stack(parts).mean()


def in_region(labels: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """1 where a label belongs to a structure, 0 where not, and :data:`IGNORED` where that is the label.

    Args:
        labels: whole numbers.
        row: (labels,) bool.
    """
    inside = row.to(labels.device)[labels.long().clamp(min=0)].to(labels.dtype)
    return torch.where(labels == IGNORED, IGNORED, inside)


def narrowed(logits: torch.Tensor, labels: torch.Tensor, known: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of the background, with all that was not looked for in it, and of the ``known`` classes.

    Voxels with the label :data:`IGNORED` become background without a doubt, so that they weigh nothing.

    Args:
        logits: (N, C, …) float32.
        labels: (N, …) whole numbers.
        known: classes from 1, in ascending order.
    """
    others = [c for c in range(logits.shape[1]) if c not in known]
    merged = torch.cat([logits[:, others].logsumexp(1, keepdim=True), logits[:, list(known)]], 1)
    place = torch.zeros(logits.shape[1], dtype=torch.long, device=logits.device)
    place[list(known)] = torch.arange(1, len(known) + 1, device=logits.device)
    certain = torch.full((1, len(known) + 1, *[1] * (logits.ndim - 2)), -_SURE, device=logits.device)
    certain[:, 0] = _SURE
    seen = labels != IGNORED
    return torch.where(seen[:, None], merged, certain), place[labels.long().clamp(min=0)]


def over_levels(
    loss: Loss, outputs: Sequence[torch.Tensor], labels: torch.Tensor, cases: Sequence[int]
) -> torch.Tensor:
    """The mean over all levels of a decoder, each coarser one counting half as much (deep supervision).

    Args:
        outputs: logits, fine to coarse.
        labels: (N, Z, Y, X), for the finest.
    """
    parts, weights = [], [0.5**level for level in range(len(outputs))]
    for logits, weight in zip(outputs, weights, strict=True):
        strides = [a // b for a, b in zip(labels.shape[1:], logits.shape[2:], strict=True)]
        parts.append(weight * loss(logits, labels[:, :: strides[0], :: strides[1], :: strides[2]], cases))
    return torch.stack(parts).sum() / sum(weights)


def dice_and_cross_entropy(logits: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """The sum of marginal Dice loss (mean over the classes present) and marginal cross-entropy.

    Unlike :class:`CaseLoss`, each voxel may have its own set of classes.

    Args:
        logits: (C, N) float.
        allowed: (C, N) bool; the classes that each voxel may belong to. All of them: nothing is learnt there.
    """
    probability = logits.softmax(0)
    truth = allowed.to(probability.dtype)
    count = truth.sum(0)
    informative = count < len(allowed)
    likely = (probability * truth).sum(0)
    entropy = -(likely[informative] + 1e-7).log().sum() / informative.sum().clamp(min=1)

    certain = truth * (count == 1)
    size = certain.sum(1)
    present = size > 0
    present[0] = False
    if not present.any():
        return entropy
    overlap = (probability * certain).sum(1)
    # where a class is one of several that are possible, nobody knows whether it is there
    claimed = probability.sum(1) - (probability * truth).sum(1) + overlap
    return entropy + (1 - (2 * overlap + 1) / (claimed + size + 1))[present].mean()


def _weights_of(known: tuple[int, ...], weights: Sequence[float]) -> torch.Tensor | None:
    """Those of the background and of the ``known`` classes; None if there are none."""
    return torch.tensor([1.0, *(weights[c - 1] for c in known)]) if weights else None


def _rules(name: str, weights: torch.Tensor | None) -> list[tuple[float, nn.Module]]:
    """The parts of a loss, each with its factor."""
    parts = _LOSSES[name]
    if weights is not None and not any(kind in _WEIGHTED for kind, _, _ in parts):
        known = ", ".join(n for n, own in _LOSSES.items() if any(kind in _WEIGHTED for kind, _, _ in own))
        raise UsageError(f"The loss {name} has no weights.", f"Choose one of {known}.", code="usage.option")
    return [(factor, _made(kind, arguments, weights)) for kind, factor, arguments in parts]


def _made(kind: str, arguments: dict[str, Any], weights: torch.Tensor | None) -> nn.Module:
    from monai import losses

    own = {} if weights is None or kind not in _WEIGHTED else {"weight": weights[_WEIGHTED[kind] :]}
    if kind == CrossEntropy.__name__:
        return CrossEntropy(**own)
    try:
        rule: nn.Module = getattr(losses, kind)(**arguments, **own)
    except (AttributeError, TypeError) as error:
        raise ResourceError(
            f"The installed MONAI has no {kind} as it is needed here.",
            "Update MONAI to 1.6.1 or newer, or choose another loss.",
            code="resource.monai",
        ) from error
    return rule
