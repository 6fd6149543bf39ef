"""Corrections: prompts in, a changed label map out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..boxes import Slices, box_of
from ..errors import InputError, UsageError
from ..geometry import ijk_to_ras_points, ras_to_ijk, same_grid, sampled
from ..labels import LabelMap, Structure, structure_named, unknown_structure
from ..progress import Cancel, Progress, check, ignore_progress, never_cancel
from ..terminology import standard_structures, structure_for
from ..volume import Volume, volume_digest
from .history import changes_ml
from .prompts import Prompt
from .region import Task, answered_task, solve_task
from .seeds import Seeds, overlap, seeds_of

if TYPE_CHECKING:
    from ..inference.probabilities import TopProbabilities
    from .network import PromptNetwork
    from .nninteractive import NnInteractive


@dataclass
class Refinement:
    """What corrections did.

    Attributes:
        label_map: the corrected one, with the grid and the dtype of the one given, which is unchanged.
        changed_box: (K, J, I) slices that hold all changed voxels; None if nothing changed.
        changes_ml: structure name → (gained, lost) in ml, for those that changed.
        regions: the region of influence of each prompt that was solved for, (K, J, I) slices.
        skipped: number of the prompt, from 1 → why it did not take effect.
        notes: what else the user should know, one sentence each.
    """

    label_map: LabelMap
    changed_box: Slices | None
    changes_ml: dict[str, tuple[float, float]]
    regions: list[Slices] = field(default_factory=list)
    skipped: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Job:
    """A prompt that is understood: its number, target, voxels and the label values that must not change."""

    number: int
    prompt: Prompt
    target: Structure
    seeds: Seeds
    locked: np.ndarray


def refine(
    label_map: LabelMap,
    prompts: Sequence[Prompt],
    *,
    volume: Volume | None = None,
    probabilities: TopProbabilities | None = None,
    network: PromptNetwork | NnInteractive | None = None,
    locked: Sequence[str] | None = None,
    add: Sequence[str] = (),
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Refinement:
    """Correct structures where prompts say so.

    Prompts that are already satisfied change nothing. A positive prompt only adds to its structure, and takes only
    from what it lies on; a negative one only takes away. All prompts given hold at the end.

    Args:
        label_map: what to correct.
        prompts: in the order in which they were drawn; those of earlier calls may be given again, and then hold.
        volume: the image; resampled onto the label map's grid where it has another.
        probabilities: of the run that made the labels, for this very volume.
        network: answers the prompts instead of the solver; what holds for all prompts holds for it as well.
        locked: names or titles of structures that must not change by a voxel; None: all but the one that each
            prompt is for.
        add: names of new structures that neither the label map nor the standard table has.
        progress, cancel: see :mod:`DeepSegLogic.progress`.

    Raises:
        UsageError: an unknown structure, or one that is both locked and to be corrected.
        InputError: no image, an image elsewhere, probabilities of another volume, prompts outside of the volume or
            that contradict each other.
        ModelError: the network does not fit its card.
        ResourceError: there is too little memory for the network.
        Cancelled: ``cancel`` said so; nothing has changed.
    """
    progress, cancel = progress or ignore_progress, cancel or never_cancel
    image = _image_on(label_map, volume)
    _check_probabilities(probabilities, volume)
    structures, notes = list(label_map.structures), []
    jobs = _understood(label_map, structures, prompts, locked, add, notes)
    _check_contradictions(jobs)
    array = label_map.array.copy()
    result = Refinement(replace(label_map, array=array, structures=structures), None, {}, notes=notes)
    for done, job in enumerate(jobs):
        check(cancel)
        progress("refine", done / len(jobs), f"{job.prompt.kind} for {job.target.name}")
        _carry_out(job, jobs, array, image, label_map, probabilities, network, result)
    progress("refine", 1.0, "done")
    _account(label_map, result)
    return result


def _carry_out(job: _Job, jobs, array, image, label_map, probabilities, network, result: Refinement) -> None:
    positive, value = job.prompt.positive, job.target.value
    held = array[job.seeds.box]
    open_ = job.seeds.mask & ~np.isin(held, job.locked)
    wrong = open_ & ((held != value) if positive else (held == value))
    if positive and not open_.any():
        names = {s.value: s.name for s in result.label_map.structures}
        there = ", ".join(names.get(int(v), f"label {v}") for v in np.unique(held[job.seeds.mask]))
        result.skipped[job.number] = f"it lies on {there}, which is locked"
    if not wrong.any():
        return
    forbidden = [other.seeds for other in jobs if _opposes(other, job)]
    task = Task(
        target=value,
        positive=positive,
        seeds=Seeds(job.seeds.box, wrong, job.seeds.limit),
        locked=job.locked,
        forbidden=forbidden,
    )
    if network is None:
        region, moved = solve_task(task, array, image, label_map, probabilities)
    else:
        network.require(job.target.name)
        told = [(other.seeds, other.prompt.positive) for other in jobs if other.target is job.target]
        region, moved = answered_task(task, array, image, label_map, network, told)
    array[region][moved] = value if positive else 0
    result.regions.append(region)


def _image_on(label_map: LabelMap, volume: Volume | None) -> np.ndarray:
    """The image's voxels on the label map's grid."""
    if volume is None:
        raise InputError(
            "There is no image to correct by.", "Give the volume that was segmented.", code="input.no_image"
        )
    if volume.shape == label_map.array.shape and same_grid(volume.ijk_to_ras, label_map.ijk_to_ras):
        return volume.array
    _must_cover(volume, label_map)
    return sampled(volume.array, volume.ijk_to_ras, label_map.array.shape, label_map.ijk_to_ras, mode="nearest")


def _must_cover(volume: Volume, label_map: LabelMap) -> None:
    """Refuse an image that lies elsewhere: less than half of the labels' grid is inside of it."""
    shape = np.array(label_map.array.shape[::-1])
    grid = np.stack(np.meshgrid(*[np.linspace(0, n - 1, 9) for n in shape]), -1).reshape(-1, 3)
    ijk = ras_to_ijk(ijk_to_ras_points(grid, label_map.ijk_to_ras), volume.ijk_to_ras)
    inside = ((ijk >= -0.5) & (ijk <= np.array(volume.shape[::-1]) - 0.5)).all(1)
    if inside.mean() < 0.5:
        raise InputError(
            f"The image does not cover the labels (only {inside.mean():.0%} of their grid).",
            "Give the volume that was segmented.",
            code="input.geometry",
        )


