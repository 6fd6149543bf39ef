"""Losses for cases in which not everything was looked for.

What was not looked for in a case is not learnt as background there: its probability is added to that of the background
(marginal loss: Shi et al., Medical Image Analysis 2021, doi:10.1016/j.media.2021.101979). MONAI's losses are then
computed on what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from ..util.errors import ResourceError

IGNORED = -1
"""The label of voxels that nothing is learnt from."""

_SURE = 30.0  # logit
_Rule = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor, Sequence[int]], torch.Tensor]
"""From logits (N, C, Z, Y, X), labels (N, Z, Y, X) and the numbers of the N cases to a scalar."""

_FOREGROUND = {"include_background": False, "to_onehot_y": True, "softmax": True}
_BATCH = {**_FOREGROUND, "batch": True}
_LOSSES: Mapping[str, Sequence[tuple[str, float, dict[str, Any]]]] = {  # class in monai.losses, weight, arguments
    "dice": [("DiceLoss", 1.0, _BATCH)],
    "dice-ce": [("DiceCELoss", 1.0, _BATCH)],
    "focal": [("FocalLoss", 1.0, {"to_onehot_y": True, "use_softmax": True})],
    "dice-focal": [("DiceFocalLoss", 1.0, _BATCH)],
    "tversky": [("TverskyLoss", 1.0, {**_BATCH, "alpha": 0.3, "beta": 0.7})],
    "cldice": [("DiceCELoss", 1.0, _BATCH), ("SoftclDiceLoss", 1.0, _FOREGROUND)],
    "boundary": [("DiceCELoss", 1.0, _BATCH), ("BoundaryLoss", 0.05, _FOREGROUND)],
    "ce": [],
}
LOSSES = tuple(_LOSSES)
"""Names of losses. clDice is for vessels (Shit et al., CVPR 2021), the boundary loss for thin and small structures
(Kervadec et al., MIDL 2019); both are added to Dice and cross-entropy."""


class CaseLoss:
    """A loss of MONAI for cases with different sets of structures that were looked for.

    Args:
        name: one of :data:`LOSSES`.
        looked_for: per case, the classes that were looked for, in ascending order, without the background's 0.

    Raises:
        ResourceError: MONAI is too old for this loss.
    """

    def __init__(self, name: str, looked_for: Sequence[Sequence[int]]) -> None:
        self._rules = [(weight, _made(kind, arguments)) for kind, weight, arguments in _LOSSES[name]]
        self._looked_for = [tuple(known) for known in looked_for]

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor, cases: Sequence[int]) -> torch.Tensor:
        """The mean over the patches; see :data:`Loss`. Labels are classes, or :data:`IGNORED`."""
        total = logits.new_zeros((), dtype=torch.float32)
        asked = [self._looked_for[case] for case in cases]
        for known in sorted(set(asked)):
            chosen = [n for n, other in enumerate(asked) if other == known]
            if known:
                narrow, target = narrowed(logits[chosen].float(), labels[chosen], known)
                total = total + len(chosen) * self._loss(narrow, target)
        return total / len(asked)

    def _loss(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if not self._rules:
            return functional.cross_entropy(logits, target)
        return torch.stack([weight * rule(logits, target[:, None]) for weight, rule in self._rules]).sum()


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


def _made(kind: str, arguments: dict[str, Any]) -> _Rule:
    from monai import losses

    try:
        rule: _Rule = getattr(losses, kind)(**arguments)
    except (AttributeError, TypeError) as error:
        raise ResourceError(
            f"The installed MONAI has no {kind} as it is needed here.",
            "Update MONAI to 1.6 or newer, or choose another loss.",
            code="resource.monai",
        ) from error
    return rule
