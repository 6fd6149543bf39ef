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


def provenance_of(folder: Path, name: str = PROVENANCE) -> dict[str, Any]:
    """The provenance of a result; empty if there is none that can be read."""
    try:
        with opened(folder / name) as file:
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


def facts_of_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Sizes and digests of all files in a folder, by their path in it: ``files`` of a provenance."""
    found = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    return {name: {"bytes": file.stat().st_size, "digest": file_digest(file)} for name, file in found.items()}


def is_as_written(file: Path, told: Mapping[str, Any]) -> bool:
    """Whether a file has the size and the digest that :func:`facts_of_files` told of it.

    Raises:
        OSError, LookupError, TypeError: it cannot be read, or these are no such facts.
    """
    return bool(file.stat().st_size == told["bytes"] and file_digest(file) == told["digest"])


def is_unchanged(folder: Path, name: str, facts: Mapping[str, Any]) -> bool:
    """Whether a file of a result is as its provenance says it was written; False if it does not say.

    Args:
        name: its path in the folder, with ``/``.
    """
    try:
        return (folder / name).is_file() and is_as_written(folder / name, facts["files"][name])
    except (OSError, LookupError, TypeError, ValueError):  # of a provenance that somebody changed
        return False


def unchanged_files(folder: Path, provenance: str = PROVENANCE) -> list[str]:
    """Paths of the files of an earlier result in a folder that are as they were written: readers would take them for
    those of a new one."""
    facts = provenance_of(folder, provenance)
    files = facts.get("files")
    return [name for name in files if is_unchanged(folder, name, facts)] if isinstance(files, dict) else []


def holds_voxels(label_map: Path) -> bool:
    """Whether a label map in a folder of results holds voxels, not contours, which do not give them back exactly."""
    return label_map.name != LABEL_MAP_FILES["rtstruct"]


def is_of_result(path: Path) -> bool:
    """Whether a file is called like the label map in a folder of results."""
    return path.name in LABEL_MAP_FILES.values()
