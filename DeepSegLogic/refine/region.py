"""How far a prompt reaches: the voxels around it that change with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..boxes import Slices, common, grown, matrix_of, within
from ..errors import ResourceError
from ..labels import LabelMap
from .cut import cut
from .evidence import Scene, evidence
from .seeds import Seeds

if TYPE_CHECKING:
    from .network import PromptNetwork
    from .nninteractive import NnInteractive

REACH = 6.0  # times the size of what is wrong
REACH_VOXELS, REACH_MM = 18.0, 75.0  # at least, at most
SCALE_MM = 30.0  # the largest size of what is wrong that one prompt can tell
UNTOLD_MM = 10.0  # the size where nothing is near that would tell it
MOST_VOXELS = 48**3  # solved at once; a larger region is solved on coarser voxels


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


def solve_task(task: Task, labels, image, label_map: LabelMap, probabilities) -> tuple[Slices, np.ndarray]:
    """The region of influence and the voxels in it that change.

    Args:
        labels, image: (K, J, I), whole.
        label_map: says where they are.
        probabilities: of the run, or None.

    Returns:
        (K, J, I) slices and a boolean mask of their shape; each piece of it holds a seed.
    """
    spacing = label_map.spacing[::-1]
    region, scale = region_of(task, labels, spacing)
    candidates, seeds = candidates_in(region, task, labels)
    goal = (labels[region] == task.target) == task.positive
    prior = None
    if probabilities is not None:
        matrix = matrix_of(region, label_map.ijk_to_ras)
        prior = probabilities.probability(task.target, goal.shape, matrix)
        prior = prior if task.positive else 1 - prior
    scene = Scene(image[region], candidates, seeds, goal, spacing, scale, prior)
    return region, _joined(_solved(scene, task.positive) & candidates | seeds, seeds)


def answered_task(task: Task, labels, image, label_map: LabelMap, network: PromptNetwork | NnInteractive, told):
    """As :func:`solve_task`, but a network says what changes.

    Args:
        told: seeds of all prompts for the task's structure, and whether each is positive.

    Raises:
        ResourceError: there is too little memory.
    """
    from ..inference.device import is_out_of_memory

    try:
        region, there = network.probability(image, label_map.ijk_to_ras, task.seeds.box, told, labels == task.target)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            f"There is too little free memory for {network.title}.",
            "Close other programs, or correct with DeepSeg's solver.",
            code="resource.memory",
        ) from error
    candidates, seeds = candidates_in(region, task, labels)
    if task.seeds.limit is not None:
        inside = np.zeros_like(candidates)
        inside[within(common(region, task.seeds.limit), region)] = True
        candidates &= inside
    agrees = there >= 0.5 if task.positive else there < 0.5  # neither where the network does not reach
    return region, _joined(agrees & candidates | seeds, seeds)


def _joined(moved: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The face-connected pieces of a mask that hold a seed."""
    from scipy.ndimage import label

    pieces, _ = label(moved)
    wanted = np.zeros(pieces.max() + 1, bool)
    wanted[pieces[seeds]] = True
    return wanted[pieces]


def region_of(task: Task, labels: np.ndarray, spacing: np.ndarray) -> tuple[Slices, float]:
    """The region of influence of a prompt, and the size in mm of what it finds wrong."""
    scale = _scale(task, labels, spacing)
    reach = np.minimum(np.maximum(REACH * scale, REACH_VOXELS * spacing), REACH_MM)
    region = grown(task.seeds.box, reach / spacing, labels.shape)
    return (region if task.seeds.limit is None else common(region, task.seeds.limit)), scale


def candidates_in(region: Slices, task: Task, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of a region that may change, and among them those that must: boolean masks."""
    here = labels[region]
    if task.positive:
        under = labels[task.seeds.box][task.seeds.mask]
        candidates = np.isin(here, np.setdiff1d(under, [task.target, *task.locked]))
    else:
        candidates = here == task.target
    for other in task.forbidden:
        _paint(candidates, region, other, False)
    seeds = np.zeros(here.shape, bool)
    _paint(seeds, region, task.seeds, True)
    return candidates, seeds & candidates


def _scale(task: Task, labels: np.ndarray, spacing: np.ndarray) -> float:
    """Distance in mm from the prompt to the nearest voxel that cannot change with it.

    A user clicks the middle of what is wrong, and what is wrong ends, on one side at least, where the labels do.
    """
    from scipy.ndimage import distance_transform_edt

    half = 8.0
    while True:
        region = grown(task.seeds.box, np.maximum(half / spacing, 2), labels.shape)
        candidates, seeds = candidates_in(region, task, labels)
        if not candidates.all():
            depth = float(distance_transform_edt(candidates, sampling=spacing)[seeds].max())
            if depth <= half or half >= SCALE_MM:
                return float(np.clip(depth, spacing.min(), SCALE_MM))
        elif half >= SCALE_MM:
            return UNTOLD_MM
        half *= 2


def _solved(scene: Scene, positive: bool) -> np.ndarray:
    """What changes in a scene; on coarser voxels, and interpolated, where it has too many."""
    steps = _coarsening(scene)
    coarse = scene if max(steps) == 1 else scene.coarser(steps)
    moved = cut(evidence(coarse, positive), coarse, positive)
    if max(steps) == 1:
        return moved
    from scipy.ndimage import affine_transform

    return (
        affine_transform(moved.astype(np.float32), 1 / steps, output_shape=scene.goal.shape, order=1, mode="nearest")
        > 0.5
    )


def _coarsening(scene: Scene) -> np.ndarray:
    steps, shape = np.ones(3, int), np.array(scene.goal.shape)
    while np.prod(-(-shape // steps)) > MOST_VOXELS:
        steps[np.argmin(scene.spacing * steps)] += 1
    return steps


def _paint(mask: np.ndarray, region: Slices, seeds: Seeds, value: bool) -> None:
    """Set the seeds' voxels in a mask of a region."""
    both = common(region, seeds.box)
    if both is not None:
        mask[within(both, region)][seeds.mask[within(both, seeds.box)]] = value
