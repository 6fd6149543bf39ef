"""What is learnt from: label maps, with or without their image, and which structures were looked for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.spatial import ConvexHull

from ..data.types import FloatArray, MaskArray, ScalarArray

BACKGROUND = "background"
DEPTH_SPACING = 4.0
_MARGIN = 16  # voxels of the depth around the labels, along J and I


@dataclass
class Case:
    """One subject on a RAS grid.

    Attributes:
        name: for messages.
        labels: (K, J, I) uint8, indices of ``names``.
        names: of tissues or structures, for painting; the first one is what has no label.
        classes: per label, the classes that it may be learnt as; several where the truth is not known.
        spacing: mm along (K, J, I).
        image: (K, J, I) float32 HU, or None for a label map without an image.
        body: whether muscle, fat and air around the body have labels of their own; if not, they are made up.
        share: of the samples.
        painted: share of its samples that are synthetic; 1 without an image.
        recoloured: whether organs of the image may get the density of another phase; not if labelled in part.
    """

    name: str
    labels: torch.Tensor
    names: list[str]
    classes: list[frozenset[str]]
    spacing: tuple[float, float, float]
    image: torch.Tensor | None = None
    body: bool = True
    share: float = 1.0
    painted: float = 1.0
    recoloured: bool = True
    depth: torch.Tensor | None = field(init=False, default=None)
    places: list[npt.NDArray[np.int64]] = field(init=False)

    def __post_init__(self) -> None:
        if not self.body:
            self.depth = torch.from_numpy(hull_depth(self.labels.numpy() > 0, self.spacing))
        self.places = self._places()

    def table(self, classes: list[str]) -> torch.Tensor:
        """(labels + 1, classes) bool: what each label may be. The last row, for voxels not to learn from, is true."""
        rows = [[c in allowed for c in classes] for allowed in self.classes]
        return torch.tensor([*rows, [True] * len(classes)])

    def place(self, rng: np.random.Generator) -> FloatArray:
        """A place to look at, mm along (K, J, I): half of the time near a class drawn at random, else anywhere."""
        if rng.random() < 0.5 or not self.places:
            anywhere: FloatArray = rng.uniform(0.1, 0.9, 3) * np.array(self.labels.shape) * np.array(self.spacing)
            return anywhere
        places = self.places[rng.integers(len(self.places))]
        near: FloatArray = places[rng.integers(len(places))] * np.array(self.spacing) + rng.normal(0, 25, 3)
        return near

    def _places(self) -> list[npt.NDArray[np.int64]]:
        """Some voxels of each class."""
        labels, rng = self.labels.numpy().ravel(), np.random.default_rng(0)
        order = np.argsort(labels, kind="stable")
        ends = np.searchsorted(labels[order], np.arange(len(self.names) + 1))
        found: dict[frozenset[str], list[npt.NDArray[np.int64]]] = {}
        for value, allowed in enumerate(self.classes):
            voxels = order[ends[value] : ends[value + 1]]
            if BACKGROUND not in allowed and len(voxels):
                found.setdefault(allowed, []).append(rng.choice(voxels, min(len(voxels), 200)))
        shape = self.labels.shape
        return [np.transpose(np.unravel_index(np.concatenate(voxels), shape)) for voxels in found.values()]


def hull_depth(labelled: MaskArray, spacing: tuple[float, float, float]) -> ScalarArray:
    """mm outside of the convex hull of what is labelled, slice by slice; inside below 0.

    Args:
        labelled: (K, J, I) bool.
        spacing: mm.

    Returns:
        float32 on a grid of ``DEPTH_SPACING``, with 16 voxels more on either side along J and I.
    """
    shape = [max(1, round(n * s / DEPTH_SPACING)) for n, s in zip(labelled.shape, spacing, strict=True)]
    index = [
        np.minimum((np.arange(n) * DEPTH_SPACING / s).round().astype(int), m - 1)
        for n, s, m in zip(shape, spacing, labelled.shape, strict=True)
    ]
    coarse = np.pad(labelled[np.ix_(*index)], ((0, 0), (_MARGIN,) * 2, (_MARGIN,) * 2))
    grid = np.stack(np.meshgrid(*map(np.arange, coarse.shape[1:]), indexing="ij"), -1)
    hull = np.zeros(coarse.shape, np.float32)
    for k, slice_ in enumerate(coarse):
        points = np.argwhere(slice_)
        if len(points) > 2 and (np.ptp(points, axis=0) > 0).all():
            equations = ConvexHull(points, qhull_options="QJ").equations
            hull[k] = (grid @ equations[:, :2].T + equations[:, 2] <= 0.01).all(-1)
    smooth = ndimage.gaussian_filter(hull, (2, 1, 1)) > 0.5
    outside, inside = ndimage.distance_transform_edt(~smooth), ndimage.distance_transform_edt(smooth)
    return (DEPTH_SPACING * np.where(smooth, 0.5 - inside, outside - 0.5)).astype(np.float32)


def depth_positions(positions: torch.Tensor) -> torch.Tensor:
    """Voxels (3, …) of :func:`hull_depth` for positions in mm along (K, J, I)."""
    return positions / DEPTH_SPACING + torch.tensor([0.0, _MARGIN, _MARGIN]).view(3, 1, 1, 1)
