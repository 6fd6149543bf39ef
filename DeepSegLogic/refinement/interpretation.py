"""What prompts ask for: their structures, the voxels that they fix, and whether they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..data.label_map import LabelMap, Structure, structure_named, unknown_structure
from ..data.terminology import standard_structures, structure_for
from ..util.errors import InputError, UsageError
from ..util.i18n import tr as _tr
from .layers import editable, layer_to_edit
from .prompts import Prompt
from .rasterise import Seeds, overlap, seeds_of
from .region import PromptTask


@dataclass
class Job:
    """An interpreted prompt: its number, target, voxels, the label values that must not change, and where it is
    answered: the label map, or the layer of its target."""

    number: int
    prompt: Prompt
    target: Structure
    seeds: Seeds
    locked: npt.NDArray[np.int64]
    layer: LabelMap


def prepared(
    label_map: LabelMap, prompts: Sequence[Prompt], locked: Sequence[str] | None, add: Sequence[str]
) -> tuple[LabelMap, list[Job], list[str]]:
    """A copy of the label map with the structures that prompts add, the prompts as jobs, and messages."""
    changed, notes = editable(label_map), list[str]()
    jobs = _interpreted(changed, prompts, locked, add, notes)
    _check_contradictions(jobs)
    return changed, jobs, notes


def task_of(job: Job, jobs: list[Job], skipped: dict[int, str]) -> PromptTask | None:
    """What one prompt asks for; None if that is nothing, and ``skipped`` then says why."""
    positive, value = job.prompt.positive, job.target.value
    held = job.layer.array[job.seeds.box]
    open_ = job.seeds.mask & ~np.isin(held, job.locked)
    wrong = open_ & ((held != value) if positive else (held == value))
    if positive and not open_.any():
        names = {s.value: s.name for s in job.layer.structures}
        there = ", ".join(names.get(int(v), f"label {v}") for v in np.unique(held[job.seeds.mask]))
        skipped[job.number] = f"it lies on {there}, which is locked"
    if not wrong.any():
        skipped.setdefault(job.number, _tr("the result already agrees with it"))
        return None
    return PromptTask(
        target=value,
        positive=positive,
        seeds=Seeds(job.seeds.box, wrong, job.seeds.limit),
        locked=job.locked,
        forbidden=[other.seeds for other in jobs if _opposes(other, job)],
    )


def _interpreted(
    label_map: LabelMap, prompts: Sequence[Prompt], locked: Sequence[str] | None, add: Sequence[str], notes: list[str]
) -> list[Job]:
    """The prompts as jobs; new structures are appended to those of the label map, and messages to ``notes``."""
    structures = label_map.structures
    shut = None if locked is None else {_found(name, structures, ()).value for name in locked}
    understood = []
    for number, prompt in enumerate(prompts, start=1):
        target = _found(prompt.structure, structures, add)
        if target not in structures:
            target = _added(target, label_map)
            notes.append(f"{target.title} was not in the segmentation. It is added with the label {target.value}.")
        if shut is not None and target.value in shut:
            raise UsageError(
                f"Prompt {number} is for {target.name}, which is locked.",
                "Unlock it, or remove the prompt.",
                code="usage.locked",
            )
        seeds = seeds_of(prompt, label_map.array.shape, label_map.ijk_to_ras, number)
        if seeds.clipped:
            notes.append(f"Part of prompt {number} ({prompt.kind} for {target.name}) lies outside the volume.")
        understood.append((number, prompt, target, seeds))
    jobs = []
    for number, prompt, target, seeds in understood:  # now that all structures are known
        values = shut if shut is not None else {s.value for s in structures} - {target.value}
        layer = layer_to_edit(label_map, target)
        jobs.append(Job(number, prompt, target, seeds, np.array(sorted(values), int), layer))
    return jobs


def _found(name: str, structures: list[Structure], add: Sequence[str]) -> Structure:
    """A structure by name or title; a standard or new one that the map lacks has the value 0."""
    if (found := structure_named(name, structures)) is not None:
        return found
    standard = [replace(s, value=0) for s in standard_structures()]
    for known in (standard, [structure_for(new.strip(), 0) for new in add]):
        if (found := structure_named(name, known)) is not None:
            return found
    error = unknown_structure(name, list(dict.fromkeys(s.name for s in [*structures, *standard])))
    error.remedy += ' To create a new structure, list its name under "add".'
    raise error


def _added(structure: Structure, label_map: LabelMap) -> Structure:
    """Append a structure that the map lacks, with its standard value or the next free one, and return it."""
    limit, structures = np.iinfo(label_map.array.dtype).max, label_map.structures
    taken = {s.value for s in structures} | set(np.unique(label_map.array).tolist())
    usual = next((s.value for s in standard_structures() if s.name == structure.name), 0)
    values = [usual, *range(max(taken, default=0) + 1, limit + 1), *range(1, limit + 1)]
    free = next((v for v in values if 0 < v <= limit and v not in taken), None)
    if free is None:
        raise UsageError(
            f"{structure.name} cannot be added: all {limit} label values are in use.",
            "Remove a structure first.",
            code="usage.structure",
        )
    structures.append(replace(structure, value=free))
    return structures[-1]


def _opposes(a: Job, b: Job) -> bool:
    """Whether the two cannot both be satisfied at the same voxel."""
    if a.target is b.target:
        return a.prompt.positive != b.prompt.positive
    return a.layer is b.layer and a.prompt.positive and b.prompt.positive


def _check_contradictions(jobs: list[Job]) -> None:
    for n, a in enumerate(jobs):
        for b in jobs[:n]:
            if _opposes(a, b) and overlap(a.seeds, b.seeds):
                raise InputError(
                    f"Prompts {b.number} and {a.number} contradict each other: both mark the same voxel.",
                    "Remove one of them.",
                    code="input.prompts",
                )
