"""How far a prompt reaches: the voxels around it that change with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..labels import LabelMap
from .seeds import Seeds, Slices

REACH = 5.0
REACH_MM = (25.0, 75.0)
SCALE_MM = 30.0
MOST_VOXELS = 96**3


@dataclass(frozen=True)
class Task:
    """One prompt that is not yet satisfied.

    Attributes:
        target: label value of its structure.
        positive: whether voxels are to be added to the target, or taken from it.
        seeds: voxels that must change.
        locked: label values that must not change.
        forbidden: voxels of other prompts, which must not change.
    """

    target: int
    positive: bool
    seeds: Seeds
    locked: np.ndarray
    forbidden: list[Seeds]


def solve_task(task: Task, labels, image, grid: LabelMap, probabilities) -> tuple[Slices, np.ndarray]:
    """The region of influence and the voxels in it that change.

    Args:
        labels, image: (K, J, I), whole.
        grid: says where they are.
        probabilities: of the run, or None.

    Returns:
        (K, J, I) slices and a boolean mask of their shape. The mask is one piece with the seeds, or pieces each with
        a seed.
    """
    from scipy import ndimage

    from .cut import cut
    from .evidence import evidence

    spacing = grid.spacing[::-1]
    region, candidates, seeds, goal, scale = prepare(task, labels, spacing)
    prior = None
    odds = evidence(image[region], candidates, seeds, goal, spacing, scale, prior)
    moved = cut(odds, candidates, seeds, goal, image[region], spacing)
    pieces, _ = ndimage.label(moved)
    kept = np.isin(pieces, np.unique(pieces[seeds]))
    return region, kept & moved | seeds


def prepare(task: Task, labels, spacing):
    scale = _scale(task, labels, spacing)
    reach = np.clip(REACH * scale, *REACH_MM)
    region = _grown(task.seeds.box, reach / spacing, labels.shape)
    if task.seeds.limit is not None:
        region = tuple(
            slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(region, task.seeds.limit, strict=True)
        )
    candidates, seeds = _candidates(task, labels, region)
    goal = (labels[region] == task.target) == task.positive
    return region, candidates, seeds, goal, scale


def _scale(task: Task, labels: np.ndarray, spacing: np.ndarray) -> float:
    """Distance in mm from the prompt to the nearest voxel that does not take part: the size of what is wrong.

    A user clicks the middle of what is wrong, and what is wrong ends, on one side at least, where the labels do.
    """
    from scipy.ndimage import distance_transform_edt

    half = 8.0
    while True:
        region = _grown(task.seeds.box, half / spacing, labels.shape)
        candidates, seeds = _candidates(task, labels, region)
        if not candidates.all():
            depth = float(distance_transform_edt(candidates, sampling=spacing)[seeds].max())
            if depth <= half:
                return float(np.clip(depth, spacing.min(), SCALE_MM))
        if half >= SCALE_MM:
            return SCALE_MM
        half *= 2


def _candidates(task: Task, labels: np.ndarray, region: Slices) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of a region that may change, and among them those that must."""
    seeds = np.zeros([s.stop - s.start for s in region], bool)
    _paint(seeds, region, task.seeds, True)
    here = labels[region]
    if task.positive:
        sources = np.setdiff1d(labels[task.seeds.box][task.seeds.mask], [task.target, *task.locked])
        candidates = np.isin(here, sources)
    else:
        candidates = here == task.target
    for other in task.forbidden:
        _paint(candidates, region, other, False)
    return candidates, seeds & candidates


def _paint(mask: np.ndarray, region: Slices, seeds: Seeds, value: bool) -> None:
    """Set the seeds' voxels in a mask of a region."""
    common = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(region, seeds.box, strict=True))
    if all(s.start < s.stop for s in common):
        inner = tuple(slice(s.start - r.start, s.stop - r.start) for s, r in zip(common, region, strict=True))
        part = tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(common, seeds.box, strict=True))
        mask[inner][seeds.mask[part]] = value


def _grown(box: Slices, margin: np.ndarray, shape) -> Slices:
    return tuple(
        slice(max(0, s.start - int(np.ceil(m))), min(n, s.stop + int(np.ceil(m))))
        for s, m, n in zip(box, margin, shape, strict=True)
    )