def _check_probabilities(probabilities: TopProbabilities | None, volume: Volume) -> None:
    if probabilities is None:
        return
    if probabilities.volume_digest != volume_digest(volume):
        raise InputError(
            "The probabilities belong to another volume.",
            "Segment this volume, or correct without probabilities.",
            code="input.probabilities",
        )


def _understood(label_map: LabelMap, structures: list, prompts, locked, add, notes: list) -> list[_Job]:
    shut = None if locked is None else {_found(name, structures, ()).value for name in locked}
    understood = []
    for number, prompt in enumerate(prompts, start=1):
        target = _found(prompt.structure, structures, add)
        if target not in structures:
            target = _added(target, label_map, structures)
            notes.append(f"{target.title} was not in the segmentation; it is added with the label {target.value}.")
        if shut is not None and target.value in shut:
            raise UsageError(
                f"Prompt {number} is for {target.name}, which is locked.", "Unlock it.", code="usage.locked"
            )
        seeds = seeds_of(prompt, label_map.array.shape, label_map.ijk_to_ras, number)
        if seeds.clipped:
            notes.append(f"Part of prompt {number} ({prompt.kind} for {target.name}) lies outside the volume.")
        understood.append((number, prompt, target, seeds))
    jobs = []
    for number, prompt, target, seeds in understood:  # now that all structures are known
        values = shut if shut is not None else {s.value for s in structures} - {target.value}
        jobs.append(_Job(number, prompt, target, seeds, np.array(sorted(values), int)))
    return jobs


def _found(name: str, structures: list[Structure], add) -> Structure:
    """A structure by name or title; one of the standard table or to be added has the value 0 if the map lacks it."""
    standard = [replace(s, value=0) for s in standard_structures()]
    for known in (structures, standard, [structure_for(new.strip(), 0) for new in add]):
        if (found := structure_named(name, known)) is not None:
            return found
    error = unknown_structure(name, list(dict.fromkeys(s.name for s in [*structures, *standard])))
    error.remedy += ' To make a new structure, list its name under "add".'
    raise error


def _added(structure: Structure, label_map: LabelMap, structures: list[Structure]) -> Structure:
    """A structure that the map lacks, appended with its standard value, or the next one free."""
    limit = np.iinfo(label_map.array.dtype).max
    taken = {s.value for s in structures} | set(np.unique(label_map.array).tolist())
    usual = next((s.value for s in standard_structures() if s.name == structure.name), 0)
    values = [usual, *range(max(taken, default=0) + 1, limit + 1), *range(1, limit + 1)]
    free = next((v for v in values if 0 < v <= limit and v not in taken), None)
    if free is None:
        raise UsageError(
            f"There is no room for {structure.name}: all {limit} label values are taken.",
            "Remove a structure first.",
            code="usage.structure",
        )
    structures.append(replace(structure, value=free))
    return structures[-1]


def _opposes(a: _Job, b: _Job) -> bool:
    """Whether the two cannot both hold at one voxel."""
    if a.target is b.target:
        return a.prompt.positive != b.prompt.positive
    return a.prompt.positive and b.prompt.positive


def _check_contradictions(jobs: list[_Job]) -> None:
    for n, a in enumerate(jobs):
        for b in jobs[:n]:
            if _opposes(a, b) and overlap(a.seeds, b.seeds):
                raise InputError(
                    f"Prompts {b.number} and {a.number} contradict each other: they ask different things of one voxel.",
                    "Remove one of them.",
                    code="input.prompts",
                )


def _account(before: LabelMap, result: Refinement) -> None:
    """Fill in what changed, where, and by how much."""
    if not result.regions:
        return
    hull = tuple(
        slice(min(r[a].start for r in result.regions), max(r[a].stop for r in result.regions)) for a in range(3)
    )
    old, new = before.array[hull], result.label_map.array[hull]
    inner = box_of(old != new)
    if inner is not None:
        result.changed_box = tuple(slice(h.start + s.start, h.start + s.stop) for h, s in zip(hull, inner, strict=True))
        result.changes_ml = changes_ml(old, new, result.label_map)
