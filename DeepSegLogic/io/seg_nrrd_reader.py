"""3D Slicer's ``.seg.nrrd``, read as 3D Slicer does: also what its versions 4.x and other programs write."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.affine import LPS_TO_RAS
from ..data.label_map import LabelMap
from ..data.types import Affine
from ..util.errors import InputError, first_line
from .segments import Segment, label_map_of

_REPRESENTATION = ("Segmentation_MasterRepresentation", "Segmentation_SourceRepresentation")
_RAS, _LAS = np.eye(4), np.diag([-1.0, 1.0, 1.0, 1.0])
_SPACES = {"right-anterior-superior": _RAS, "ras": _RAS, "left-anterior-superior": _LAS, "las": _LAS}  # others: as LPS


def read_segmentation(path: Path) -> LabelMap:
    """Read a ``.seg.nrrd`` as 3D Slicer does, including those of its versions 4.x.

    Raises:
        InputError: the file is damaged, has no segments, or has fractional ones or two with the same voxels.
        ResourceError: not enough memory.
    """
    import nrrd as pynrrd

    from . import headers
    from .files import must_fit
    from .headers import formats, nrrd
    from .headers.fields import parsing, rectangular

    checked = headers.check(path)
    if checked.reader != formats.NRRD:
        raise formats.not_an_image(path)
    must_fit(path, checked.announced)
    with parsing(path):
        nrrd.check_unpacked(path)
        header = nrrd.read_header(path)
    kind = next((header.pairs[k] for k in _REPRESENTATION if k in header.pairs), "")
    if "fractional" in kind.lower():
        raise InputError(
            f"{path} holds fractional segments, which say how much of a voxel belongs to them.",
            "In 3D Slicer, export it as a binary labelmap.",
            code="input.labels",
        )
    try:
        voxels, _ = pynrrd.read(str(path))
        voxels, matrix = _oriented(voxels, header.fields)
        segments = _segments(header.pairs, voxels)
    except Exception as error:  # pynrrd raises whatever its parser meets
        reason = first_line(error)
        raise InputError(
            f"{path} cannot be read as a segmentation ({reason}).",
            "Export it from 3D Slicer again.",
            code="input.format",
        ) from error
    if not segments:
        raise InputError(
            f"{path} has no segments.", "Export the segmentation from 3D Slicer again.", code="input.labels"
        )
    if voxels.dtype.kind == "f" and (voxels != np.round(voxels)).any():
        raise InputError(
            f"{path} is not a segmentation: it has values that are not whole numbers.",
            "In 3D Slicer, export it as a binary labelmap.",
            code="input.labels",
        )
    matrix[:3, :3], doubts = rectangular(path, matrix[:3, :3])
    return label_map_of(path, voxels, segments, matrix, [*checked.doubts, *doubts])


def is_segmentation(path: Path) -> bool:
    """Whether an NRRD of any name holds 3D Slicer's segments. Its header has been checked."""
    from .headers.nrrd import read_header

    return any(re.fullmatch(r"Segment\d+_(ID|Name)", key) for key in read_header(path).pairs)


def _oriented(voxels: npt.NDArray[Any], fields: dict[str, str]) -> tuple[npt.NDArray[Any], Affine]:
    """Voxels (layer, I, J, K) and the ijk-to-RAS matrix."""
    kinds = fields.get("kinds", "").lower().split()
    directions = re.findall(r"none|\([^)]*\)", fields.get("spacedirections", "").lower())
    if voxels.ndim == 3:
        voxels, space = voxels[None], [0, 1, 2]
    else:
        lists = [a for a, d in enumerate(directions) if d == "none"] or [a for a, k in enumerate(kinds) if k == "list"]
        layer = lists[0] if lists else 0
        voxels, space = np.moveaxis(voxels, layer, 0), [a for a in range(voxels.ndim) if a != layer]
    if voxels.ndim != 4:
        raise ValueError(f"it has {voxels.ndim - 1} axes in space")
    matrix = np.eye(4)
    if directions:
        matrix[:3, :3] = np.array([_vector(directions[a]) for a in space]).T
    elif "spacings" in fields:
        sizes = np.array(fields["spacings"].split(), float)[space]
        matrix[:3, :3] = np.diag(np.where(np.isfinite(sizes), sizes, 1))
    if "spaceorigin" in fields:
        matrix[:3, 3] = _vector(fields["spaceorigin"])
    name = fields.get("space", "").lower()
    to_ras = next((m for words, m in _SPACES.items() if name.startswith(words)), LPS_TO_RAS)
    return voxels, to_ras @ matrix


def _vector(text: str) -> list[float]:
    numbers = [float(number) for number in text.strip(" ()").split(",")]
    if len(numbers) != 3:
        raise ValueError(f"{text[:40]!r} is not a vector")
    return numbers


def _segments(pairs: dict[str, str], voxels: npt.NDArray[Any]) -> list[Segment]:
    """The segments that a header describes; where it describes none, one for each value, as in 3D Slicer."""
    described: dict[int, dict[str, str]] = {}
    for key, text in pairs.items():
        if match := re.fullmatch(r"Segment(\d{1,6})_(\w+)", key):
            described.setdefault(int(match[1]), {})[match[2]] = text.strip()
    if not described:
        values = [(k, int(v)) for k, layer in enumerate(voxels) for v in np.unique(layer) if v > 0]
        return [{"name": f"Segment_{n}", "labelValue": v, "layer": k} for n, (k, v) in enumerate(values, 1)]
    old = not any("LabelValue" in fields for fields in described.values())  # 3D Slicer 4.10: one frame a segment
    return [_described(described[index], n if old else None) for n, index in enumerate(sorted(described))]


def _described(fields: dict[str, str], frame: int | None) -> Segment:
    """A segment, of which old files say only in which frame it is."""
    tags = dict(tag.split(":", 1) for tag in fields.get("Tags", "").split("|") if ":" in tag)
    segment: Segment = {
        "id": fields.get("ID", ""),
        "name": fields.get("Name", ""),
        "labelValue": 1 if frame is not None else _whole(fields, "LabelValue"),
        "layer": _whole(fields, "Layer") if "Layer" in fields else frame or 0,
        "tags": tags,
        "terminology": _terminology(tags.get("TerminologyEntry", "")),
    }
    try:
        color = [float(c) for c in fields.get("Color", "").split()]
    except ValueError:
        color = []
    if len(color) == 3 and np.isfinite(color).all():
        segment["color"] = [min(max(c, 0.0), 1.0) for c in color]
    return segment


def _whole(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    if not re.fullmatch(r"[+-]?\d{1,18}(\.0*)?", text):
        what = fields.get("Name") or fields.get("ID") or "a segment"
        raise ValueError(f"{name} of {what} is {text[:20]!r}, not a whole number")
    return int(text.partition(".")[0])


def _terminology(entry: str) -> dict[str, list[str]]:
    """The codes in a terminology entry; those that a short entry lacks are left out."""
    parts = [part.split("^") for part in entry.split("~")]
    kinds = ("category", "type", "typeModifier", "anatomicContext", "anatomicRegion", "anatomicRegionModifier")
    return dict(zip(kinds, parts[1:], strict=False))
