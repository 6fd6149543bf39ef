"""Confidence of the labels: probabilities gathered from rows of logits as they become complete."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..data.affine import same_grid
from ..data.label_map import label_dtype
from ..data.probabilities import TopProbabilities
from ..data.types import Affine, ByteArray, FloatArray, LabelArray, Shape
from ..models.plan import Plan
from .memory_ladder import repeatable

KEPT = 3  # most probable labels kept per voxel
_ROWS = 16  # taken at a time: more need memory; with fewer, more rows lack a neighbour and are looked at twice
_CHUNK = 2**22  # probabilities computed at a time
_GATHERED = 2**20  # logits of voxels at borders, gathered at a time


class ConfidenceMeter:
    """Sums the largest probabilities by label, and their margins at borders.

    Args:
        plan: of the network.
        shape: (Z, Y, X) of its grid.
        grid_to_ras: 4×4 of that grid.
        keep: also keep the ``KEPT`` most probable labels of each voxel.

    Attributes:
        seen: number of rows taken so far.
    """

    def __init__(self, plan: Plan, shape: Shape, grid_to_ras: Affine, keep: bool):
        self._plan, self._grid_to_ras = plan, grid_to_ras
        highest = plan.highest
        self._won = np.zeros((2, highest + 1))  # by label: probabilities, and of how many voxels
        self._margins = np.zeros((2, highest + 1))  # the same of margins at borders
        # Labels, margins and borders of the last row. What a border is depends on the next row, too.
        label, margin, border = (
            torch.empty((0, *shape[1:]), dtype=t) for t in (torch.int32, torch.float32, torch.bool)
        )
        self._last = label, margin, border
        self.seen = 0
        self._kept: tuple[LabelArray, ByteArray] | None = None
        if keep:
            n = min(KEPT, plan.channels + (plan.regions is not None))
            self._kept = np.zeros((n, *shape), label_dtype(highest)), np.zeros((n, *shape), np.uint8)

    @repeatable
    def add(self, logits: torch.Tensor, base: int, final: int) -> None:
        """Take the rows not seen yet, up to ``final``, from logits (rows, Y, X, C) whose first row is ``base``."""
        for start in range(self.seen, final, _ROWS):
            self._take(logits[start - base : min(start + _ROWS, final) - base])

    def _take(self, logits: torch.Tensor) -> None:
        """Take the next rows (rows, Y, X, C)."""
        won, row = np.zeros_like(self._won), self.seen
        winners: list[torch.Tensor] = []
        chances: list[torch.Tensor] = []
        for part in logits.split(max(1, _CHUNK // logits[0].numel())):
            labels, values = self._probabilities(self._tempered(part))
            winners.append(labels[..., 0].to(torch.int32))
            chances.append(values[..., 0])
            won += self._by_label(winners[-1], chances[-1])
            if self._kept is not None:
                for kept, found in zip(self._kept, (labels, (values * 255).round_()), strict=True):
                    kept[:, row : row + len(part)] = np.moveaxis(found[..., : len(kept)].cpu().numpy(), -1, 0)
            row += len(part)
        margins, last = self._margins_at_borders(logits, torch.cat(winners), torch.cat(chances))
        # All at the end, so that a repetition after running out of memory counts nothing twice.
        self._won += won
        self._margins += margins
        self._last, self.seen = last, row

    def confidence(self) -> dict[str, float]:
        """Mean probability of each structure over its voxels; structures without voxels are left out."""
        return self._means(self._won)

    def boundary_margin(self) -> dict[str, float]:
        """Mean of the largest probability less the second largest, over each structure's voxels at its border.

        Border voxels share a face with a voxel of another label, on the network's grid. A structure without a border
        is left out.
        """
        label, margin, border = self._last
        return self._means(self._margins + self._by_label(label[border], margin[border]))

    def top(self) -> TopProbabilities | None:
        """The probabilities kept, if requested."""
        if self._kept is None:
            return None
        return TopProbabilities(*self._kept, self._grid_to_ras)

    def _by_label(self, labels: torch.Tensor, values: torch.Tensor) -> FloatArray:
        """(2, labels): the sum of values, and how many there are."""
        label, value = labels.flatten().cpu().numpy(), values.flatten().cpu().numpy()
        n = self._won.shape[1]
        return np.stack([np.bincount(label, value, n), np.bincount(label, minlength=n)])

    def _means(self, sums: FloatArray) -> dict[str, float]:
        return {
            name: round(float(sums[0, value] / sums[1, value]), 4)
            for value, name in self._plan.labels.items()
            if sums[1, value]
        }

    def _tempered(self, logits: torch.Tensor) -> torch.Tensor:
        temperature = self._plan.temperature
        if isinstance(temperature, tuple):
            return logits / torch.tensor(temperature, dtype=logits.dtype, device=logits.device)
        return logits if temperature == 1 else logits / temperature

    def _probabilities(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The most probable labels (rows, Y, X, n), and how probable they are."""
        n = KEPT if self._kept is not None else 1
        if self._plan.regions is not None:
            return self._region_probabilities(logits)
        n = min(n, logits.shape[-1])
        # `max` is several times faster than `topk`, which sorts.
        values, labels = logits.max(-1, keepdim=True) if n == 1 else logits.topk(n, -1)
        return labels, (values - logits.logsumexp(-1, keepdim=True)).exp_()

    def _region_probabilities(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A voxel has the label of the last region written there: each region's share is what later ones leave it."""
        left = torch.ones_like(logits[..., 0])
        shares: list[torch.Tensor] = []
        for channel in reversed(logits.sigmoid().unbind(-1)):
            shares.append(channel * left)
            left = left * (1 - channel)
        share = torch.stack([left, *reversed(shares)], -1)
        values, index = share.topk(min(KEPT, share.shape[-1]), -1)
        return torch.tensor([0, *(self._plan.regions or ())], device=logits.device)[index], values

    def _margins_at_borders(
        self, logits: torch.Tensor, label: torch.Tensor, chance: torch.Tensor
    ) -> tuple[FloatArray, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """What new rows, with their winning labels and probabilities (rows, Y, X), add to the margins.

        Only border voxels are looked at, since the second largest value costs as much as the largest; of the last row
        all voxels of structures, since they may turn out to be at a border.

        Returns:
            (2, labels) to add, which leaves out the last row, and what is known of that row.
        """
        last_label, last_margin, last_border = (t.to(logits.device) for t in self._last)
        held = len(last_label)
        wholes = torch.cat([last_label, label])
        border = _borders(wholes)
        border[:held] |= last_border
        border &= wholes > 0
        wanted = border[held:].clone()
        wanted[-1] = label[-1] > 0
        margin = torch.zeros_like(chance)
        for where in wanted.nonzero().split(max(1, _GATHERED // logits.shape[-1])):
            at = where.unbind(1)
            margin[at] = self._margin(self._tempered(logits[at]), label[at].long(), chance[at])
        margin = torch.cat([last_margin, margin])
        done = border[:-1]
        added = self._by_label(wholes[:-1][done], margin[:-1][done])
        return added, (wholes[-1:], margin[-1:], border[-1:])

    def _margin(self, logits: torch.Tensor, winner: torch.Tensor, chance: torch.Tensor) -> torch.Tensor:
        """The largest probability, ``chance`` (n,), less the second largest, from logits (n, C)."""
        if self._plan.regions is not None:
            _, values = self._region_probabilities(logits)
            return values[:, 0] - values[:, 1]
        winner = winner[:, None]
        largest = logits.gather(1, winner)
        second = logits.scatter(1, winner, -torch.inf).amax(1, keepdim=True)
        return -chance * (second - largest).expm1_()[:, 0]


def joined_top(tops: Sequence[TopProbabilities]) -> TopProbabilities | None:
    """The most probable labels of networks that label different structures.

    The probability of background is the product of theirs. None if the networks' grids differ.
    """
    first = tops[0]
    if len(tops) == 1:
        return first
    if any(t.labels.shape[1:] != first.labels.shape[1:] or not same_grid(t.ijk_to_ras, first.ijk_to_ras) for t in tops):
        return None
    labels = np.zeros((KEPT, *first.labels.shape[1:]), first.labels.dtype)
    values = np.zeros(labels.shape, np.uint8)
    for k in range(labels.shape[1]):  # row by row, to bound the memory
        named = np.concatenate([t.labels[:, k] for t in tops])
        worth = np.concatenate([t.values[:, k] for t in tops])
        background = np.prod([np.where(t.labels[:, k] == 0, t.values[:, k], 0).max(0) / 255 for t in tops], axis=0)
        worth = np.where(named == 0, np.uint8(0), worth)
        named = np.concatenate([np.zeros_like(named[:1]), named])
        worth = np.concatenate([np.rint(background[None] * 255).astype(np.uint8), worth])
        best = np.argsort(-worth.astype(np.int16), axis=0, kind="stable")[:KEPT]
        labels[:, k] = np.take_along_axis(named, best, 0)
        values[:, k] = np.take_along_axis(worth, best, 0)
    return TopProbabilities(labels, values, first.ijk_to_ras)


def _borders(labels: torch.Tensor) -> torch.Tensor:
    """(Z, Y, X) bool: the voxels that share a face with one of another label."""
    found = torch.zeros_like(labels, dtype=torch.bool)
    for axis, n in enumerate(labels.shape):
        differs = labels.narrow(axis, 1, n - 1) != labels.narrow(axis, 0, n - 1)
        found.narrow(axis, 1, n - 1).logical_or_(differs)
        found.narrow(axis, 0, n - 1).logical_or_(differs)
    return found
