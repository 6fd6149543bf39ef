"""The files of a DICOM series: slices, or frames of an enhanced (multi-frame) file, and their voxels.

GDCM (in SimpleITK) decodes. The positions of frames are in nested groups, which pydicom reads and SimpleITK does not.
GDCM itself assumes that frames are in order, evenly spaced and rescaled alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from ...data.itk import itk_name
from ...data.types import FloatArray
from ...data.volume import compact
from ...util.errors import InputError
from ..files import is_dicom, must_be_unicode, must_fit
from .frames import NoVolume, frames
from .objects import CT, NOT_SLICES, SCANS, compression, decoded_text, sop_class

_TAGS = {
    "charset": "0008|0005",
    "image_type": "0008|0008",
    "class": "0008|0016",
    "instance": "0008|0018",
    "acquisition_uid": "0008|0017",
    "study_date": "0008|0020",
    "acquisition_date": "0008|0022",
    "acquisition_moment": "0008|002a",
    "series_time": "0008|0031",
    "acquisition_time": "0008|0032",
    "content_time": "0008|0033",
    "modality": "0008|0060",
    "description": "0008|103e",
    "irradiation": "0008|3010",
    "patient_name": "0010|0010",
    "patient": "0010|0020",
    "birth_date": "0010|0030",
    "contrast": "0018|0010",
    "scan_options": "0018|0022",
    "thickness": "0018|0050",
    "kvp": "0018|0060",
    "repetition_time": "0018|0080",
    "echo_time": "0018|0081",
    "inversion_time": "0018|0082",
    "echo": "0018|0086",
    "device": "0018|1000",
    "software": "0018|1020",
    "protocol": "0018|1030",
    "contrast_start": "0018|1042",
    "trigger_time": "0018|1060",
    "diameter": "0018|1100",
    "filter": "0018|1160",
    "kernel": "0018|1210",
    "flip_angle": "0018|1314",
    "patient_position": "0018|5100",
    "b_value": "0018|9087",
    "algorithm": "0018|9315",
    "target_center": "0018|9318",
    "study": "0020|000d",
    "series": "0020|000e",
    "number": "0020|0011",
    "acquisition": "0020|0012",
    "instance_number": "0020|0013",
    "position": "0020|0032",
    "orientation": "0020|0037",
    "frame_of_reference": "0020|0052",
    "time_point": "0020|0100",
    "comments": "0020|4000",
    "stack": "0020|9056",
    "phase": "0020|9241",
    "photometric": "0028|0004",
    "rows": "0028|0010",
    "columns": "0028|0011",
    "spacing": "0028|0030",
    "bits": "0028|0101",
    "signed": "0028|0103",
    "intercept": "0028|1052",
    "slope": "0028|1053",
    "rescale_type": "0028|1054",
    "lossy": "0028|2110",
}
_PLACE = {"position": "ImagePositionPatient", "orientation": "ImageOrientationPatient", "spacing": "PixelSpacing"}
_NUMBERS = {"position": 3, "orientation": 6, "spacing": 2, "slope": 1, "intercept": 1}

_VERSION = sitk.Version.MajorVersion(), sitk.Version.MinorVersion(), sitk.Version.PatchVersion()
_FILLS_UP = _VERSION < (2, 5, 4)  # with zeros, where the voxels are cut
_ELEMENT_HEADER = 8  # bytes before the voxels, at least
_MOST_COMPRESSED = 5000  # bytes of voxels per byte of the file; empty JPEG 2000 frames come close


@dataclass(eq=False)
class Slice:
    """The header of a file, or of one of its frames.

    Attributes:
        path: of the file.
        tags: values by the names in ``_TAGS``.
        position: center of the first voxel (3,), LPS, mm.
        orientation: directions of rows and columns (6,), LPS.
        spacing: of rows and columns (2,), mm.
        frame: index in a multi-frame file, else None.
        lacks: why the slice has no place in space, a part of a sentence; empty if it has one.
        copies: the same DICOM instance in other files.
    """

    path: Path
    tags: dict[str, str]
    position: FloatArray
    orientation: FloatArray
    spacing: FloatArray
    frame: int | None = None
    lacks: str = ""
    copies: list[Slice] = field(default_factory=list)

    @property
    def name(self) -> str:
        """For messages."""
        return self.path.name if self.frame is None else f"frame {self.frame + 1} of {self.path.name}"

    @property
    def normal(self) -> FloatArray:
        """Direction from slice to slice (3,), LPS."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def rescaling(self) -> tuple[float, float]:
        """Slope and intercept that GDCM applies; 1 and 0 where the header states none."""
        return float(self.tags.get("slope") or 1), float(self.tags.get("intercept") or 0)


