"""What the files of a DICOM series hold: slices, or frames of an enhanced (multi-frame) file, and their voxels.

GDCM (in SimpleITK) decodes. Where frames lie is said in nested groups, which SimpleITK does not show; pydicom does.
GDCM itself takes them to be in order and evenly spaced, and the first one's rescaling to be everyone's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ..volume import compact
from .header import is_dicom, must_be_unicode

_TAGS = {
    "series": "0020|000e",
    "number": "0020|0011",
    "description": "0008|103e",
    "modality": "0008|0060",
    "image_type": "0008|0008",
    "position": "0020|0032",
    "orientation": "0020|0037",
    "spacing": "0028|0030",
    "photometric": "0028|0004",
    "bits": "0028|0101",
    "signed": "0028|0103",
    "rows": "0028|0010",
    "columns": "0028|0011",
    "slope": "0028|1053",
    "intercept": "0028|1052",
}
_CT_CLASS = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.2(\.1)?\0")  # CT and enhanced CT


@dataclass
class Slice:
    """What the header of a file, or of one of its frames, says. LPS, mm; ``spacing``: of rows, columns."""

    path: Path
    tags: dict[str, str]
    position: np.ndarray
    orientation: np.ndarray
    spacing: np.ndarray
    frame: int | None = None  # of a multi-frame file

    @property
    def name(self) -> str:
        return self.path.name if self.frame is None else f"frame {self.frame + 1} of {self.path.name}"

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.orientation[:3], self.orientation[3:])


def slices_in(path: Path) -> list[Slice]:
    """The slice, or the frames, in a file; none where it is not DICOM or has no place in space.

    Raises:
        InputError: it cannot be opened, or is a damaged CT slice.
    """
    if not is_dicom(path):
        return []
    must_be_unicode(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    reader.LoadPrivateTagsOff()
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        with path.open("rb") as file:
            head = file.read(1024)
        if _CT_CLASS.search(head):
            raise _damaged(path) from error
        return []
    if reader.GetNumberOfComponents() != 1:  # a colour picture
        return []
    tags = {name: reader.GetMetaData(t).strip() for name, t in _TAGS.items() if reader.HasMetaDataKey(t)}
    if reader.GetSize()[2:3] not in ((), (1,)):
        try:
            return [Slice(path, tags, *place, frame) for frame, place in enumerate(_frames(path))]
        except ValueError as error:  # what should be a number is none
            raise _damaged(path) from error
    try:
        place = [np.array([float(x) for x in tags[k].split("\\")]) for k in ("position", "orientation", "spacing")]
    except (KeyError, ValueError):
        return []
    return [Slice(path, tags, *place)] if [len(v) for v in place] == [3, 6, 2] else []


def pixels(s: Slice) -> np.ndarray:
    """The voxels of a slice (J, I), rescaled to HU.

    Raises:
        InputError: they cannot be decoded.
    """
    array = decoded(s.path)[s.frame or 0]
    if s.tags.get("photometric") == "MONOCHROME1":  # GDCM turns the stored values round for display
        slope, intercept = float(s.tags.get("slope") or 1), float(s.tags.get("intercept") or 0)
        ends = -1 if s.tags.get("signed") == "1" else 2 ** int(s.tags["bits"]) - 1
        array = compact(slope * ends + 2 * intercept - array)
    return array


@lru_cache(maxsize=1)
def decoded(path: Path) -> np.ndarray:
    """The voxels of a file (frames, J, I), rescaled, and inverted where they are meant to be shown so."""
    try:
        image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise _damaged(path) from error
    array = sitk.GetArrayFromImage(image)
    return array.reshape(-1, *array.shape[-2:])


def _damaged(path: Path) -> InputError:
    return InputError(
        f"The slice {path} cannot be decoded: it is truncated, or compressed in an unknown way ({_compression(path)}).",
        "Copy or export the series again, uncompressed if possible (Explicit VR Little Endian).",
        code="input.truncated",
    )


def _compression(path: Path) -> str:
    """The name of a file's transfer syntax, or its UID where it has none."""
    import pydicom

    try:
        return pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID.name
    except Exception:  # pydicom raises whatever its parser meets
        return "its header does not say how"


def _frames(path: Path) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Position (3,), orientation (6,) and spacing (2,) of each frame, LPS, mm; none where they are not stated.

    Raises:
        InputError: the frames are rescaled in different ways.
    """
    import pydicom

    data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    groups = data.get("PerFrameFunctionalGroupsSequence", [])
    shared = data.get("SharedFunctionalGroupsSequence", [])
    if data.get("Modality") == "SEG" or len(groups) != data.get("NumberOfFrames"):
        return []

    def stated(group, sequence, name):
        for source in (group, *shared):
            if source.get(sequence):
                return np.array(source.get(sequence)[0].get(name), float)
        return None

    places = [
        (
            stated(g, "PlanePositionSequence", "ImagePositionPatient"),
            stated(g, "PlaneOrientationSequence", "ImageOrientationPatient"),
            stated(g, "PixelMeasuresSequence", "PixelSpacing"),
        )
        for g in groups
    ]
    if any(np.shape(v) != (n,) for place in places for v, n in zip(place, (3, 6, 2), strict=True)):
        return []
    names = "RescaleSlope", "RescaleIntercept"
    scales = {tuple(str(stated(g, "PixelValueTransformationSequence", n)) for n in names) for g in groups}
    if len(scales) > 1:
        raise InputError(
            f"The frames of {path} are rescaled to HU in different ways.",
            "Export the series as single slices.",
            code="input.dicom",
        )
    return places
