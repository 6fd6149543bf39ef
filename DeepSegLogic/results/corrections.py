"""Label maps in a folder of results that somebody corrected: hours of work, which no run may replace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..data.label_map import LabelMap
from ..io.files import is_dicom
from ..io.result_files import holds_voxels, label_maps_in, provenance_of, was_changed
from ..util.errors import InputError, OutputError


def corrections_in(folder: Path, read: Callable[[Path], LabelMap]) -> list[Path]:
    """The label maps of a result that were changed since it was written, and are whole; none if that is not known.

    Args:
        read: reads a label map; contours, which need their CT, are not read.
    """
    facts = provenance_of(folder)
    return [file for file in label_maps_in(folder) if was_changed(file, facts) and _is_whole(file, read)]


def must_not_be_corrected(folder: Path, read: Callable[[Path], LabelMap]) -> None:
    """Check before a run that it replaces no :func:`corrections_in` its folder.

    Raises:
        OutputError: it would.
    """
    for file in corrections_in(folder, read):
        raise OutputError(
            f"{file} was corrected since it was written, and a new result would replace it.",
            "Choose another folder, or move that file away.",
            code="output.corrected",
        )


def _is_whole(file: Path, read: Callable[[Path], LabelMap]) -> bool:
    if not holds_voxels(file):
        return is_dicom(file)
    try:
        read(file)
    except InputError:
        return False
    return True
