"""Corrections: a label map, its image and prompts in, a corrected label map out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from ..data.affine import ijk_to_ras_points, ras_to_ijk, sampled
from ..data.boxes import box_of, hull, placed
from ..data.label_map import LabelMap
from ..data.records import on_same_grid
from ..data.types import Slices, VolumeArray
from ..data.volume import Volume, volume_digest
from ..util.errors import InputError, UsageError
from ..util.given import checks_arguments
from ..util.i18n import tr as _tr
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from .interpretation import prepared, task_of
from .layers import show_layers
from .prompts import Prompt
from .proposal import Proposal
from .region import ask_network, solve
from .undo import changes_ml

if TYPE_CHECKING:
    from ..data.probabilities import TopProbabilities
    from .nninteractive import NnInteractive
    from .prompted_network import PromptNetwork


@dataclass
class Refinement:
    """The result of :func:`refine`.

    Attributes:
        label_map: the corrected label map, with the grid and dtype of the given one.
        changed_box: (K, J, I) slices that contain all changed voxels; None if nothing changed.
        changes_ml: structure name → (gained, lost) in ml, for the structures that changed.
        regions: the region of influence of each prompt that needed a correction, (K, J, I) slices.
        skipped: number of a prompt, from 1 → why it had no effect.
        notes: messages for the user, one sentence each.
    """

    label_map: LabelMap
    changed_box: Slices | None
    changes_ml: dict[str, tuple[float, float]]
    regions: list[Slices] = field(default_factory=list)
    skipped: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@checks_arguments
def refine(
    label_map: LabelMap,
    prompts: Sequence[Prompt],
    *,
    volume: Volume | None = None,
    probabilities: TopProbabilities | None = None,
    network: PromptNetwork | NnInteractive | None = None,
    reach: float = 1.0,
    locked: Sequence[str] | None = None,
    add: Sequence[str] = (),
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Refinement:
    """Correct the structures of a label map by prompts.

    A prompt that is already satisfied changes nothing. A positive prompt only adds to its structure, and only voxels of
    the labels it lies on. A negative prompt only removes, and leaves background. At the end, all prompts of the call
    are satisfied. Where structures overlap, each is corrected in its own layer: those of other layers do not change.

    Without a network, the voxels that change are found by a random walker (Grady, CVPR 2005), see
    :mod:`~DeepSegLogic.refinement.random_walker` and :mod:`~DeepSegLogic.refinement.unary_potentials`.

    Args:
        label_map: (K, J, I) labels; it is not changed.
        prompts: in the order they were drawn, in RAS mm. Prompts of earlier calls may be repeated, to keep them
            satisfied.
        volume: the image that was segmented; resampled if its grid differs.
        probabilities: of the run that made the labels, for the same volume; a click then corrects more.
        network: a model that answers prompts, in place of the random walker; the same rules hold for its answers.
        reach: how much each prompt changes: 1 is what DeepSeg believes to be wrong, 0 only what the prompt marks; see
            :class:`~DeepSegLogic.refinement.proposal.Proposal`. Without effect on a network.
        locked: names or titles of structures that must not change in any voxel; None: all except the prompt's own.
        add: names of new structures to create that neither the label map nor the standard structures include.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.

    Raises:
        UsageError: an unknown structure, or one that is locked and has a prompt.
        InputError: no image, an image at another place, probabilities of another volume, or prompts that are outside
            the volume or contradict each other.
        ModelError: the network does not fit its card.
        ResourceError: not enough memory for the network.
        Cancelled: ``cancel`` returned True.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Point, Structure, Volume, refine
        >>> organ = np.zeros((24, 24, 24), bool)  # (K, J, I)
        >>> organ[6:18, 6:18, 6:18] = True
        >>> ct = Volume(np.where(organ, 60, -90).astype(np.int16), np.eye(4))
        >>> labels = organ.astype(np.uint8)
        >>> labels[8:16, 8:16, 6:12] = 0  # a missing part
        >>> click = Point("liver", True, (8.0, 12.0, 12.0))  # RAS, mm
        >>> done = refine(LabelMap(labels, np.eye(4), [Structure(1, "liver", "Liver")]), [click], volume=ct)
        >>> done.changes_ml  # gained, lost
        {'liver': (0.384, 0.0)}
        >>> bool((done.label_map.array == organ).all())
        True
    """
    progress, cancel = progress or ignore_progress, cancel or never_cancel
    image = _image_on(label_map, volume)
    _check_probabilities(probabilities, label_map, volume)
    changed, jobs, notes = prepared(label_map, prompts, locked, add)
    result = Refinement(changed, None, {}, notes=notes)
    for done, job in enumerate(jobs):
        check(cancel)
        progress("refine", done / len(jobs), f"{job.prompt.kind} for {job.target.name}")
        task = task_of(job, jobs, result.skipped)
        if task is None:
            continue
        if network is None:
            proposal = solve(task, image, job.layer, probabilities)
            region, moved = proposal.region, proposal.at(reach)
        else:
            network.require(job.target.name)
            told = [(other.seeds, other.prompt.positive) for other in jobs if other.target is job.target]
            region, moved = ask_network(task, image, job.layer, network, told)
        job.layer.array[region][moved] = task.value
        result.regions.append(region)
    show_layers(changed)
    progress("refine", 1.0, "done")
    if result.regions:
        summarize(label_map, result, hull(result.regions))
    return result


@checks_arguments
def propose(
    label_map: LabelMap,
    prompt: Prompt,
    *,
    volume: Volume | None = None,
    probabilities: TopProbabilities | None = None,
    locked: Sequence[str] | None = None,
) -> Proposal:
    """What one prompt would change, to look at before it is applied; takes a fraction of a second.

    The arguments, the rules and the errors are those of :func:`refine`.

    Raises:
        UsageError: nothing would change; the message says why.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Point, Structure, Volume, propose
        >>> organ = np.zeros((24, 24, 24), bool)  # (K, J, I)
        >>> organ[6:18, 6:18, 6:18] = True
        >>> noise = np.random.default_rng(0).normal(0, 10, organ.shape)
        >>> ct = Volume((np.where(organ, 60, -90) + noise).astype(np.int16), np.eye(4))
        >>> labels = organ.astype(np.uint8)
        >>> labels[8:14, 8:14, 8:14] = 0  # a missing part
        >>> before = LabelMap(labels, np.eye(4), [Structure(1, "liver", "Liver")])
        >>> proposal = propose(before, Point("liver", True, (11.0, 11.0, 11.0)), volume=ct)
        >>> proposal.ml(), proposal.ml(0.5), proposal.ml(0)
        (0.216, 0.108, 0.001)
        >>> after = proposal.applied(before, 0.5)
        >>> int((after.array != labels).sum())
        108
    """
    image = _image_on(label_map, volume)
    _check_probabilities(probabilities, label_map, volume)
    changed, jobs, _ = prepared(label_map, [prompt], locked, ())
    skipped = dict[int, str]()
    task = task_of(jobs[0], jobs, skipped)
    if task is None:
        raise UsageError(_tr("Nothing changed: {}.").format(skipped[1]), code="usage.no_change")
    found = solve(task, image, jobs[0].layer, probabilities)
    return replace(found, structures=changed.structures)


def _image_on(label_map: LabelMap, volume: Volume | None) -> VolumeArray:
    """The image's voxels on the label map's grid."""
    if volume is None:
        raise InputError(
            "Corrections need the image, and no image is given.",
            "Give the volume that was segmented.",
            code="input.no_image",
        )
    if on_same_grid(volume, label_map):
        return volume.array
    _must_cover(volume, label_map)
    return sampled(volume.array, volume.ijk_to_ras, label_map.array.shape, label_map.ijk_to_ras, mode="nearest")


def _must_cover(volume: Volume, label_map: LabelMap) -> None:
    """Refuse an image at another place: one that covers less than half of the labels' grid."""
    shape = np.array(label_map.array.shape[::-1])
    grid = np.stack(np.meshgrid(*[np.linspace(0, n - 1, 9) for n in shape]), -1).reshape(-1, 3)
    ijk = ras_to_ijk(ijk_to_ras_points(grid, label_map.ijk_to_ras), volume.ijk_to_ras)
    inside = ((ijk >= -0.5) & (ijk <= np.array(volume.shape_ijk) - 0.5)).all(1)
    if inside.mean() < 0.5:
        raise InputError(
            f"The image does not cover the labels (only {inside.mean():.0%} of their grid).",
            "Give the volume that was segmented.",
            code="input.geometry",
        )


def _check_probabilities(probabilities: TopProbabilities | None, label_map: LabelMap, volume: Volume | None) -> None:
    if probabilities is None or volume is None:
        return
    if label_map.layers:
        raise InputError(
            "The probabilities belong to a run, whose structures do not overlap as those of the label map do.",
            "Correct this label map without probabilities.",
            code="input.probabilities",
        )
    if probabilities.volume_digest != volume_digest(volume):
        raise InputError(
            "The probabilities belong to another volume.",
            "Segment this volume, or correct without probabilities.",
            code="input.probabilities",
        )


def summarize(before: LabelMap, result: Refinement, box: Slices) -> None:
    """Fill in what changed, where, and by how much; nothing did outside a box."""
    boxes, after = list[Slices](), result.label_map
    for layer, earlier in zip_longest(after.layers or [after], before.layers or [before]):
        new = layer.array[box]
        old = earlier.array[box] if earlier else np.zeros_like(new)  # a structure that a prompt added
        inner = box_of(old != new)
        if inner is not None:
            boxes.append(placed(inner, box))
            result.changes_ml |= changes_ml(old, new, layer)
    result.changed_box = hull(boxes) if boxes else None
