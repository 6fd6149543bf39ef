"""Checks of a data set before anything is trained: each fault is an error or a warning of one sentence.

Every case is read once here, for its facts; nothing of it is kept in memory but a sample of its intensities.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..data.affine import orientation_of, reorient, spacing_kji
from ..data.label_map import LabelMap
from ..data.terminology import structure_for
from ..data.types import FloatArray
from ..data.volume import Volume, volume_digest
from ..data.volume_checks import ct_doubts, reject_unusable
from ..io.patients import patient_of
from ..util.errors import DeepSegError, InputError
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from ..util.words import counted
from .dataset import CaseFiles
from .reading import ReadCase, read_case
from .regions import Combination, Regions, agreeing, check_number, overlap_sentences, regions_of

SAMPLED_VOXELS = 10_000  # of the labelled voxels of a case, as in nnU-Net's fingerprint
FEW_VOXELS = 10
FAR_APART = 3.0  # ratio of spacings between cases


@dataclass
class CaseFacts:
    """What is known of a case after one look.

    Attributes:
        files: of the case.
        error: why it cannot be used; None if it can.
        warnings: one sentence each.
        shape, spacing: voxels and mm along (Z, Y, X) of the RAS-oriented image.
        voxels: labelled, by structure; 0 for one that was looked for and is not there.
        combinations: number of voxels by the structures that they belong to.
        looked_for: see :class:`~.reading.ReadCase`; never None in a :class:`Report`.
        intensities: (channels, n) sample of the labelled voxels.
        not_ct: reasons why it does not look like CT.
        digest: of the image.
        labels_digest: of the labels, their names and the further images.
        patient: key of the patient: the table's, else that of the DICOM series; empty if neither tells.
    """

    files: CaseFiles
    error: DeepSegError | None = None
    warnings: list[str] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    voxels: dict[str, int] = field(default_factory=dict)
    combinations: Counter[Combination] = field(default_factory=Counter)
    looked_for: frozenset[str] | None = None
    intensities: FloatArray = field(default_factory=lambda: np.zeros((1, 0)))
    not_ct: list[str] = field(default_factory=list)
    digest: str = ""
    labels_digest: str = ""
    patient: str = ""


Show = Callable[[CaseFacts, Volume, LabelMap], None]


@dataclass
class Report:
    """The result of the checks.

    Attributes:
        cases: all of them, also those with an error.
        structures: that occur and were looked for, in label order; a model is trained for these.
        modality: of the first image: ``"CT"``, or what the data set says; None if unknown.
        warnings, errors: of cases and of the data set, each with the case's name.
        channels: names of the images if a case has several; else none.
        regions: the structures, if they overlap; all of them are in the model, also those that do not occur.
    """

    cases: list[CaseFacts]
    structures: list[str]
    modality: str | None
    warnings: list[str]
    errors: list[DeepSegError]
    channels: tuple[str, ...] = ()
    regions: Regions | None = None

    @property
    def usable(self) -> list[CaseFacts]:
        """The cases without an error."""
        return [facts for facts in self.cases if facts.error is None]

    @property
    def patients(self) -> list[list[str]]:
        """The names of the cases of each patient; a case whose patient is not known has one of its own."""
        found: dict[str, list[str]] = {}
        for facts in self.cases:
            found.setdefault(facts.patient or facts.files.name, []).append(facts.files.name)
        return list(found.values())

    def raise_first(self) -> None:
        """Raise the first error, which tells how many others there are."""
        if self.errors:
            first, others = self.errors[0], len(self.errors) - 1
            more = f" There {'is 1 more error' if others == 1 else f'are {others} more errors'}." if others else ""
            raise InputError(first.message + more, first.remedy, code=first.code)


def look_at(files: CaseFiles, show: Show | None = None) -> CaseFacts:
    """Read a case for its facts; what is wrong with it is in them.

    Args:
        show: receives the case, the volume and its labels, for a picture.
    """
    facts = CaseFacts(files)
    try:
        case = read_case(files)
        greys = reject_unusable(case.volume)
        facts.patient = files.patient or patient_of(files.image)
    except DeepSegError as error:
        facts.error = error
        return facts
    view, matrix = reorient(case.volume.array, case.volume.ijk_to_ras, "RAS")
    facts.shape, facts.spacing = view.shape, tuple(map(float, spacing_kji(matrix)))
    counts = np.bincount(case.labels.ravel(), minlength=max(case.names, default=0) + 1)
    facts.voxels = {name: int(counts[list(values)].sum()) for name, values in case.structures.items()}
    for value, names in case.combinations().items():
        facts.combinations[names] += int(counts[value])
    facts.looked_for, facts.warnings = case.looked_for, case.warnings
    asked = case.looked_for if case.looked_for is not None else frozenset(facts.voxels)
    beyond = [name for name, count in facts.voxels.items() if count and name not in asked]
    if not any(facts.voxels[name] for name in asked & facts.voxels.keys()):
        facts.warnings.append(f"{files.labels.name} has no labelled voxel.")
    if beyond:
        more = f" and {len(beyond) - 1} more are" if len(beyond) > 1 else " is"
        facts.warnings.append(f"{beyond[0]}{more} labelled but not looked for: not learnt from this case.")
    facts.warnings += [
        f"{name} has only {counted(count, 'labelled voxel')}: see whether that is meant."
        for name, count in facts.voxels.items()
        if 0 < count < FEW_VOXELS
    ]
    rng = np.random.default_rng(0)
    learnt = [v for name, values in case.structures.items() if name in asked for v in values]
    labelled = np.flatnonzero(np.isin(case.labels, learnt))
    chosen = rng.choice(labelled, min(SAMPLED_VOXELS, len(labelled)), replace=False) if len(labelled) else labelled
    images = (case.volume.array, *case.further)
    facts.intensities = np.array([image.ravel()[chosen] for image in images], float)
    facts.not_ct = ct_doubts(case.volume, greys)[0]
    facts.digest, facts.labels_digest = volume_digest(case.volume), _labels_digest(case)
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
    channels: Sequence[str] = (),
) -> Report:
    """Look at every case, and compare them.

    Args:
        modality: of the first images as the data set states it; None to find out whether they are CT.
        show: receives each case that can be used, its volume and labels, for a picture.
        channels: names of the images, if a case has several.

    Raises:
        Cancelled: ``cancel`` said so.
    """
    found = []
    for number, files in enumerate(cases):
        check(cancel)
        progress("check", number / len(cases), files.name)
        found.append(look_at(files, show))
    progress("check", 1.0, counted(len(cases), "case"))
    errors = [_named(facts.files.name, facts.error) for facts in found if facts.error is not None]
    warnings = [f"{facts.files.name}: {sentence}" for facts in found for sentence in facts.warnings]
    usable = [facts for facts in found if facts.error is None]
    totals: Counter[str] = Counter()
    for facts in usable:
        asked = facts.looked_for if facts.looked_for is not None else facts.voxels.keys()
        totals.update({name: count for name, count in facts.voxels.items() if name in asked})
    structures = [name for name, count in totals.items() if count]
    if usable and not structures:
        errors.append(InputError("No case has a labelled voxel.", "Label at least one structure.", code="input.empty"))
    regions: Regions | None = None
    try:
        regions, sentences = _regions(usable, structures)
        warnings += sentences
    except InputError as error:
        errors.append(error)
    empty = [name for name, count in totals.items() if not count]
    if empty:
        more = f" and {len(empty) - 1} more structure{'s' * (len(empty) > 2)}" if len(empty) > 1 else ""
        kept = regions is not None or any(facts.files.model is not None for facts in usable)
        left = "" if kept else ": left out of the model"
        warnings.append(f"No case has a labelled voxel of {empty[0]}{more}{left}.")
    if regions is not None:
        structures = list(regions.values)
    for facts in usable:
        facts.looked_for = frozenset(structures) if facts.looked_for is None else facts.looked_for
    errors += _twice(usable) + _mixed(usable, modality)
    if modality is None and usable and not any(facts.not_ct for facts in usable):
        modality = "CT"
    warnings += _far_apart(usable)
    named = tuple(channels) if len(channels) > 1 else ()
    report = Report(found, structures, modality, warnings, errors, named, regions)
    if len(report.patients) == 1:
        what = "There is one case" if len(found) == 1 else "All cases are of one patient"
        warnings.append(f"{what}: the model will know this patient, and may fail on others.")
    return report


def _regions(cases: list[CaseFacts], structures: list[str]) -> tuple[Regions | None, list[str]]:
    """The regions of a data set, if structures overlap that were looked for, and what is to be told of it.

    Raises:
        InputError: there are too many combinations.
    """
    given = next((facts.files.regions for facts in cases if facts.files.regions is not None), None)
    known = frozenset(structures) | (given.values.keys() if given is not None else frozenset())
    found: dict[str, Counter[Combination]] = {}
    for facts in cases:
        own = found.setdefault(facts.files.name, Counter())
        for names, voxels in facts.combinations.items():
            if voxels:
                own[names & _asked(facts, known)] += voxels
    if given is None and all(len(names) < 2 for own in found.values() for names in own):
        return None, []
    return joined_regions(cases, known, given), overlap_sentences(found, given)


def joined_regions(cases: Sequence[CaseFacts], known: Combination, given: Regions | None = None) -> Regions:
    """The regions for cases in which different structures were looked for.

    Args:
        known: all structures.
        given: see :func:`.regions.regions_of`.

    Raises:
        InputError: there are too many combinations.
    """
    total: Counter[Combination] = Counter()
    labels = given.by_combination() if given is not None else {frozenset[str](): 0}
    for facts in sorted(cases, key=lambda facts: -len(_asked(facts, known))):
        asked = _asked(facts, known)
        for names, voxels in facts.combinations.items():
            if voxels:
                same = agreeing(names, asked, [*labels, *total])
                total[names & asked if same is None else same] += voxels
    check_number(len(total))
    return regions_of(total, given)


def _asked(facts: CaseFacts, known: Combination) -> Combination:
    return known if facts.looked_for is None else facts.looked_for & known


def _labels_digest(case: ReadCase) -> str:
    names = json.dumps([sorted(case.names.items()), sorted(case.structures.items())])
    digest = hashlib.sha256(names.encode())
    for array in (case.labels, *case.further):
        digest.update(np.ascontiguousarray(array).data)
    return f"sha256:{digest.hexdigest()}"


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
            f"{facts.files.image} does not look like a CT in HU, unlike others. {facts.not_ct[0]}",
            "Remove it, or train on images of one modality.",
            code="input.modality",
        )
        for facts in (odd if expected else [])
    ]


def _far_apart(cases: list[CaseFacts]) -> list[str]:
    sentences = []
    for axis, name in enumerate(("slice distances", "voxel sizes along A", "voxel sizes along R")):
        order = sorted(cases, key=lambda facts: facts.spacing[axis])
        if order and (high := order[-1].spacing[axis]) > FAR_APART * (low := order[0].spacing[axis]):
            ends = f"{order[0].files.name} and {order[-1].files.name}"
            sentences.append(f"The {name} range from {low:.3g} to {high:.3g} mm: check the headers of {ends}.")
    return sentences
