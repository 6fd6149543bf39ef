"""The CT that a DICOM segmentation or structure set was drawn on: its grid, and whether it is the right one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...data.volume import Volume
from ...util.errors import InputError
from ..files import is_dicom
from .series import slices_of_scan


def reference_volume(source: Path | str, header: Any, frame_of_reference: str, path: Path) -> Volume:
    """Read the CT that is given with a DICOM file of segments.

    Args:
        header: of the file of segments (pydicom).
        frame_of_reference: of the segments; empty if unknown.
        path: of the file of segments, for messages.

    Raises:
        InputError: the CT is another patient's or lies in another frame of reference; no names are told.
    """
    from ..read import read_volume

    source = Path(source).expanduser()
    if source.is_dir() or (source.is_file() and is_dicom(source)):
        tags = slices_of_scan(source, [])[0].tags
        patient = str(header.get("PatientID") or "").strip()
        if patient and tags.get("patient") and patient != tags["patient"]:
            raise _wrong(path, source, "belong to different patients")
        if frame_of_reference and tags.get("frame_of_reference") not in (None, "", frame_of_reference):
            raise _wrong(path, source, "lie in different frames of reference")
    return read_volume(source)


def _wrong(path: Path, source: Path, how: str) -> InputError:
    return InputError(
        f"{path} and {source} {how}.", "Choose the CT that the structures were drawn on.", code="input.patient"
    )
