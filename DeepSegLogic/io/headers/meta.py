"""The header of a MetaImage, parsed strictly, so that ITK's MetaIO reads only what was checked.

MetaIO reads as many numbers as it expects, across line ends, and copies texts into buffers of fixed size.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from ..files import beside, opened, refers_elsewhere, truncated
from .fields import LONGEST_AXIS, check_length_units, check_spacing, damaged, left_open, number, reject_controls, whole

LOCAL = ("LOCAL", "Local", "local")
_MOST_AXES = 4
_MOST_LINES = 10_000
_LONGEST_LINE = 4096
_LONGEST_VALUE = 200
_LONGEST_KEY = 80
_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 8, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
_MATRICES = ("TransformMatrix", "Orientation", "Rotation")
_VECTORS = ("Position", "Offset", "Origin", "CenterOfRotation", "ElementSpacing", "ElementSize", "SequenceID")
_SCALARS = ("ID", "ParentID", "HeaderSize", "ElementMin", "ElementMax", "ElementNumberOfChannels", "ElementNBits",
            "CompressedDataSize", "CompressionLevel",
            "ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset")  # fmt: skip
_TEXTS = ("ObjectType", "ObjectSubType", "Name", "Comment", "AcquisitionDate", "AnatomicalOrientation", "DistanceUnits",
          "TransformType", "Modality", "FormTypeName", "BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB",
          "CompressedData", "ElementType", "ElementDataFile")  # fmt: skip


def check(path: Path) -> tuple[int, list[str]]:
    """``announced`` and ``doubts`` of :class:`~DeepSegLogic.io.headers.Checked`."""
    fields, end = _fields(path)
    axes = whole(fields, "NDims", 1, _MOST_AXES, path)
    counts = {"DimSize": axes, "Color": 4, **dict.fromkeys(_SCALARS, 1), **dict.fromkeys(_VECTORS, axes)}
    for name, count in {**counts, **dict.fromkeys(_MATRICES, axes * axes)}.items():
        if name in fields and len([float(number) for number in fields[name].split()]) != count:
            raise damaged(path, f"{name} does not have {count} numbers")
    sizes = [number(size, 1, LONGEST_AXIS, path, "DimSize") for size in fields.get("DimSize", "").split()]
    kind = re.fullmatch(r"MET_U?([A-Z_]+?)(_ARRAY)?", fields.get("ElementType", ""))
    if len(sizes) != axes or kind is None or kind[1] not in _BYTES:
        raise damaged(path, "its size or its voxel type is not valid")
    channels = whole(fields, "ElementNumberOfChannels", 1, 64, path, 1)
    announced = math.prod(sizes) * _BYTES[kind[1]] * channels
    spacing = fields.get("ElementSpacing", fields.get("ElementSize", ""))
    check_spacing(path, [float(s) for s in spacing.split()])
    check_length_units(path, [fields.get("DistanceUnits", "")])
    orientation = next((fields[name] for name in _MATRICES if name in fields), None)
    data = fields["ElementDataFile"]
    if "%" in data or data.upper().startswith("LIST"):
        raise refers_elsewhere(path)
    voxels, start = (path, end) if data in LOCAL else (beside(path, data), 0)
    available = voxels.stat().st_size - start
    whole(fields, "HeaderSize", -1, available, path, 0)
    if fields.get("BinaryData", "True").lower() != "false":
        packed = fields.get("CompressedData", "False").lower() == "true"
        needed = whole(fields, "CompressedDataSize", 0, 2**62, path, 0) if packed else announced
        if available < needed:
            raise truncated(path)
    return announced, [*_unscaled(fields), *left_open(spacing, orientation)]


def _unscaled(fields: dict[str, str]) -> list[str]:
    """A doubt if the header states how to convert the voxels' values: ITK, so 3D Slicer, does not."""
    slope, offset = (
        float(fields.get(f"ElementToIntensityFunction{name}", usual)) for name, usual in (("Slope", 1), ("Offset", 0))
    )
    if (slope, offset) == (1, 0):
        return []
    stated = f"a slope ({slope:g}) and an offset ({offset:g})"
    return [f"The header states {stated} of the values. As in 3D Slicer, they are not used."]


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The fields up to the one that names the file of the voxels, and the offset behind it."""
    fields: dict[str, str] = {}
    with opened(path) as file:
        for _ in range(_MOST_LINES):
            line = file.readline(_LONGEST_LINE)
            if not line:
                raise truncated(path)
            reject_controls(path, line)
            found = re.fullmatch(r"([^=:]+?)\s*[=:]\s*(.*?)\s*", line.decode("utf-8", "replace"), re.DOTALL)
            if found is None or not line.endswith(b"\n"):
                raise damaged(path, "it has a line that is no field") if line.endswith(b"\n") else truncated(path)
            name, value = found.groups()
            long = len(name) > _LONGEST_KEY or (name in _TEXTS and len(value.encode()) > _LONGEST_VALUE)
            if name in fields or long or name.strip() != name:
                raise damaged(path, f"{name[:40]} occurs twice, or is too long")
            fields[name] = value
            if name == "ElementDataFile":
                return fields, file.tell()
    raise damaged(path, "it has too many lines")
