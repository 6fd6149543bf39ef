"""The frames of an enhanced (multi-frame) DICOM file: place and kind of each, from its functional groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...data.types import FloatArray

_KINDS = {  # name as in Slice.tags: functional group, keyword
    "stack": ("FrameContentSequence", "StackID"),
    "time_point": ("FrameContentSequence", "TemporalPositionIndex"),
    "acquisition": ("FrameContentSequence", "FrameAcquisitionNumber"),
    "kernel": ("CTReconstructionSequence", "ConvolutionKernel"),
    "image_type": ("CTImageFrameTypeSequence", "FrameType"),
    "slope": ("PixelValueTransformationSequence", "RescaleSlope"),
    "intercept": ("PixelValueTransformationSequence", "RescaleIntercept"),
    "rescale_type": ("PixelValueTransformationSequence", "RescaleType"),
}


class NoVolume(Exception):
    """Frames that make no volume; the text is a part of a sentence about the file."""


@dataclass
class Frame:
    """A frame: position (3,), orientation (6,) and spacing (2,), LPS, mm; what else its groups say."""

    place: tuple[FloatArray, FloatArray, FloatArray]
    tags: dict[str, str]


def frames(path: Path) -> list[Frame]:
    """The frames of a file.

    Raises:
        NoVolume: the frames do not state their places, or are rescaled in different ways.
        Exception: what pydicom meets in a damaged file.
    """
    import pydicom

    data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    groups = data.get("PerFrameFunctionalGroupsSequence", [])
    shared = data.get("SharedFunctionalGroupsSequence", [])
    if not groups or len(groups) != (data.get("NumberOfFrames") or 1):
        raise NoVolume("does not state the position of each of its frames")

    def value(group: Any, sequence: str, name: str) -> Any:
        for source in (group, *shared):
            if source.get(sequence):
                return source.get(sequence)[0].get(name)
        return None

    def stated(group: Any, sequence: str, name: str) -> Any:
        return np.array(value(group, sequence, name), float)

    places = [
        (
            stated(g, "PlanePositionSequence", "ImagePositionPatient"),
            stated(g, "PlaneOrientationSequence", "ImageOrientationPatient"),
            stated(g, "PixelMeasuresSequence", "PixelSpacing"),
        )
        for g in groups
    ]
    if any(np.shape(v) != (n,) for place in places for v, n in zip(place, (3, 6, 2), strict=True)):
        raise NoVolume("does not state the position of each of its frames")
    names = "RescaleSlope", "RescaleIntercept"
    scales = {tuple(str(stated(g, "PixelValueTransformationSequence", n)) for n in names) for g in groups}
    if len(scales) > 1:
        raise NoVolume("has frames that are rescaled to HU in different ways")
    return [Frame(place, _kinds(value, group)) for place, group in zip(places, groups, strict=True)]


def _kinds(value: Any, group: Any) -> dict[str, str]:
    found = {name: value(group, *where) for name, where in _KINDS.items()}
    return {name: "\\".join(v) if _many(v) else str(v) for name, v in found.items() if v not in (None, "")}


def _many(value: Any) -> bool:
    return not isinstance(value, str) and hasattr(value, "__iter__")
