"""DICOM Segmentation (SEG), read as a label map: also those of other programs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...data.affine import LPS_TO_RAS
from ...data.label_grid import has_same_voxels, on_grid_of, warn_of_parts_outside
from ...data.label_map import LabelMap
from ...data.types import Affine, FloatArray
from ...data.volume import Volume
from ...util.errors import InputError
from ...util.packages import can_import
from ..files import must_fit, truncated
from ..headers.fields import check_unit, rectangular
from ..seg_nrrd import own_tags
from ..segments import Segment
from .derived import MANUFACTURER
from .frames import NoVolume, frames
from .layers import Packed, Planes, label_map_of_planes, packed
from .objects import DEFLATED, compression
from .reference import reference_volume

SOP_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation, and label map segmentation."""

_ALIKE = 1e-3  # difference of directions and spacings of frames
_OFF = 0.1  # of a voxel or of the distance of planes: rounding in headers
_MOST_PLANES = 20_000


def read_dicom_seg(path: Path, source: Path | str | None = None) -> LabelMap:
    """Read a DICOM SEG.

    Without the CT, the grid is spanned by the frames; planes without a frame are empty. Overlapping segments are kept
    in layers.

    Args:
        source: the CT, whose grid the label map gets.

    Raises:
        InputError: fractional, damaged, not in the patient's space, or of another CT.
        ResourceError: not enough memory.
    """
    import pydicom

    must_not_be_deflated(path)
    try:
        data = pydicom.dcmread(path)
        kind = str(data.SegmentationType)
        places = [frame.place for frame in frames(path)]
        numbers = [_segment_number(data, group, kind) for group in data.PerFrameFunctionalGroupsSequence]
        segments = [_described(item, data) for item in data.SegmentSequence]
        size = int(data.Rows), int(data.Columns)
        packed_bits = int(data.BitsAllocated) == 1 and not data.file_meta.TransferSyntaxUID.is_encapsulated
        if min(size) < 1:
            raise ValueError("it has no voxels")
    except NoVolume as error:
        raise _unusable(path, f"{error}, so that it cannot be placed in space") from error
    except Exception as error:  # pydicom raises whatever its parser meets
        raise _unusable(path, f"cannot be read as a segmentation ({type(error).__name__})") from error
    if kind not in ("BINARY", "LABELMAP"):
        raise InputError(
            f"{path} holds {kind.lower()} segments, which say how much of a voxel belongs to them.",
            "Export it as a binary segmentation.",
            code="input.labels",
        )
    volume = None
    if source is not None:
        volume = reference_volume(source, data, str(data.get("FrameOfReferenceUID") or ""), path)
    warnings: list[str] = []
    planes, matrix = _grid(path, places, _stated_steps(data, volume), warnings)
    segments = [segment for segment in segments if segment["labelValue"]]  # 0 is the background of a label map
    masks = _masks((_bits if packed_bits else _decoded)(path, data, size, len(numbers)), planes, numbers)
    if not segments and not masks:
        raise _unusable(path, "has no segments")
    shape = (int(planes.max()) + 1, *size)
    label_map = label_map_of_planes(path, masks, segments, shape, LPS_TO_RAS @ matrix, warnings)
    return label_map if volume is None else _placed(label_map, volume)


def must_not_be_deflated(path: Path) -> None:
    """Raise :class:`InputError` for a file that is compressed as a whole: pydicom would unpack it without a limit."""
    import pydicom

    try:
        syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID")
    except Exception:  # no meta information: pydicom raises whatever its parser meets
        return
    if syntax == DEFLATED:
        raise InputError(
            f"{path} is compressed as a whole (Deflated Explicit VR).",
            "Export it uncompressed (Explicit VR Little Endian).",
            code="input.format",
        )


def _segment_number(data: Any, group: Any, kind: str) -> int:
    """The segment of a frame; 0 if its voxels are the numbers of segments."""
    if kind == "LABELMAP":
        return 0
    shared = data.get("SharedFunctionalGroupsSequence") or [{}]
    found = group.get("SegmentIdentificationSequence") or shared[0].get("SegmentIdentificationSequence")
    number = int(found[0].ReferencedSegmentNumber)
    if not 0 < number <= 65535:
        raise ValueError("segment numbers begin with 1")
    return number


def _stated_steps(data: Any, volume: Volume | None) -> list[float]:
    """How far planes are apart by the CT and by the file itself, mm; empty if neither is known."""
    steps = [] if volume is None else [float(volume.spacing_ijk[2])]
    for group in data.get("SharedFunctionalGroupsSequence") or []:
        for measures in group.get("PixelMeasuresSequence") or []:
            steps.append(float(measures.get("SpacingBetweenSlices") or 0))
    return [step for step in steps if np.isfinite(step) and step > 0]


