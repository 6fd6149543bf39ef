"""Training of detectors: patches of CTs into which artificial lesions are put, drawn anew at every step.

The grid detector's loss is CenterNet's: a focal loss on a heat map with a Gaussian at each lesion's centre, and the L1
distance of offset and logarithm of the size there (Zhou et al., Objects as Points, arXiv:1904.07850).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

from ..data.types import FloatArray, MaskArray, ScalarArray
from ..networks.grid_detector import STRIDE, GridDetector, cell_centers
from .artificial import LesionKind, add_lesions, boxes, instances

Network = TypeVar("Network", bound=nn.Module)
_WHERE_LESIONS_ARE = 0.75  # share of the patches; the others lie anywhere, to learn what is no lesion


class Scan(NamedTuple):
    """A CT to train on: HU and the voxels where lesions may be, both (K, J, I) on the detector's own grid."""

    hu: ScalarArray
    where: MaskArray


class Drawn(NamedTuple):
    """A patch with new lesions: image (1, Z, Y, X) float32; boxes (N, 6) as voxel indices (Z, Y, X); and the lesions'
    voxels, labelled from 1 in the order of their boxes, (Z, Y, X)."""

    image: torch.Tensor
    boxes: torch.Tensor
    instances: torch.Tensor


@dataclass(frozen=True)
class Recipe:
    """How a detector is trained.

    Attributes:
        kind: of lesions.
        spacing: mm along each axis of its grid.
        window: HU that become 0 and 1.
        patch: voxels along each edge; a multiple of the network's divisor.
        features: of the network.
        batch: patches in a step.
        lesions: most in a patch; the number is drawn, 0 included.
        rate: the highest learning rate.
    """

    kind: LesionKind
    spacing: float = 2.0
    window: tuple[float, float] = (-1000.0, 400.0)
    patch: int = 48
    features: tuple[int, ...] = (8, 16, 32)
    batch: int = 2
    lesions: int = 4
    rate: float = 5e-3
    seed: int = 0

    @property
    def matrix(self) -> FloatArray:
        """4×4, of a grid with this spacing."""
        return np.diag([self.spacing] * 3 + [1.0])


def train_grid_detector(
    scans: Sequence[Scan],
    recipe: Recipe,
    share_done: Callable[[int], float],
    told: Callable[[int, float], None] = lambda step, loss: None,
) -> GridDetector:
    """Train a grid detector; see :func:`train`."""
    torch.manual_seed(recipe.seed)
    network = GridDetector(1, recipe.features)

    def loss(drawn: Sequence[Drawn]) -> torch.Tensor:
        return grid_loss(network(torch.stack([one.image for one in drawn])), [one.boxes for one in drawn])

    return train(network, loss, scans, recipe, share_done, told)


def train(
    network: Network,
    loss_of: Callable[[Sequence[Drawn]], torch.Tensor],
    scans: Sequence[Scan],
    recipe: Recipe,
    share_done: Callable[[int], float],
    told: Callable[[int, float], None],
) -> Network:
    """Train a detector, on the CPU.

    Args:
        loss_of: the network's loss on a batch.
        share_done: from the number of steps done to the share of the training done, e.g. ``lambda step: step / 2000``;
            the learning rate follows it, and the training ends at 1.
        told: is given each step's number and loss.

    Returns:
        the network, ready to be used.
    """
    rng = np.random.default_rng(recipe.seed)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.rate, weight_decay=1e-4)
    network.train()
    step = 0
    while (done := share_done(step)) < 1:
        loss = loss_of([sample(scans[int(rng.integers(len(scans)))], recipe, rng) for _ in range(recipe.batch)])
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * min(1.0, 0.1 + 10 * done, 1.02 - done)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        step += 1
        told(step, float(loss.detach()))
    return network.eval()


def sample(scan: Scan, recipe: Recipe, rng: np.random.Generator) -> Drawn:
    """A patch of a scan with new lesions."""
    hu, where = _patch(scan, recipe.patch, rng)
    for axis in range(3):
        if rng.random() < 0.5:
            hu, where = np.flip(hu, axis), np.flip(where, axis)
    hu = hu.copy()
    lesions = add_lesions(hu, recipe.matrix, where, recipe.kind, int(rng.integers(recipe.lesions + 1)), rng)
    hu += rng.normal(0, rng.uniform(0, 20), hu.shape).astype(np.float32) + rng.uniform(-20, 20)
    low, high = recipe.window
    image = torch.from_numpy(np.clip((hu - low) / (high - low), 0, 1).astype(np.float32))
    found = boxes(lesions)[:, :, ::-1] / recipe.spacing  # (Z, Y, X)
    labels = torch.from_numpy(instances(lesions, hu.shape))
    return Drawn(image[None], torch.from_numpy(found.reshape(-1, 6).astype(np.float32)), labels)


def _patch(scan: Scan, size: int, rng: np.random.Generator) -> tuple[ScalarArray, MaskArray]:
    places = np.argwhere(scan.where[::4, ::4, ::4]) * 4
    if len(places) and rng.random() < _WHERE_LESIONS_ARE:
        middle = places[rng.integers(len(places))]
    else:
        middle = rng.integers(scan.hu.shape)
    start = middle - size // 2 + rng.integers(-size // 4, size // 4 + 1, 3)
    start = np.clip(start, 0, np.maximum(0, np.array(scan.hu.shape) - size))
    part = tuple(slice(s, s + size) for s in start)
    missing = [(0, size - n) for n in scan.hu[part].shape]
    return (
        np.pad(scan.hu[part], missing, constant_values=-1000).astype(np.float32),
        np.pad(scan.where[part], missing),
    )


def grid_loss(output: torch.Tensor, found: Sequence[torch.Tensor]) -> torch.Tensor:
    """The loss of a batch, (N, 1 + 6, Z, Y, X), for the boxes (M, 6) in each patch."""
    parts = [targets(boxes_, output.shape[2:]) for boxes_ in found]
    heat, wanted = torch.stack([h for h, _ in parts]), torch.stack([w for _, w in parts])
    logits = output[:, 0]
    centers = heat == 1
    count = max(1, int(centers.sum()))
    probability = logits.sigmoid()
    missed = -(((1 - probability) ** 2) * nn.functional.logsigmoid(logits))[centers].sum()
    wrong = -((1 - heat) ** 4 * probability**2 * nn.functional.logsigmoid(-logits))[~centers].sum()
    weight = torch.where(heat > 0.5, heat, 0.0)[:, None]
    distance = (weight * (output[:, 1:] - wanted).abs()).sum() / weight.sum().clamp(min=1)
    return (missed + wrong) / count + 0.5 * distance


def targets(found: torch.Tensor, shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Heat map (Z, Y, X), 1 at the cell of each box's centre, and what the six other outputs should be there."""
    cells = cell_centers(shape)
    heat, wanted = torch.zeros(tuple(shape)), torch.zeros((6, *shape))
    for box in found:
        center, size = (box[:3] + box[3:]) / 2, box[3:] - box[:3]
        offset = center.view(3, 1, 1, 1) - cells
        spread = (size / 6).clamp(min=STRIDE / 2).view(3, 1, 1, 1)
        here = torch.exp(-0.5 * ((offset / spread) ** 2).sum(0))
        here.view(-1)[int((offset**2).sum(0).argmin())] = 1.0
        nearest = here >= heat
        heat = torch.where(nearest, here, heat)
        log_size = (size / STRIDE).log().view(3, 1, 1, 1).expand_as(offset)
        wanted = torch.where(nearest, torch.cat([offset / STRIDE, log_size]), wanted)
    return heat, wanted
