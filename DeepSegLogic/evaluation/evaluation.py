"""Evaluation: predicted label maps against reference label maps, structure by structure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..data.label_grid import on_common_grid
from ..data.label_map import LabelMap, Structure, known_structure
from ..io import read_label_map
from ..io.files import as_path
from ..io.probabilities import read_probabilities
from ..io.result_files import is_of_result, provenance_of
from ..models.find import models_here
from ..models.provenance import learnt_from
from ..util.errors import InputError, ResourceError, UsageError
from ..util.given import checks_arguments
from ..util.packages import can_import, lacks_extra
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from ..util.words import some_of
from .calibration import Reliability
from .cases import CasePair, Pairs, find_pairs, the_case
from .metrics import Thresholds
from .pictures import DifferencePicture, Worst
from .scoring import CaseScoring, Score, Settings

_NAMED = 5  # in a list


@dataclass
class Evaluation:
    """How well predictions match their references.

    Attributes:
        scores: by case and structure, for structures that both sides look for.
        thresholds: of the metrics.
        cases: names of the evaluated ones.
        failed: cases that could not be compared, with the reason; a single case raises its error instead.
        warnings: one sentence each.
        only_prediction, only_reference: cases without a partner.
        structures_only_prediction, structures_only_reference: structures that the other side lists in no case; they
            are not scored.
        attributes: of cases, such as ``{"case_1": {"sex": "F"}}``, for subgroups.
        worst: pictures of the cases and structures with the lowest Dice.
        reliability: how often what was believed is true, over all cases, by structure; for cases with probabilities.
    """

    scores: list[Score] = field(default_factory=list)
    thresholds: Thresholds = field(default_factory=Thresholds)
    cases: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    only_prediction: list[str] = field(default_factory=list)
    only_reference: list[str] = field(default_factory=list)
    structures_only_prediction: list[str] = field(default_factory=list)
    structures_only_reference: list[str] = field(default_factory=list)
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    worst: list[DifferencePicture] = field(default_factory=list)
    reliability: dict[str, Reliability] = field(default_factory=dict)

    def values(self, metric: str, structure: str) -> dict[str, float]:
        """A metric of one structure by case."""
        return {s.case: s.values[metric] for s in self.scores if s.structure == structure}

    @property
    def titles(self) -> dict[str, str]:
        """Names and titles of the scored structures."""
        return {s.structure: s.title for s in self.scores}


@checks_arguments
def evaluate(
    prediction: Path | str | LabelMap,
    reference: Path | str | LabelMap,
    *,
    structures: Collection[str] | None = None,
    match: str = "",
    by_value: bool = False,
    tubular: Collection[str] | None = None,
    tolerance_mm: float = 3.0,
    lesion_iou: float = 0.1,
    attributes: Mapping[str, Mapping[str, str]] | None = None,
    read: Callable[[Path], LabelMap] = read_label_map,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> Evaluation:
    """Compare predicted label maps with reference label maps on the same grids; empty margins may be left out.

    Args:
        prediction, reference: a label map, its file, a folder of results, or a folder of several of these, matched by
            name, see :func:`~DeepSegLogic.evaluation.cases.find_pairs`. A folder of results with
            ``probabilities.npz`` also gets its calibration (ECE), over the box around prediction and reference.
        structures: names or titles of the structures to score; None for all.
        match: take only references whose path matches this pattern from the right.
        by_value: pair structures by label value. Else by name, and by value only if no name is common.
        tubular: structures that get clDice, by name or title; None for vessels, airways and the spinal cord.
        tolerance_mm, lesion_iou: see :class:`~DeepSegLogic.evaluation.metrics.Thresholds`.
        attributes: of cases by name, for subgroups.
        read: reads a label map; for untrusted files, a reader in a process of its own.
        progress, cancel: see :mod:`DeepSegLogic.util.progress`.

    Raises:
        UsageError: an unknown structure, or a threshold out of range.
        InputError: nothing matches, or no case can be compared: grids differ, or a label map cannot be read.
        ResourceError: MONAI or scikit-image is not installed.
        Cancelled: ``cancel`` returned True.

    Example:
        >>> from DeepSegLogic import evaluate, read_label_map
        >>> organs = read_label_map("organs.seg.nrrd")
        >>> found = evaluate(organs, organs, structures=["left_lung"])
        >>> found.scores[0].values["dice"], found.scores[0].values["hd95_mm"]
        (1.0, 0.0)
    """
    _check_packages()
    settings = Settings(structures, by_value, tubular, _thresholds(tolerance_mm, lesion_iou))
    pairs = _pairs(prediction, reference, match)
    found = Evaluation([], settings.thresholds, attributes=attributes or {})
    found.only_prediction, found.only_reference = pairs.only_prediction, pairs.only_reference
    listed: tuple[set[str], set[str]] = (set(), set())
    known: dict[str, Structure] = {}
    told: dict[str, list[str]] = {}
    worst = Worst()
    for n, pair in enumerate(pairs.pairs):
        check(cancel)
        try:
            ours = prediction if isinstance(prediction, LabelMap) else read(pair.prediction)
            theirs = reference if isinstance(reference, LabelMap) else read(pair.reference)
            case = _scoring(pair, *on_common_grid(ours, theirs), settings)
        except InputError as error:
            if len(pairs.pairs) == 1:
                raise
            found.failed[pair.name] = str(error)
            continue
        for part, score in case.scores(worst):
            check(cancel)
            progress("evaluate", (n + part) / len(pairs.pairs), f"{pair.name}: {score.title}")
            found.scores.append(score)
        for name, bins in case.reliability.items():
            found.reliability[name] = found.reliability[name] + bins if name in found.reliability else bins
        for names, here in zip(listed, (case.in_prediction, case.in_reference), strict=True):
            names |= here
        known |= {s.name: s for s in (*ours.structures, *theirs.structures)}
        found.cases.append(pair.name)
        for sentence in _told(pair, ours, theirs, case):
            told.setdefault(sentence, []).append(pair.name)
    progress("evaluate", 1.0, "")
    if found.failed and not found.cases:
        raise InputError(f"No case can be compared. {next(iter(found.failed.values()))}", code="input.pairs")
    _check_known(structures, known)
    found.warnings = [f"{_some(cases)}: {sentence}" for sentence, cases in told.items()]
    found.worst = worst.found
    _keep_common(found, *listed)
    return found


def _scoring(pair: CasePair, prediction: LabelMap, reference: LabelMap, settings: Settings) -> CaseScoring:
    kept = pair.prediction.parent / "probabilities.npz"
    probabilities = read_probabilities(kept) if is_of_result(pair.prediction) and kept.is_file() else None
    names = (str(pair.prediction), str(pair.reference))
    return CaseScoring(pair.name, prediction, reference, names, settings, probabilities)


def _told(pair: CasePair, prediction: LabelMap, reference: LabelMap, case: CaseScoring) -> list[str]:
    told = [w.replace(pair.prediction.name, "The prediction") for w in prediction.warnings]
    told += [w.replace(pair.reference.name, "The reference") for w in reference.warnings]
    if case.matched_by_value:
        told.append("No structure has the same name on both sides, so they are matched by label value.")
    if is_of_result(pair.prediction) and _trained_on(pair.prediction.parent):
        told.append("The model was trained on this very image: its scores say nothing about new images.")
    return told


def _trained_on(folder: Path) -> bool:
    """Whether the model's card names the image that was segmented, by the digest of its file or of its voxels."""
    facts = provenance_of(folder)
    try:
        card = models_here()[facts["model"]["id"]]
        return learnt_from(card, facts["input"].get("digest"), facts.get("volume_digest"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # unknown
        return False


def _check_known(structures: Collection[str] | None, known: Mapping[str, Structure]) -> None:
    for name in structures or ():
        known_structure(name, known.values())


def _keep_common(found: Evaluation, in_prediction: set[str], in_reference: set[str]) -> None:
    """Drop the scores of structures that one side lists in no case."""
    common = in_prediction & in_reference
    found.structures_only_prediction = sorted(in_prediction - common)
    found.structures_only_reference = sorted(in_reference - common)
    found.scores = [s for s in found.scores if s.structure in common]
    found.reliability = {name: rows for name, rows in found.reliability.items() if name in common}
    for names, side in ((in_prediction, "prediction"), (in_reference, "reference")):
        if not names:
            raise InputError(
                f"The {side} has no labelled voxel, and does not name structures that were looked for.",
                "Choose another file, or one that names its structures, such as a .seg.nrrd.",
                code="input.empty",
            )
    if not found.scores:
        raise InputError(
            f"Prediction and reference have no structure in common: {_some(in_prediction)} and {_some(in_reference)}.",
            "Check the names of the structures, or match them by label value.",
            code="input.structures",
        )


def _pairs(prediction: Path | str | LabelMap, reference: Path | str | LabelMap, match: str) -> Pairs:
    if not isinstance(prediction, LabelMap) and not isinstance(reference, LabelMap):
        return find_pairs(as_path(prediction), as_path(reference), match)
    sides = [
        Path(name) if isinstance(side, LabelMap) else the_case(as_path(side))
        for name, side in (("prediction", prediction), ("reference", reference))
    ]
    return Pairs([CasePair("case", *sides)])


def _thresholds(tolerance_mm: float, lesion_iou: float) -> Thresholds:
    if not 0 <= tolerance_mm < float("inf"):
        raise UsageError(f"The tolerance of {tolerance_mm} mm is not 0 or more.", "Choose another one.")
    if not 0 < lesion_iou <= 1:
        raise UsageError(f"The lesion IoU {lesion_iou} is not above 0 and up to 1.", "Choose another one.")
    return Thresholds(tolerance_mm, lesion_iou)


def _check_packages() -> None:
    missing = [name for package, name in (("monai", "MONAI"), ("skimage", "scikit-image")) if not can_import(package)]
    if missing:
        raise lacks_extra(
            ResourceError,
            f"Evaluation needs packages that are not installed: {', '.join(missing)}.",
            "evaluation",
            code="resource.package",
            remedy="Install them.",
        )


def _some(names: Collection[str]) -> str:
    return some_of(sorted(names), _NAMED) or "none"
