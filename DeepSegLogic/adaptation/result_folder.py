"""Corrected results on disk: folders of results whose label map was changed."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.label_grid import SAME_GRID_MM, placed_on
from ..data.label_map import LabelMap, changed_structures
from ..data.volume import Volume, volume_digest
from ..io.patients import patient_key
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
        patient: key of the patient, as given, or as a table beside the results says; else empty.
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

    def corrected(self, label_map: LabelMap, volume: Volume) -> list[str]:
        """Names of the structures that were corrected, by a copy of the labels in another format that was not; all if
        there is none.

        Args:
            label_map: as it is now, on the volume's grid.
        """
        names = [s.name for s in label_map.structures]
        for copy in (file for file in label_maps_in(self.folder) if file != self.labels and holds_voxels(file)):
            try:
                if file_digest(copy) != self.facts["files"][copy.name]["digest"]:
                    continue
                before = placed_on(volume, read_label_map(copy, self.image), SAME_GRID_MM)
            except (OSError, LookupError, TypeError, InputError):
                continue
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


def corrected_results(data: Path, image: Path | None = None, patient: str = "") -> list[CorrectedResult]:
    """The results in a folder.

    Args:
        data: folder of one result, or of several.
        image: what was segmented, for a single result; None if it is in the folder or beside it.
        patient: code of the patient of all of them; without, tables beside the results count.

    Raises:
        InputError: there is no result, its image is missing, or a table cannot be used.
    """
    key = patient_key(patient)
    if image is not None and (labels := label_map_in(data)) is not None:
        single = [CorrectedResult(data, image, labels, provenance_of(data), key)]
        return single if key else _with_patients(single)
    try:
        cases = find_cases(data, patients=not key)
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
    results = [
        CorrectedResult(folder, case.image, case.labels, provenance_of(folder), key or case.patient)
        for case in found
        for folder in [case.labels.parent]
    ]
    return results if key else _with_patients(results, {data.resolve()})


def _with_patients(results: list[CorrectedResult], known: Set[Path] = frozenset()) -> list[CorrectedResult]:
    """Results with the patients that the tables in the folders around them name; those of some folders are known."""
    folders = [result.folder.resolve() for result in results]
    tables = {place: patients_in(place) for place in {folder.parent for folder in folders} - known}
    return [
        replace(result, patient=result.patient or tables.get(folder.parent, {}).get(folder.name, ""))
        for result, folder in zip(results, folders, strict=True)
    ]
