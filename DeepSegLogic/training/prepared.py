"""Cases on the grid of a plan, as files that are mapped into memory while patches are cut from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..data.types import LabelArray
from ..inference.grid_plan import network_view
from ..inference.preprocessing import prepare
from ..inference.resampling import apply, axis_matrices
from ..io.dataset_names import IGNORE
from ..models.files import read_json
from ..models.plan import Plan, Resampling
from ..util.atomic_write import atomic_folder
from ..util.errors import InputError
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from ..util.words import counted
from .checks import CaseFacts
from .export import engine_plan
from .losses import IGNORED
from .planning import TrainingPlan
from .reading import ReadCase, read_case

_PLACES = 300  # voxels kept per class, to cut patches around
_TABLE = "cases.json"
_LINEAR = Resampling("torch", 1, 0, False)

Labels = npt.NDArray[np.int16]


@dataclass(frozen=True)
class PreparedCase:
    """One case.

    Attributes:
        name: for messages.
        files: how the names of its files begin. They are opened at each use, so that a case is small when it is sent to
            a process that cuts patches.
        places: (n, 3) int64 voxels of each class that occurs, by class.
        looked_for: classes that were looked for, ascending; the background's 0 is not among them.
    """

    name: str
    files: Path
    places: dict[int, npt.NDArray[np.int64]]
    looked_for: tuple[int, ...]

    @property
    def image(self) -> npt.NDArray[np.float16]:
        """(channels, Z, Y, X) float16, normalized, mapped from its file."""
        mapped: npt.NDArray[np.float16] = np.load(f"{self.files}_image.npy", mmap_mode="r")
        return mapped

    @property
    def labels(self) -> Labels:
        """(Z, Y, X) int16, mapped from its file: classes, or :data:`~.losses.IGNORED`. Where structures overlap, they
        are those of the plan's regions."""
        mapped: Labels = np.load(f"{self.files}_labels.npy", mmap_mode="r")
        return mapped


def prepare_cases(
    cases: Sequence[CaseFacts],
    plan: TrainingPlan,
    folder: Path,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> list[PreparedCase]:
    """Prepare cases for a plan; those that are in ``folder`` already, for the same plan, are taken from there.

    Args:
        folder: for the prepared files; they hold the patients' images.

    Raises:
        InputError: a file has changed since it was checked.
        OutputError: the folder cannot be written, or the disk is full.
        Cancelled: ``cancel`` said so.
    """
    kind = _kind(cases, plan)
    if not _is_there(folder, kind):
        engine = engine_plan(plan)
        with atomic_folder(folder, last=_TABLE) as temporary:
            for number, facts in enumerate(cases):
                check(cancel)
                progress("prepare", number / len(cases), facts.files.name)
                image, labels = _on_grid(facts, plan, engine)
                np.save(temporary / f"{number}_image.npy", image)
                np.save(temporary / f"{number}_labels.npy", labels)
                np.save(temporary / f"{number}_places.npy", _places(labels))
            (temporary / _TABLE).write_text(json.dumps({"kind": kind}), "utf-8")
        progress("prepare", 1.0, counted(len(cases), "case"))
    return [_opened(folder, number, facts, plan) for number, facts in enumerate(cases)]


def looked_for(facts: CaseFacts, plan: TrainingPlan) -> tuple[int, ...]:
    """The classes of a plan that were looked for in a case."""
    known = facts.looked_for or frozenset()
    return tuple(value for value, name in enumerate(plan.structures, 1) if name in known)


def resampled_labels(labels: LabelArray | Labels, shape: Sequence[int]) -> npt.NDArray[np.int16]:
    """Labels (Z, Y, X) on another grid of the same extent: at each voxel the label with the largest linear weight."""
    if labels.shape == tuple(shape):
        return labels.astype(np.int16)
    ones = (1.0, 1.0, 1.0)
    matrices = axis_matrices(_LINEAR, labels.shape, shape, ones, ones)
    best, found = torch.zeros(tuple(shape)), torch.zeros(tuple(shape), dtype=torch.int16)
    for value in np.unique(labels).tolist():
        share = torch.from_numpy((labels == value).astype(np.float32))
        for axis, matrix in enumerate(matrices):
            share = apply(matrix, share, axis)
        larger = share > best
        found[larger], best[larger] = value, share[larger]
    return found.numpy()


def _on_grid(facts: CaseFacts, plan: TrainingPlan, engine: Plan) -> tuple[npt.NDArray[np.float16], Labels]:
    case = read_case(facts.files)
    prepared = prepare(case.volume, engine, torch.device("cpu"), channels=case.further)
    classes = _classes(case, looked_for(facts, plan), plan)
    view = network_view(case.labels, case.volume.ijk_to_ras, engine)[0][prepared.grid.seen]
    labels = resampled_labels(classes[view], prepared.grid.shape)
    return prepared.image.numpy().astype(np.float16), labels


def _classes(case: ReadCase, asked: Sequence[int], plan: TrainingPlan) -> npt.NDArray[np.int16]:
    """By label value of a case, the class, or the label of the plan's regions."""
    if plan.regions is None:
        own_place = {frozenset[str](): 0} | {frozenset({plan.structures[value - 1]}): value for value in asked}
    known = frozenset(plan.structures[value - 1] for value in asked)
    classes = np.zeros(max(case.names, default=0) + 1, np.int16)
    for value, combination in case.combinations().items():
        own = combination & known
        place = own_place.get(own) if plan.regions is None else plan.regions.label_of(own, known)
        if place is None:
            raise InputError(
                f"The labels have changed since they were checked: {' and '.join(sorted(own))} overlap.",
                "Start again.",
                code="input.changed",
            )
        classes[value] = IGNORED if case.names[value] == IGNORE else place
    return classes


def _places(labels: Labels) -> npt.NDArray[np.int64]:
    """(n, 4) class and voxel."""
    rng, rows = np.random.default_rng(0), [np.zeros((0, 4), np.int64)]
    for value in np.unique(labels[labels > 0]).tolist():
        voxels = np.flatnonzero(labels == value)
        chosen = rng.choice(voxels, min(len(voxels), _PLACES), replace=False)
        index = np.transpose(np.unravel_index(chosen, labels.shape))
        rows.append(np.column_stack([np.full(len(index), value), index]))
    return np.concatenate(rows)


def _kind(cases: Sequence[CaseFacts], plan: TrainingPlan) -> str:
    """A digest of all that the prepared files depend on."""
    files = [[f.files.name, f.digest, f.labels_digest, looked_for(f, plan)] for f in cases]
    rules = [asdict(rule) for rule in (plan.normalization, *plan.further)]
    regions = None if plan.regions is None else asdict(plan.regions)
    grid = [plan.structures, plan.spacing, rules, plan.is_unet, plan.separate_z, regions]
    return hashlib.sha256(json.dumps([files, grid]).encode()).hexdigest()


def _is_there(folder: Path, kind: str) -> bool:
    try:
        return bool(read_json(folder / _TABLE)["kind"] == kind)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _opened(folder: Path, number: int, facts: CaseFacts, plan: TrainingPlan) -> PreparedCase:
    rows = np.load(folder / f"{number}_places.npy")
    places = {int(value): rows[rows[:, 0] == value, 1:] for value in np.unique(rows[:, 0])}
    return PreparedCase(facts.files.name, folder / str(number), places, looked_for(facts, plan))
