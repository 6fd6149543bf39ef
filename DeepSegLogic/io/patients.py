"""Whose image it is, without telling it."""

from __future__ import annotations

from pathlib import Path

from ..util.digests import SHA256, text_digest
from . import archive, files
from .read import IMAGE_SUFFIXES


def patient_key(identifier: str) -> str:
    """The same for the same identifier of a patient, and none for an empty one; the identifier is not in it.

    Example:
        >>> patient_key("MRN 7") == patient_key(" MRN 7 "), patient_key(patient_key("MRN 7")) == patient_key("MRN 7")
        (True, True)
    """
    identifier = identifier.strip()
    return identifier if not identifier or SHA256.fullmatch(identifier) else text_digest(identifier)


def patient_of(image: Path) -> str:
    """The :func:`patient_key` of :func:`patient_id_of` an image; raises as that."""
    return patient_key(patient_id_of(image))


def patient_id_of(image: Path) -> str:
    """The PatientID in a DICOM series; empty for other images, and without an ID.

    Args:
        image: as for :func:`~DeepSegLogic.io.read_volume`.

    Raises:
        InputError: the series or the zip file cannot be read.
    """
    if image.is_file() and image.suffix.lower() == archive.SUFFIX:
        with archive.unpacked(image, IMAGE_SUFFIXES) as content:
            return patient_id_of(content)
    if not image.is_dir() and not files.is_dicom(image):
        return ""
    from .dicom.series import slices_of_scan

    return next(filter(None, (s.tags.get("patient") for s in slices_of_scan(image, []))), "")
