"""DICOM objects that belong to a series: patient, study, frame of reference and equipment, written with pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.label_map import Code, LabelMap
from ...util.atomic_write import atomic_path
from ...util.version import __version__
from .source import Source

if TYPE_CHECKING:
    from pydicom.uid import UID

MANUFACTURER = "DeepSeg"
_TAKEN_OVER = (
    *("SpecificCharacterSet", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID"),
    *("StudyID", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyDescription"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator"),
)


def item(**values: Any) -> Any:
    """An item of a sequence, of keywords and values."""
    from pydicom import Dataset

    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def reference_to(image: Any) -> Any:
    """The item of a sequence that refers to an image by its UIDs.

    Args:
        image: its header.
    """
    return item(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)


def coded(code: Code) -> Any:
    """The item of a sequence that holds a code."""
    return item(CodeValue=code.value, CodingSchemeDesignator=code.scheme, CodeMeaning=code.meaning[:64])


def save(dataset: Any, path: Path | str) -> None:
    """Write a DICOM file, completely or not at all."""
    with atomic_path(Path(path)) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def derived_object(source: Source[LabelMap], sop_class: UID, modality: str) -> Any:
    """A new object in a new series of the study that a label map belongs to, without content."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    first, meta = source.headers[0], FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data: Any = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword in _TAKEN_OVER:
        if keyword in first:
            setattr(data, keyword, first.get(keyword))
    data.PositionReferenceIndicator = first.get("PositionReferenceIndicator") or ""
    data.SOPClassUID, data.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.Modality = generate_uid(), modality
    data.Manufacturer, data.ManufacturerModelName, data.SoftwareVersions = MANUFACTURER, "DeepSeg", __version__
    data.DeviceSerialNumber = "0"
    return data
