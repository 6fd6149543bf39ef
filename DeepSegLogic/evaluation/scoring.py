"""The metrics of all structures of one case."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..data.affine import spacing_kji
from ..data.boxes import matrix_of
from ..data.label_map import LabelMap, Structure, structure_named
from ..data.probabilities import TopProbabilities
from .calibration import Reliability
from .metrics import Thresholds, compare_masks
from .pictures import Worst
from .structures import Masks, pair_structures

_TUBES = ("aorta", "artery", "vein", "vena", "vessel", "trunk", "trachea", "bronch", "airway", "spinal_cord")
_NOTHING = np.zeros((1, 1, 1), bool)


@dataclass(frozen=True)
class Settings:
    """What is compared; see :func:`DeepSegLogic.evaluation.evaluate`."""

    structures: Collection[str] | None = None
    by_value: bool = False
    tubular: Collection[str] | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True)
class Score:
    """The metrics of one structure in one case.

    Attributes:
        case: its name.
        structure, title: name of the structure, and the name shown to users.
        values: :data:`~DeepSegLogic.evaluation.metrics.METRICS` by name, and ``prediction_ml`` and ``reference_ml``.
            NaN where there is nothing to score, see :func:`~DeepSegLogic.evaluation.metrics.compare_masks`.
    """

    case: str
    structure: str
    title: str
    values: dict[str, float]


class CaseScoring:
    """One case: its label maps on one grid, and the structures that they share.

    Args:
        name: of the case.
        names: of both label maps, for errors.
        probabilities: of the prediction; None if unknown.

    Attributes:
        in_prediction, in_reference: names of the structures that each side lists, also without voxels.
        reliability: of the structures scored so far whose probabilities are known.
        matched_by_value: whether label values paired them for want of a common name.

    Raises:
        InputError: the grids differ.
    """

    def __init__(
        self,
        name: str,
        prediction: LabelMap,
        reference: LabelMap,
        names: tuple[str, str],
        settings: Settings,
        probabilities: TopProbabilities | None = None,
    ):
        self._name, self._settings, self._probabilities = name, settings, probabilities
        self.reliability: dict[str, Reliability] = {}
        self._masks = Masks(prediction, reference, names)
        pairs, by_value = pair_structures(prediction, reference, by_value=settings.by_value)
        self.matched_by_value = by_value and not settings.by_value
        self._pairs = [p for p in pairs if settings.structures is None or is_named(p.structure, settings.structures)]
        self.in_prediction = {p.structure.name for p in self._pairs if p.prediction}
        self.in_reference = {p.structure.name for p in self._pairs if p.reference}

    def scores(self, worst: Worst) -> Iterator[tuple[float, Score]]:
        """The scores one by one, each with the share of the work that is done.

        Args:
            worst: gets the pictures.
        """
        spacing = spacing_kji(self._masks.ijk_to_ras)
        for n, pair in enumerate(self._pairs, start=1):
            structure, tubular = pair.structure, self._is_tubular(pair.structure)
            prediction, reference, box = self._masks.of(pair) or (_NOTHING, _NOTHING, None)
            values = compare_masks(prediction, reference, spacing, self._settings.thresholds, tubular=tubular)
            if self._probabilities is not None and pair.prediction is not None and box is not None:
                matrix = matrix_of(box, self._masks.ijk_to_ras)
                believed = self._probabilities.probability(pair.prediction.value, reference.shape, matrix)
                counted = self._masks.counted(box)
                found = Reliability.of(believed[counted], reference[counted])
                self.reliability[structure.name], values["ece"] = found, found.ece
            if pair.prediction and pair.reference and box is not None:
                worst.offer(self._name, structure.title, values["dice"], prediction, reference, spacing)
            yield n / len(self._pairs), Score(self._name, structure.name, structure.title or structure.name, values)

    def _is_tubular(self, structure: Structure) -> bool:
        if self._settings.tubular is not None:
            return is_named(structure, self._settings.tubular)
        return any(word in structure.name.lower() for word in _TUBES)


def is_named(structure: Structure, names: Collection[str]) -> bool:
    """Whether one of these names, in any case, is the structure's name or title."""
    return any(structure_named(name, [structure]) for name in names)