def _grid(
    path: Path, places: list[tuple[FloatArray, FloatArray, FloatArray]], stated: list[float], warnings: list[str]
) -> tuple[npt.NDArray[np.intp], Affine]:
    """The plane of each frame, and the 4×4 matrix of the grid, LPS.

    Raises:
        InputError: the frames do not lie behind each other on an even grid.
    """
    positions, orientations, spacings = (np.stack(values) for values in zip(*places, strict=True))
    if np.ptp(orientations, 0).max() > _ALIKE or np.ptp(spacings, 0).max() > _ALIKE or not (spacings > 0).all():
        raise _unusable(path, "has frames with different directions or voxel sizes")
    row, column = orientations[0][:3], orientations[0][3:]
    check_unit(path, np.stack([row, column], 1))
    normal = np.cross(row, column)
    depths = positions @ normal
    order = np.argsort(depths)
    first = positions[order[0]]
    aside = positions - first - np.outer(depths - depths[order[0]], normal)
    gaps = np.diff(np.unique(depths.round(3)))
    gaps = gaps[gaps > _OFF * float(spacings.min())]
    smallest = float(gaps.min()) if len(gaps) else 1.0
    indices, step = _even(depths - depths.min(), stated)
    if indices is None:
        indices, step = _even(depths - depths.min(), [smallest])
        warnings.append(
            f"{path.name} does not state how far its slices are apart: {smallest:.3g} mm is assumed, and without the "
            "CT volumes are uncertain."
        )
    if indices is None or np.linalg.norm(aside, axis=1).max() > _OFF * float(spacings.min()):
        raise _unusable(path, "has frames that do not lie behind each other at even distances")
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([row * spacings[0][1], column * spacings[0][0], normal * step], 1)
    matrix[:3, 3] = first
    matrix[:3, :3], _ = rectangular(path, matrix[:3, :3])
    return indices, matrix


def _even(depths: FloatArray, steps: list[float]) -> tuple[npt.NDArray[np.intp] | None, float]:
    """The first step of which all depths are multiples, and these multiples; None if there is none."""
    for step in steps:
        indices = np.rint(depths / step)
        if np.abs(depths - indices * step).max() <= _OFF * step and indices.max() < _MOST_PLANES:
            last = indices.max()
            return indices.astype(np.intp), float(depths.max() / last) if last else step
    return None, 0.0


def _masks(voxels: Iterator[npt.NDArray[Any]], planes: npt.NDArray[np.intp], numbers: list[int]) -> Planes:
    """The voxels of each segment, from those of each frame (J, I)."""
    masks: dict[int, list[tuple[int, Packed]]] = defaultdict(list)
    for plane, number, frame in zip(planes, numbers, voxels, strict=True):
        values = [number] if number else [int(v) for v in np.unique(frame) if v]
        for value in values:
            masks[value].append((int(plane), packed(frame > 0 if number else frame == value)))
    return masks


def _decoded(path: Path, data: Any, size: tuple[int, int], count: int) -> Iterator[npt.NDArray[Any]]:
    """So many frames of this size (J, I), one after the other."""
    must_fit(path, size[0] * size[1] * count * 2)
    try:
        yield from data.pixel_array.reshape(count, *size)
    except Exception as error:  # a missing or failing decoder
        raise _unusable(path, f"cannot be decoded ({compression(path)})") from error


def _bits(path: Path, data: Any, size: tuple[int, int], count: int) -> Iterator[npt.NDArray[Any]]:
    """As :func:`_decoded`, where a voxel is a bit: pydicom would unpack all at once."""
    packed, voxels = np.frombuffer(data.get("PixelData") or b"", np.uint8), size[0] * size[1]
    if len(packed) * 8 < voxels * count:
        raise truncated(path)
    for begin in range(0, voxels * count, voxels):
        bits = np.unpackbits(packed[begin // 8 : -(-(begin + voxels) // 8)], bitorder="little")
        yield bits[begin % 8 : begin % 8 + voxels].reshape(size)


def _described(item: Any, data: Any) -> Segment:
    """A segment with the names, colour and codes of its description."""
    title = line_of(item.get("SegmentLabel"))
    own = line_of(item.get("SegmentDescription")) if data.get("Manufacturer") == MANUFACTURER else ""
    segment: Segment = {"name": title, "labelValue": int(item.SegmentNumber)}
    if own:
        segment["tags"] = own_tags(own, title)
    kinds = {
        "category": "SegmentedPropertyCategoryCodeSequence",
        "type": "SegmentedPropertyTypeCodeSequence",
        "anatomicRegion": "AnatomicRegionSequence",
    }
    codes = {kind: item[name][0] for kind, name in kinds.items() if item.get(name)}
    if "type" in codes and (modifiers := codes["type"].get("SegmentedPropertyTypeModifierCodeSequence")):
        codes["typeModifier"] = modifiers[0]
    if "anatomicRegion" in codes and (modifiers := codes["anatomicRegion"].get("AnatomicRegionModifierSequence")):
        codes["anatomicRegionModifier"] = modifiers[0]
    segment["terminology"] = {
        kind: [line_of(code.get(part)) for part in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")]
        for kind, code in codes.items()
    }
    color = item.get("RecommendedDisplayCIELabValue")
    if color and len(color) == 3 and can_import("highdicom"):
        from highdicom.color import CIELabColor

        segment["color"] = [c / 255 for c in CIELabColor.from_dicom_value(list(color)).to_rgb()]
    return segment


def line_of(text: Any) -> str:
    """A text without control characters."""
    return re.sub(r"[\0-\x1f\x7f]+", " ", str(text or "")).strip()


def _placed(label_map: LabelMap, volume: Volume) -> LabelMap:
    """The label map on the grid of its CT, with a warning where that takes more than putting planes in place."""
    placed = on_grid_of(volume, label_map)
    if not has_same_voxels(label_map, volume):
        placed.warnings.append("The segmentation was on another grid than the CT. It was resampled to the CT.")
    else:
        warn_of_parts_outside(label_map, placed)
    return placed


def _unusable(path: Path, what: str) -> InputError:
    return InputError(f"{path} {what}.", "Export it again, or save it as .seg.nrrd.", code="input.format")