def slices_in(path: Path) -> list[Slice]:
    """The slice, or the frames, in a file; none if it is not DICOM or not a picture in grey values.

    A picture by a scanner that does not state its place in space is given with what it lacks.

    Raises:
        InputError: the file cannot be opened, or is a damaged CT slice.
    """
    if not is_dicom(path):
        return []
    must_be_unicode(path)
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if sop_class(path) in CT:
            raise _damaged(path) from error
        return []
    if reader.GetNumberOfComponents() != 1:  # a colour picture
        return []
    tags = {name: reader.GetMetaData(t).strip() for name, t in _TAGS.items() if reader.HasMetaDataKey(t)}
    tags = {name: decoded_text(value, tags.get("charset", "")) for name, value in tags.items()}
    if tags.get("class", "").startswith(NOT_SLICES):
        return []
    if tags.get("class") in CT and not tags.get("modality"):  # removed by an anonymiser
        tags["modality"] = "CT"
    many = reader.GetSize()[2:3] not in ((), (1,))
    lacks = _lacking(tags)
    if many or not tags.get("position"):
        try:
            return [Slice(path, tags | f.tags, *f.place, k if many else None) for k, f in enumerate(frames(path))]
        except NoVolume as error:
            lacks = str(error) if many else lacks
        except Exception as error:  # pydicom raises whatever its parser meets
            if tags.get("class") in CT:
                raise _damaged(path) from error
            return []
    if lacks:
        nowhere = np.zeros(3), np.zeros(6), np.zeros(2)
        return [Slice(path, tags, *nowhere, lacks=lacks)] if tags.get("class") in SCANS else []
    position, orientation, spacing = (np.array(tags[name].split("\\"), float) for name in _PLACE)
    return [Slice(path, tags, position, orientation, spacing)]


def _lacking(tags: dict[str, str]) -> str:
    """What the header of a slice lacks to place it, a part of a sentence; empty if nothing."""
    missing = [keyword for name, keyword in _PLACE.items() if not tags.get(name)]
    if missing:
        return f"has no {' and no '.join(missing)}"
    for name, count in _NUMBERS.items():
        numbers = tags[name].split("\\") if tags.get(name) else []
        if any("," in number for number in numbers):
            return f"has numbers with a decimal comma ({tags[name][:40]}), which DICOM does not allow"
        try:
            sound = bool(np.isfinite([float(number) for number in numbers]).all())
        except ValueError:
            sound = False
        if not sound or (numbers and len(numbers) != count):
            return f"has no usable {_PLACE.get(name, f'rescale {name}')} ({tags[name][:40]!r})"
    return ""


def pixels(s: Slice) -> npt.NDArray[Any]:
    """The voxels of a slice (J, I), rescaled to HU.

    Raises:
        InputError: the slice cannot be decoded.
    """
    array: npt.NDArray[Any] = decoded(s.path)[s.frame or 0]
    if s.tags.get("photometric") == "MONOCHROME1":  # GDCM inverts the stored values for display
        slope, intercept = s.rescaling
        ends = -1 if s.tags.get("signed") == "1" else 2 ** int(s.tags["bits"]) - 1
        array = compact(slope * ends + 2 * intercept - array)
    return array


@lru_cache(maxsize=3)  # an enhanced CT and its copies are compared frame by frame
def decoded(path: Path) -> npt.NDArray[Any]:
    """The voxels of a file (frames, J, I), rescaled; inverted for MONOCHROME1."""
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
        voxel = sitk.GetArrayViewFromImage(sitk.Image([1, 1, 1], reader.GetPixelID()))
        announced = math.prod(reader.GetSize()) * voxel.itemsize
        if announced > _MOST_COMPRESSED * path.stat().st_size:  # GDCM would allocate it first
            raise _damaged(path)
        must_fit(path, announced)
        if _FILLS_UP and _is_cut(path):
            raise _damaged(path)
        image = reader.Execute()
    except RuntimeError as error:
        raise _damaged(path) from error
    array = sitk.GetArrayFromImage(image)
    return array.reshape(-1, *array.shape[-2:])


def _is_cut(path: Path) -> bool:
    """Whether a file ends before its uncompressed voxels do."""
    import pydicom

    counts = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated")
    try:
        with path.open("rb") as file:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(counts))
            rest = path.stat().st_size - file.tell()
        syntax = header.file_meta.TransferSyntaxUID
        bits = math.prod(int(header.get(count) or 1) for count in counts)
        return not (syntax.is_encapsulated or syntax.is_deflated) and rest - _ELEMENT_HEADER < bits // 8
    except Exception:  # pydicom raises whatever its parser meets; SimpleITK decides
        return False


def _reader(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(itk_name(path))
    reader.LoadPrivateTagsOff()
    return reader


def _damaged(path: Path) -> InputError:
    return InputError(
        f"The slice {path} cannot be decoded: it is truncated, or compressed in an unknown way ({compression(path)}).",
        "Copy or export the series again, uncompressed if possible (Explicit VR Little Endian).",
        code="input.truncated",
    )
