"""Dice on patches of held-out cases: a quick measure of how far a training is, as nnU-Net's pseudo Dice."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from .losses import IGNORED, in_region, narrowed
from .patches import Patches
from .planning import TrainingPlan
from .prepared import PreparedCase

_PATCHES = 12
_SEED = 20_26
_FIFTH = 5


def names_held_out(patients: Sequence[Sequence[str]]) -> set[str]:
    """The cases to measure on: of whole patients, at most every fifth case; none of fewer than five.

    Args:
        patients: names of the cases of each.
    """
    names, most = set[str](), sum(map(len, patients)) // _FIFTH
    for number in np.random.default_rng(0).permutation(len(patients)):
        if len(names) + len(patients[number]) <= most:
            names.update(patients[number])
    return names


def held_out(
    cases: Sequence[PreparedCase], patients: Sequence[Sequence[str]]
) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """Cases to train on and to measure on, see :func:`names_held_out`."""
    apart = names_held_out(patients)
    return [c for c in cases if c.name not in apart], [c for c in cases if c.name in apart]


class PatchDice:
    """The mean Dice over the structures that occur in some patch, each over the voxels of all patches together.

    Args:
        cases: to measure on; at least one.
        plan: that the cases were prepared for.
        device: that computes.
    """

    def __init__(self, cases: Sequence[PreparedCase], plan: TrainingPlan, device: torch.device):
        table = plan.region_table
        self._table = None if table is None else torch.from_numpy(table)
        self._patches = Patches(cases, plan.patch, plan.spacing, _SEED, augment=False)
        self._known, self._device = [case.looked_for for case in cases], device
        self._structures = len(plan.structures)

    def __call__(self, network: nn.Module) -> float:
        """From a network to its Dice, 0 to 1; NaN if no structure occurs."""
        both, either = np.zeros((2, 1 + self._structures))
        occurs = np.zeros(len(both), bool)
        with torch.inference_mode():
            for n in range(_PATCHES):
                image, labels, case = self._patches[n]
                known = list(self._known[case])
                if not known:
                    continue
                logits = network(image[None].to(self._device)).float().cpu()
                found, wanted = self._masks(logits, labels[None], known)
                both[known] += _voxels(found & wanted)
                either[known] += _voxels(found) + _voxels(wanted)
                occurs[known] |= _voxels(wanted) > 0
        return float((2 * both[occurs] / either[occurs]).mean()) if occurs.any() else math.nan

    def _masks(self, logits: torch.Tensor, labels: torch.Tensor, known: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the network and the labels have each known structure, (1, known, Z, Y, X) bool."""
        if self._table is not None:
            rows = [n - 1 for n in known]
            truth = torch.stack([in_region(labels, self._table[row]) for row in rows], 1)
            return (logits[:, rows] > 0) & (truth != IGNORED), truth == 1
        narrow, target = narrowed(logits, labels, known)
        found, wanted = (
            functional.one_hot(label * (labels != IGNORED), len(known) + 1).movedim(-1, 1)[:, 1:].bool()
            for label in (narrow.argmax(1), target)
        )
        return found, wanted


def _voxels(masks: torch.Tensor) -> npt.NDArray[np.int64]:
    """How many are in each mask (1, n, Z, Y, X)."""
    counts: npt.NDArray[np.int64] = masks.sum((0, 2, 3, 4)).numpy()
    return counts
