"""Corrected results on disk: folders of results whose ``segmentation.seg.nrrd`` was changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.label_map import LabelMap, changed_structures
from ..data.volume import Volume, volume_digest
from ..io.read import read_label_map
from ..models.files import file_digest, read_json
from ..training.dataset import PROVENANCE, RESULT, find_cases
from ..util.errors import InputError

_ORIGINAL = "segmentation.nii.gz"


@dataclass(frozen=True)
class CorrectedResult:
    """A folder of results.

    Attributes:
        folder: of the result.
        image: file or folder that was segmented.
        facts: its provenance.
    """

    folder: Path
    image: Path
    facts: dict[str, Any]

    @property
    def labels(self) -> Path:
        """The file of the corrected labels."""
        return self.folder / RESULT

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
        """Names of the structures that were corrected, by the copy of the labels that was not; all if none is known.

        Args:
            label_map: as it is now.
        """
        names, copy = [s.name for s in label_map.structures], self.folder / _ORIGINAL
        try:
            if file_digest(copy) != self.facts["files"][_ORIGINAL]["digest"]:
                return names
            before = read_label_map(copy)
        except (OSError, LookupError, TypeError, InputError):
            return names
        return (before.array.shape == label_map.array.shape and changed_structures(before, label_map)) or names


def corrected_results(data: Path, image: Path | None = None) -> list[CorrectedResult]:
    """The results in a folder.

    Args:
        data: folder of one result, or of several.
        image: what was segmented, for a single result; None if it is in the folder or beside it.

    Raises:
        InputError: there is no result, or its image is missing.
    """
    if image is not None and (data / RESULT).is_file():
        return [CorrectedResult(data, image, _facts(data))]
    found = [case for case in find_cases(data) if (case.labels.parent / PROVENANCE).is_file()]
    if not found or image is not None:
        raise InputError(
            f"{data} is not {'a single' if image is not None else 'a'} result of a segmentation.",
            f"Choose a folder with {RESULT} and {PROVENANCE}.",
            code="input.data",
        )
    return [CorrectedResult(case.labels.parent, case.image, _facts(case.labels.parent)) for case in found]


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts = read_json(folder / PROVENANCE)
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
