"""Whose image it is, without telling it."""

from __future__ import annotations

from pathlib import Path

from ..util.digests import text_digest
from . import archive, files
from .read import IMAGE_SUFFIXES


def patient_key(identifier: str) -> str:
    """The same for the same identifier of a patient, and none for an empty one; the identifier is not in it."""
    identifier = identifier.strip()
    return text_digest(identifier) if identifier else ""


def patient_of(image: Path) -> str:
    """The :func:`patient_key` of the PatientID in a DICOM series; empty for other images, and without an ID.

    Args:
        image: as for :func:`~DeepSegLogic.io.read_volume`.

    Raises:
        InputError: the series or the zip file cannot be read.
    """
    if image.is_file() and image.suffix.lower() == archive.SUFFIX:
        with archive.unpacked(image, IMAGE_SUFFIXES) as content:
            return patient_of(content)
    if not image.is_dir() and not files.is_dicom(image):
        return ""
    from .dicom.series import slices_of_scan

    return patient_key(next(filter(None, (s.tags.get("patient") for s in slices_of_scan(image, []))), ""))
