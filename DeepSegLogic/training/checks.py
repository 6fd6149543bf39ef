"""Checks of a data set before anything is trained: each fault is an error or a warning of one sentence.

Every case is read once here, for its facts; nothing of it is kept in memory but a sample of its intensities.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..data.affine import orientation_of, reorient, same_grid, spacing_kji
from ..data.label_map import LabelMap
from ..data.terminology import structure_for
from ..data.types import FloatArray, LabelArray
from ..data.volume import Volume, volume_digest
from ..data.volume_checks import ct_doubts, reject_unusable
from ..io.nifti_names import read_names
from ..io.read import read_label_map, read_volume
from ..io.slicer_scene import read_slicer_scene
from ..util.errors import DeepSegError, InputError
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from .dataset import IGNORE, CaseFiles

SAMPLED_VOXELS = 10_000  # of the labelled voxels of a case, as in nnU-Net's fingerprint
FEW_VOXELS = 10
FAR_APART = 3.0  # ratio of spacings between cases
SAME_GRID_MM = 0.05


@dataclass(frozen=True)
class ReadCase:
    """A case as it was read.

    Attributes:
        volume: the image.
        labels: (K, J, I) on its grid.
        names: of the structures by label value, also of those that do not occur; ``"ignore"`` among them.
        looked_for: None for all structures of the data set.
        warnings: one sentence each.
    """

    volume: Volume
    labels: LabelArray
    names: dict[int, str]
    looked_for: frozenset[str] | None
    warnings: list[str]


@dataclass
class CaseFacts:
    """What is known of a case after one look.

    Attributes:
        files: of the case.
        error: why it cannot be used; None if it can.
        warnings: one sentence each.
        shape, spacing: voxels and mm along (Z, Y, X) of the RAS-oriented image.
        voxels: labelled, by structure; 0 for one that was looked for and is not there.
        looked_for: see :class:`ReadCase`; never None in a :class:`Report`.
        intensities: float32 sample of the labelled voxels.
        not_ct: reasons why it does not look like CT.
        digest: of the image.
    """

    files: CaseFiles
    error: DeepSegError | None = None
    warnings: list[str] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    voxels: dict[str, int] = field(default_factory=dict)
    looked_for: frozenset[str] | None = None
    intensities: FloatArray = field(default_factory=lambda: np.zeros(0))
    not_ct: list[str] = field(default_factory=list)
    digest: str = ""


Show = Callable[[CaseFacts, Volume, LabelMap], None]


@dataclass
class Report:
    """The result of the checks.

    Attributes:
        cases: all of them, also those with an error.
        structures: that occur and were looked for, in label order; a model is trained for these.
        modality: ``"CT"``, or what the data set says; None if unknown.
        warnings, errors: of cases and of the data set, each with the case's name.
    """

    cases: list[CaseFacts]
    structures: list[str]
    modality: str | None
    warnings: list[str]
    errors: list[DeepSegError]

    def raise_first(self) -> None:
        """Raise the first error, which tells how many others there are."""
        if self.errors:
            first, others = self.errors[0], len(self.errors) - 1
            more = f" There {'is 1 more error' if others == 1 else f'are {others} more errors'}." if others else ""
            raise InputError(first.message + more, first.remedy, code=first.code)


def read_case(files: CaseFiles) -> ReadCase:
    """Read image and labels, and check that they belong together.

    Raises:
        InputError: one cannot be read or used, they are on different grids, or a label has no name.
        ResourceError: not enough memory.
    """
    volume, label_map = _read(files)
    labels = label_map.array
    if labels.shape != volume.shape_kji or not same_grid(label_map.ijk_to_ras, volume.ijk_to_ras, SAME_GRID_MM):
        raise InputError(
            f"{files.labels} is not on the grid of {files.image}.",
            "Resample the labels to the image's grid (nearest neighbour).",
            code="input.grid",
        )
    warnings, looked_for = [*volume.warnings], files.looked_for
    if files.names is None:
        table = read_names(files.labels) if files.labels.name.lower().endswith((".nii", ".nii.gz")) else {}
        occurring = {s.value: s.name for s in label_map.structures}
        warnings += label_map.warnings
        names = table | occurring
        if looked_for is None and not any("does not name" in w for w in label_map.warnings):
            looked_for = frozenset(names.values())
    else:
        names = dict(files.names)
        unknown = sorted(set(np.unique(labels).tolist()) - {0, *names})
        if unknown:
            raise InputError(
                f"{files.labels} has the value {unknown[0]}, which dataset.json does not name.",
                "Add it there, or remove it from the labels.",
                code="input.labels",
            )
    return ReadCase(volume, labels, names, looked_for, warnings)


def _read(files: CaseFiles) -> tuple[Volume, LabelMap]:
    if not files.is_scene:
        return read_volume(files.image), read_label_map(files.labels).without_overlaps("trained on")
    scene = read_slicer_scene(files.image)
    if scene.label_map is None:
        why = " ".join(scene.volume.warnings)
        raise InputError(
            f"{files.image} has no segmentation that can be trained on. {why}".rstrip(),
            "In 3D Slicer, segment its volume without overlaps and save the scene again.",
            code="input.labels",
        )
    return scene.volume, scene.label_map


def look_at(files: CaseFiles, show: Show | None = None) -> CaseFacts:
    """Read a case for its facts; what is wrong with it is in them.

    Args:
        show: receives the case, the volume and its labels, for a picture.
    """
    facts = CaseFacts(files)
    try:
        case = read_case(files)
        greys = reject_unusable(case.volume)
    except DeepSegError as error:
        facts.error = error
        return facts
    view, matrix = reorient(case.volume.array, case.volume.ijk_to_ras, "RAS")
    facts.shape, facts.spacing = view.shape, tuple(map(float, spacing_kji(matrix)))
    counts = np.bincount(case.labels.ravel(), minlength=max(case.names, default=0) + 1)
    facts.voxels = {name: int(counts[value]) for value, name in case.names.items() if name != IGNORE}
    facts.looked_for, facts.warnings = case.looked_for, case.warnings
    asked = case.looked_for if case.looked_for is not None else frozenset(facts.voxels)
    beyond = [name for name, count in facts.voxels.items() if count and name not in asked]
    if not any(facts.voxels[name] for name in asked & facts.voxels.keys()):
        facts.warnings.append(f"{files.labels.name} has no labelled voxel.")
    if beyond:
        more = f" and {len(beyond) - 1} more are" if len(beyond) > 1 else " is"
        facts.warnings.append(f"{beyond[0]}{more} labelled but not looked for: not learnt from this case.")
    facts.warnings += [
        f"{name} has {count} labelled voxels." for name, count in facts.voxels.items() if 0 < count < FEW_VOXELS
    ]
    rng = np.random.default_rng(0)
    labelled = case.volume.array[np.isin(case.labels, [v for v, n in case.names.items() if n in asked])]
    chosen = rng.choice(labelled, min(SAMPLED_VOXELS, len(labelled)), replace=False) if len(labelled) else labelled
    facts.intensities = chosen.astype(float)
    facts.not_ct = ct_doubts(case.volume, greys)[0]
    facts.digest = volume_digest(case.volume)
    if show is not None:
        structures = [structure_for(name, value) for value, name in case.names.items()]
        show(facts, case.volume, LabelMap(case.labels, case.volume.ijk_to_ras, structures))
    if orientation_of(case.volume.ijk_to_ras)[2] not in "SI":
        facts.warnings.append("Its slices are not axial.")
    return facts


def check_cases(
    cases: Sequence[CaseFiles],
    modality: str | None = None,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
    show: Show | None = None,
) -> Report:
    """Look at every case, and compare them.

    Args:
        modality: of the images as the data set states it; None to find out whether they are CT.
        show: receives each case that can be used, its volume and labels, for a picture.

    Raises:
        Cancelled: ``cancel`` said so.
    """
    found = []
    for number, files in enumerate(cases):
        check(cancel)
        progress("check", number / len(cases), files.name)
        found.append(look_at(files, show))
    progress("check", 1.0, f"{len(cases)} cases")
    errors = [_named(facts.files.name, facts.error) for facts in found if facts.error is not None]
    warnings = [f"{facts.files.name}: {sentence}" for facts in found for sentence in facts.warnings]
    usable = [facts for facts in found if facts.error is None]
    totals: Counter[str] = Counter()
    for facts in usable:
        asked = facts.looked_for if facts.looked_for is not None else facts.voxels.keys()
        totals.update({name: count for name, count in facts.voxels.items() if name in asked})
    structures = [name for name, count in totals.items() if count]
    empty = [name for name, count in totals.items() if not count]
    if empty:
        more = f", and {len(empty) - 1} more structures" if len(empty) > 1 else ""
        warnings.append(f"{empty[0]}{more} without a labelled voxel in any case: left out of the model.")
    if usable and not structures:
        errors.append(InputError("No case has a labelled voxel.", "Label at least one structure.", code="input.empty"))
    for facts in usable:
        facts.looked_for = frozenset(structures) if facts.looked_for is None else facts.looked_for
    errors += _twice(usable) + _mixed(usable, modality)
    if modality is None and usable and not any(facts.not_ct for facts in usable):
        modality = "CT"
    warnings += _far_apart(usable)
    if len(usable) == 1:
        warnings.append("There is one case: the model will know this patient, and may fail on others.")
    return Report(found, structures, modality, warnings, errors)


def _named(name: str, error: DeepSegError) -> DeepSegError:
    return InputError(f"{name}: {error.message}", error.remedy, code=error.code)


def _twice(cases: list[CaseFacts]) -> list[DeepSegError]:
    first: dict[str, Path] = {}
    errors: list[DeepSegError] = []
    for facts in cases:
        other = first.setdefault(facts.digest, facts.files.image)
        if other is not facts.files.image:
            errors.append(
                InputError(
                    f"{facts.files.image} and {other} are the same image, which would be trained on and tested on.",
                    "Remove one of the two cases.",
                    code="input.twice",
                )
            )
    return errors


def _mixed(cases: list[CaseFacts], modality: str | None) -> list[DeepSegError]:
    """Errors for images that are not CT among others that are."""
    odd = [facts for facts in cases if facts.not_ct]
    expected = modality == "CT" or (modality is None and len(odd) < len(cases))
    return [
        InputError(
            f"{facts.files.image} does not look like a CT in HU, unlike others: {facts.not_ct[0]}",
            "Remove it, or train on images of one modality.",
            code="input.modality",
        )
        for facts in (odd if expected else [])
    ]


def _far_apart(cases: list[CaseFacts]) -> list[str]:
    sentences = []
    for axis, name in enumerate(("slice distances", "voxel sizes along A", "voxel sizes along R")):
        sizes = [facts.spacing[axis] for facts in cases]
        if sizes and max(sizes) > FAR_APART * min(sizes):
            sentences.append(f"The {name} range from {min(sizes):.3g} to {max(sizes):.3g} mm.")
    return sentences
