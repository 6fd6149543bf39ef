"""Corrected results on disk: folders of results whose label map was changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.label_map import LabelMap, changed_structures
from ..data.volume import Volume, volume_digest
from ..io.read import read_label_map
from ..io.result_files import PROVENANCE, holds_voxels, label_map_in, label_maps_in, provenance_of
from ..training.dataset import find_cases, patients_in
from ..util.digests import file_digest
from ..util.errors import InputError


@dataclass(frozen=True)
class CorrectedResult:
    """A folder of results.

    Attributes:
        folder: of the result.
        image: file or folder that was segmented.
        labels: file of the corrected labels.
        facts: its provenance.
        patient: key of the patient, as a table beside the results says; else empty.
    """

    folder: Path
    image: Path
    labels: Path
    facts: dict[str, Any]
    patient: str = ""

    @property
    def model(self) -> str:
        """Id of the model that made it; empty if unknown."""
        model = self.facts.get("model")
        return str(model.get("id", "")) if isinstance(model, dict) else ""

    def check(self, volume: Volume) -> None:
        """Check that a volume is the one that was segmented.

        Raises:
            InputError: it is another one.
        """
        known = self.facts.get("volume_digest")
        if known and volume_digest(volume) != known:
            raise InputError(
                f"{self.image} is not the image that {self.folder} is the result of.",
                "Choose the image that was segmented.",
                code="input.data",
            )

    def corrected(self, label_map: LabelMap) -> list[str]:
        """Names of the structures that were corrected, by a copy of the labels in another format that was not; all if
        there is none.

        Args:
            label_map: as it is now.
        """
        names = [s.name for s in label_map.structures]
        for copy in (file for file in label_maps_in(self.folder) if file != self.labels and holds_voxels(file)):
            try:
                if file_digest(copy) != self.facts["files"][copy.name]["digest"]:
                    continue
                before = read_label_map(copy, self.image)
            except (OSError, LookupError, TypeError, InputError):
                continue
            if before.array.shape == label_map.array.shape:
                return changed_structures(self._as_before(before, label_map), label_map) or names
        return names

    def _as_before(self, copy: LabelMap, label_map: LabelMap) -> LabelMap:
        """A copy with the values of a label map. Formats differ in them, and some leave out what was not found."""
        settings = self.facts.get("settings")
        asked = settings.get("structures", []) if isinstance(settings, dict) else []
        value = {s.name: s.value for s in label_map.structures}
        table = np.zeros(1 + max(int(copy.array.max()), *(s.value for s in copy.structures), 0), np.uint16)
        for structure in copy.structures:
            table[structure.value] = value.get(structure.name, 0)
        known = {s.name for s in copy.structures}.union(asked)
        return replace(copy, array=table[copy.array], structures=[s for s in label_map.structures if s.name in known])


def corrected_results(data: Path, image: Path | None = None) -> list[CorrectedResult]:
    """The results in a folder.

    Args:
        data: folder of one result, or of several.
        image: what was segmented, for a single result; None if it is in the folder or beside it.

    Raises:
        InputError: there is no result, or its image is missing.
    """
    if image is not None and (labels := label_map_in(data)) is not None:
        return [CorrectedResult(data, image, labels, provenance_of(data), _patient_beside(data))]
    try:
        cases = find_cases(data)
    except InputError as error:
        if error.code != "input.image":
            raise
        raise InputError(
            error.message, "Put it beside the folder, or name it.", code=error.code, action="give_image"
        ) from error
    found = [case for case in cases if (case.labels.parent / PROVENANCE).is_file()]
    if not found or image is not None:
        raise InputError(
            f"{data} is not {'a single' if image is not None else 'a'} result of a segmentation.",
            f"Choose a folder of results: with a label map and {PROVENANCE}.",
            code="input.data",
        )
    return [
        CorrectedResult(
            case.labels.parent,
            case.image,
            case.labels,
            provenance_of(case.labels.parent),
            case.patient or _patient_beside(case.labels.parent),
        )
        for case in found
    ]


def _patient_beside(folder: Path) -> str:
    """The patient of a result, by the table of the folder in which it lies."""
    folder = folder.resolve()
    return patients_in(folder.parent).get(folder.name, "")
