"""The label map in a folder of results, in whatever format it was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..util.digests import file_digest
from ..util.errors import InputError
from ..util.json_text import json_of
from .files import opened

PROVENANCE = "provenance.json"
"""Written after all other files of a result; holds their sizes and digests."""
_LONGEST = 1 << 24  # bytes
LABEL_MAP_FILES = {
    "seg.nrrd": "segmentation.seg.nrrd",
    "nii.gz": "segmentation.nii.gz",
    "dcm-seg": "segmentation.seg.dcm",
    "dcm-labelmap": "segmentation.labelmap.dcm",
    "rtstruct": "segmentation.rtstruct.dcm",
}
"""Names of formats and of their files; the first that is there is read, as it keeps most."""


def label_maps_in(folder: Path) -> list[Path]:
    """The files of the label map in a folder of results, in the order of :data:`LABEL_MAP_FILES`."""
    return [folder / name for name in LABEL_MAP_FILES.values() if (folder / name).is_file()]


def label_map_in(folder: Path) -> Path | None:
    """The file of the label map in a folder of results; None if it is no such folder.

    Of several, it is the one that was changed since the result was written: somebody corrected it.
    """
    found = label_maps_in(folder)
    facts = provenance_of(folder) if len(found) > 1 else {}
    return next((file for file in found if was_changed(file, facts)), found[0] if found else None)


def provenance_of(folder: Path) -> dict[str, Any]:
    """The provenance of a result; empty if there is none that can be read."""
    try:
        with opened(folder / PROVENANCE) as file:
            facts = json_of(file.read(_LONGEST))
    except (InputError, OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def was_changed(file: Path, facts: Mapping[str, Any]) -> bool:
    """Whether a file of a result is another one than its provenance says was written; False if it does not say."""
    try:
        return bool(file_digest(file) != facts["files"][file.name]["digest"])
    except (OSError, LookupError, TypeError):
        return False


def is_corrected(folder: Path) -> bool:
    """Whether the label map in a folder of results was changed since it was written."""
    file = label_map_in(folder)
    return file is not None and was_changed(file, provenance_of(folder))


def holds_voxels(label_map: Path) -> bool:
    """Whether a label map in a folder of results holds voxels, not contours, which do not give them back exactly."""
    return label_map.name != LABEL_MAP_FILES["rtstruct"]


def is_of_result(path: Path) -> bool:
    """Whether a file is called like the label map in a folder of results."""
    return path.name in LABEL_MAP_FILES.values()
