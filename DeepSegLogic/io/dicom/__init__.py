"""DICOM series, and segmentations and structure sets of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...data.label_map import LabelMap


def label_reader_of(path: Path) -> Callable[[Path, Path | str | None], LabelMap] | None:
    """What reads a DICOM file as a label map, given the CT as well; None for other kinds of objects."""
    from . import rtstruct_reader, seg_reader
    from .objects import sop_class

    readers = {rtstruct_reader.SOP_CLASS: rtstruct_reader.read_rtstruct}
    return {**readers, **dict.fromkeys(seg_reader.SOP_CLASSES, seg_reader.read_dicom_seg)}.get(sop_class(path))
