"""Models of several networks: one resampled volume for all, and their answers joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from .. import geometry
from ..volume import Volume
from .confidence import KEPT
from .plan import Normalization, Plan
from .preprocessing import Boxes, Prepared, normalised, prepare
from .probabilities import TopProbabilities


class SharedInput:
    """A volume prepared for networks that follow one another.

    Networks that want the same grid share the resampled volume; each normalises it in its own way, after
    resampling (as TotalSegmentator does; a single nnU-Net is normalised before).
    """

    def __init__(self, volume: Volume, device: torch.device, boxes: Boxes):
        self._volume, self._device, self._boxes = volume, device, boxes
        self._grid: Plan | None = None
        self._raw: Prepared | None = None

    def prepared_for(self, plan: Plan) -> Prepared:
        """The input of the network with this plan."""
        grid = replace(
            plan, normalization=Normalization("none"), patch_size=(1, 1, 1), labels={}, regions=None, mirror_axes=()
        )
        if grid != self._grid:
            self._raw = prepare(self._volume, grid, self._device, self._boxes)
            self._grid = grid
        return replace(self._raw, image=normalised(self._raw.image, plan.normalization))


def renamed_top(top: TopProbabilities, values: np.ndarray) -> TopProbabilities:
    """``top`` with its labels looked up in ``values`` (new value by old value)."""
    return replace(top, labels=values[top.labels])


def joined_top(tops: Sequence[TopProbabilities]) -> TopProbabilities | None:
    """The most probable labels of networks that mark different structures.

    Background is as probable as all of them say together. None if the networks' grids differ.
    """
    first = tops[0]
    if len(tops) == 1:
        return first
    if any(
        t.labels.shape[1:] != first.labels.shape[1:] or not geometry.same_grid(t.ijk_to_ras, first.ijk_to_ras)
        for t in tops
    ):
        return None
    labels = np.zeros((KEPT, *first.labels.shape[1:]), first.labels.dtype)
    values = np.zeros(labels.shape, np.uint8)
    for k in range(labels.shape[1]):  # a row at a time bounds the memory
        named = np.concatenate([t.labels[:, k] for t in tops])
        worth = np.concatenate([t.values[:, k] for t in tops])
        background = np.prod([np.where(t.labels[:, k] == 0, t.values[:, k], 0).max(0) / 255 for t in tops], axis=0)
        worth = np.where(named == 0, 0, worth)
        named = np.concatenate([np.zeros_like(named[:1]), named])
        worth = np.concatenate([np.rint(background[None] * 255).astype(np.uint8), worth])
        best = np.argsort(-worth.astype(np.int16), axis=0, kind="stable")[:KEPT]
        labels[:, k] = np.take_along_axis(named, best, 0)
        values[:, k] = np.take_along_axis(worth, best, 0)
    return TopProbabilities(labels, values, first.ijk_to_ras)
