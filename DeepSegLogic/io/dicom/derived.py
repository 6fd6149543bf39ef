"""DICOM objects that belong to a series: patient, study, frame of reference and equipment, written with pydicom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...data.label_map import LabelMap
from ...util.version import __version__
from .seg_writer import MANUFACTURER
from .source import Source

if TYPE_CHECKING:
    from pydicom.uid import UID

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
