"""One prompt solved: its region of influence, and the voxels in it that change, by the solver or by a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..data.boxes import between, common, grown, matrix_of, within
from ..data.label_map import LabelMap
from ..data.types import FloatArray, LabelArray, MaskArray, ScalarArray, Slices
from ..util.errors import ResourceError
from .prompt_context import PromptContext, Values
from .proposal import LEAST, Proposal
from .random_walker import believed, connected, links_of, potential
from .rasterise import Seeds
from .unary_potentials import FURTHEST, network_error, unary_potentials
from .voxel_filters import distance_to, resampled

if TYPE_CHECKING:
    from ..data.probabilities import TopProbabilities
    from .nninteractive import NnInteractive
    from .prompted_network import PromptNetwork

REACH = 6.0  # radius of the region, as a multiple of the error's size
REACH_VOXELS, REACH_MM = 24.0, 75.0  # at least, at most
SCALE_MM = 15.0  # largest size of an error that one prompt can show
DEFAULT_SCALE_MM = 10.0  # size where nothing nearby shows it
_DIGITS = 6  # of the field: voxels that differ by rounding alone change together
MOST_VOXELS = 64**3  # solved at once; a larger region is solved on coarser voxels


@dataclass(frozen=True)
class PromptTask:
    """One prompt that is not yet satisfied.

    Attributes:
        target: label value of its structure.
        positive: whether voxels are added to the target, or removed from it.
        seeds: voxels that must change.
        locked: label values that must not change.
        forbidden: voxels of other prompts, which must not change.
    """

    target: int
    positive: bool
    seeds: Seeds
    locked: npt.NDArray[np.int64]
    forbidden: list[Seeds]

    @property
    def value(self) -> int:
        """The label that voxels get."""
        return self.target if self.positive else 0


def solve(task: PromptTask, image: Values, label_map: LabelMap, probabilities: TopProbabilities | None) -> Proposal:
    """Solve a prompt: what to change at any reach.

    Args:
        image: (K, J, I), on the label map's grid.
        label_map: as it is now.
        probabilities: of the run, or None.
    """
    labels, spacing = label_map.array, label_map.spacing_kji
    region, scale, radius = region_of(task, labels, spacing)
    candidates, seeds = candidates_in(region, task, labels)
    goal = (labels[region] == task.target) == task.positive
    prior = None
    if probabilities is not None:
        matrix = matrix_of(region, label_map.ijk_to_ras)
        prior = probabilities.probability(task.target, goal.shape, matrix)
        prior = prior if task.positive else 1 - prior
    context = PromptContext(image[region], candidates, seeds, goal, spacing, scale, prior, radius)
    field = _solved(context, task.positive)
    return Proposal(region, field, seeds, task.target, task.value, label_map.structures, spacing)


def ask_network(
    task: PromptTask,
    image: Values,
    label_map: LabelMap,
    network: PromptNetwork | NnInteractive,
    prompts: Sequence[tuple[Seeds, bool]],
) -> tuple[Slices, MaskArray]:
    """Solve a prompt by a network, see :func:`solve`.

    Args:
        prompts: seeds of all prompts for the task's structure, and whether each is positive.

    Returns:
        The region that the network saw, and a bool mask of its shape: voxels that change. Each connected piece has a
        seed.

    Raises:
        ResourceError: not enough memory.
    """
    from ..inference.device import is_out_of_memory

    labels = label_map.array
    try:
        region, there = network.probability(image, label_map.ijk_to_ras, task.seeds.box, prompts, labels == task.target)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            f"There is too little free memory for {network.title}.",
            "Close other programs, or correct without a model.",
            code="resource.memory",
        ) from error
    candidates, seeds = candidates_in(region, task, labels)
    if task.seeds.limit is not None:
        inside = np.zeros_like(candidates)
        if (both := common(region, task.seeds.limit)) is not None:
            inside[within(both, region)] = True
        candidates &= inside
    agrees = there >= 0.5 if task.positive else there < 0.5  # both are False where the network does not reach (NaN)
    return region, _connected_to(seeds, agrees & candidates | seeds)


def _connected_to(seeds: MaskArray, mask: MaskArray) -> MaskArray:
    """The face-connected pieces of a mask that contain a seed."""
    from scipy.ndimage import label

    pieces = label(mask)[0]
    wanted = np.zeros(pieces.max() + 1, bool)
    wanted[pieces[seeds]] = True
    return np.asarray(wanted[pieces])


def region_of(task: PromptTask, labels: LabelArray, spacing: FloatArray) -> tuple[Slices, float, float]:
    """The region of influence of a prompt, the largest size of the error in mm, and the region's radius in mm."""
    scale = _scale(task, labels, spacing)
    radius = float(np.clip(REACH * scale, REACH_VOXELS * np.prod(spacing) ** (1 / 3), REACH_MM))
    region = grown(task.seeds.box, radius / spacing, labels.shape)
    if task.seeds.limit is not None:
        region = common(region, task.seeds.limit) or region
    return region, scale, radius


def candidates_in(region: Slices, task: PromptTask, labels: LabelArray) -> tuple[MaskArray, MaskArray]:
    """Voxels of a region that may change, and among them those that must: bool masks."""
    here = labels[region]
    if task.positive:
        under = labels[task.seeds.box][task.seeds.mask]
        candidates = np.isin(here, under[~np.isin(under, [task.target, *task.locked])])
    else:
        candidates = here == task.target
    for other in task.forbidden:
        _paint(candidates, region, other, False)
    seeds = np.zeros(here.shape, bool)
    _paint(seeds, region, task.seeds, True)
    return candidates, seeds & candidates


def _scale(task: PromptTask, labels: LabelArray, spacing: FloatArray) -> float:
    """The estimated size of the error: distance in mm from the prompt to the nearest voxel that cannot change with it.

    A user clicks in the middle of an error, and the error ends, at least on one side, where the labels do.
    """
    half = 8.0
    while True:
        region = grown(task.seeds.box, np.maximum(half / spacing, 2), labels.shape)
        candidates, seeds = candidates_in(region, task, labels)
        if not candidates.all():
            depth = float(distance_to(~candidates, spacing, SCALE_MM)[seeds].max())
            if depth <= half or half >= SCALE_MM:
                return float(np.clip(depth, spacing.min(), SCALE_MM))
        elif half >= SCALE_MM:
            return DEFAULT_SCALE_MM
        half *= 2


def _solved(context: PromptContext, positive: bool) -> ScalarArray:
    """How strongly each voxel goes with the prompt, in [0, 1]. What DeepSeg believes is at one half and above; below
    ``LEAST``, where there is no evidence, only the geodesic distance counts. Found on coarser voxels, and interpolated,
    if there are too many."""
    steps = _coarsening(context)
    coarse = context if max(steps) == 1 else context.coarser(steps)
    (log_odds, away), links = unary_potentials(coarse, positive), links_of(coarse)
    field = connected(potential(log_odds, coarse, links), coarse.seeds)
    threshold = believed(field, log_odds, coarse, links)
    shifted = field.astype(np.float64) * (1 - threshold) / threshold  # in log odds; the order of the voxels stays
    field = np.asarray(shifted / (shifted + 1 - field), np.float32)
    if coarse.prior is not None:  # another reason to be wrong
        error = network_error(coarse, coarse.prior, positive)
        field = np.maximum(field, potential(error, coarse, links_of(coarse, coarse.prior)))
        field = connected(field, coarse.seeds)
    field = np.where(field >= LEAST, field, LEAST * np.maximum(1 - away / FURTHEST, 0))
    return np.round(field if max(steps) == 1 else _finer(field, coarse, context, steps), _DIGITS)


def _finer(
    field: ScalarArray, coarse: PromptContext, context: PromptContext, steps: npt.NDArray[np.int64]
) -> ScalarArray:
    """The field on the voxels of the context, and connected there.

    It is 0 where no coarse voxel around may change: there, a mean of those around cannot change either.
    """
    shape = np.array(context.goal.shape)
    part = _part(field > 0, steps, shape)
    share = resampled(coarse.candidates, 1 / steps, shape, part)  # of the field's voxels around
    mean = resampled(field, 1 / steps, shape, part) / np.maximum(share, 1e-3)
    fine = np.asarray(np.minimum(mean, 1) * context.candidates[part], np.float32)
    fine[context.seeds[part]] = 1
    found = np.zeros_like(context.image, np.float32)
    found[part] = connected(fine, context.seeds[part])
    return found


def _part(mask: MaskArray, steps: npt.NDArray[np.int64], shape: npt.NDArray[np.int64]) -> Slices:
    """Slices of a finer grid that contain all that is interpolated from a mask's voxels."""
    inside = np.argwhere(mask)
    corners = np.array([inside.min(0) - 1, inside.max(0) + 1]) - (np.array(mask.shape) - 1) / 2
    low, high = corners * steps + (shape - 1) / 2
    return between(np.clip(np.floor(low), 0, shape).astype(int), np.clip(np.ceil(high) + 1, 0, shape).astype(int))


def _coarsening(context: PromptContext) -> npt.NDArray[np.int64]:
    """Integer factors along (K, J, I) that leave at most ``MOST_VOXELS`` voxels; axes of equal spacing are alike."""
    steps, shape = np.ones(3, np.int64), np.array(context.goal.shape)
    while np.prod(-(-shape // steps)) > MOST_VOXELS:
        size = context.spacing * steps
        steps[size < 1.01 * size.min()] += 1
    return steps


def _paint(mask: MaskArray, region: Slices, seeds: Seeds, value: bool) -> None:
    """Set the seeds' voxels in a mask of a region."""
    both = common(region, seeds.box)
    if both is not None:
        mask[within(both, region)][seeds.mask[within(both, seeds.box)]] = value
