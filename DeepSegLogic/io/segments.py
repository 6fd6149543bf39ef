"""Segments in layers, as files hold them, made a label map."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from ..data.label_map import SIDES, Code, LabelMap, Structure, identifier, label_dtype, smallest_on_top
from ..data.terminology import structure_for
from ..data.types import Affine, LabelArray
from ..util.errors import InputError
from .seg_nrrd import own_tags

OVERLAP = "overlap. Each is kept whole."
"""The end of the warning that structures overlap."""
Segment: TypeAlias = dict[str, Any]
"""As slicerio has them: ``name``, ``labelValue``, ``layer``; perhaps ``id``, ``tags``, ``terminology``, ``color``."""


def label_map_of(
    path: Path, voxels: npt.NDArray[Any], segments: list[Segment], matrix: Affine, warnings: list[str]
) -> LabelMap:
    """The label map of segments in layers (layer, I, J, K).

    Raises:
        InputError: a segment names a layer that is not there, or two name the same voxels.
    """
    background = [s for s in segments if s["labelValue"] == 0]
    segments = [s for s in segments if s["labelValue"] != 0]
    if background:
        warnings = [
            *warnings,
            f"{_title(background[0])} has the label value 0, that of the background. It is left out.",
        ]
    unlisted = _unlisted(voxels, segments)
    if unlisted:
        names = ", ".join(s["name"] for s in unlisted[:5]) + (", …" if len(unlisted) > 5 else "")
        warnings = [*warnings, f"{path.name} has voxels that belong to none of its segments. They are kept as {names}."]
        segments = [*segments, *unlisted]
    places: dict[tuple[int, int], Segment] = {}
    for s in segments:
        other = places.setdefault((s["layer"], s["labelValue"]), s)
        if other is not s or not 0 <= s["layer"] < len(voxels):
            why = (
                f"has the same label value as {_title(other)}" if other is not s else "is in a layer that is not there"
            )
            raise InputError(
                f"{_title(s)} in {path} {why} ({s['labelValue']}), so that its voxels are not known.",
                "Save the segmentation from 3D Slicer again, or correct its label values.",
                code="input.labels",
            )
    own_values = {s["labelValue"] for s in segments if 0 < s["labelValue"] <= 65535}
    kept = len(own_values) == len(segments)
    values = [int(s["labelValue"]) if kept else i + 1 for i, s in enumerate(segments)]
    taken: set[str] = set()
    structures = [_structure(s, v, taken) for s, v in zip(segments, values, strict=True)]
    dtype = label_dtype(max(values, default=0))
    layers = [
        _layer(layer.T, [(s["labelValue"], v) for s, v in zip(segments, values, strict=True) if s["layer"] == k], dtype)
        for k, layer in enumerate(voxels)
    ]
    covered = np.zeros(layers[0].shape, np.uint16)
    for layer in layers:
        covered += layer > 0
    if covered.max(initial=0) <= 1:
        return LabelMap(np.maximum.reduce(layers), matrix, structures, warnings)
    own = [LabelMap(x, matrix, [s for s in structures if (x == s.value).any()]) for x in layers]
    sentence = f"Structures in {path.name} {OVERLAP}"
    shown = smallest_on_top(layers)
    return LabelMap(shown, matrix, structures, [*warnings, sentence], [layer for layer in own if layer.structures])


def _unlisted(voxels: npt.NDArray[Any], segments: list[Segment]) -> list[Segment]:
    """Segments for the values in layers (layer, I, J, K) that no segment has."""
    found: list[Segment] = []
    for k, layer in enumerate(voxels):
        known = [0, *(s["labelValue"] for s in segments if s["layer"] == k)]
        values = np.unique(layer[~np.isin(layer, known)])
        found += [{"name": f"label {int(v)}", "labelValue": int(v), "layer": k} for v in values if v > 0]
    return found


def _layer(layer: npt.NDArray[Any], values: list[tuple[int, int]], dtype: type[np.uint8 | np.uint16]) -> LabelArray:
    """A layer (K, J, I) with other values: pairs of old and new."""
    array = np.zeros(layer.shape, dtype)
    for old, new in values:
        array[layer == old] = new
    return array


def _title(segment: Segment) -> str:
    return str(segment["name"] or segment.get("id") or f"the segment of value {segment['labelValue']}")


def _structure(segment: Segment, value: int, taken: set[str]) -> Structure:
    title = segment.get("name") or segment.get("id") or f"label {value}"
    # DeepSeg's own files keep its name as the segment's id, or in a tag; other files have names for people only.
    known = structure_for(str(segment.get("id", "")), value)
    own = unquote((segment.get("tags") or {}).get("DeepSeg.structure", ""))
    if own and own not in taken and own_tags(own, title).items() <= segment["tags"].items():
        taken.add(name := own)
    else:
        name = identifier(known.name if known.title == title else title.lower(), value, taken)
    table = structure_for(name, value)
    terminology = segment.get("terminology") or {}

    def code(kind: str) -> Code | None:
        parts = terminology.get(kind)
        return Code(*parts[:3]) if parts and len(parts) >= 3 and parts[1] else None

    modifier = code("typeModifier")
    sides = [c.meaning.lower() for c in (modifier, code("anatomicRegionModifier")) if c]
    side = next((side for side in sides if side in SIDES), table.laterality)
    color = segment.get("color")
    red, green, blue = table.color if color is None else (round(255 * float(c)) for c in color)
    return Structure(
        value=value,
        name=name,
        title=title,
        color=(red, green, blue),
        category=code("category") or table.category,
        type=code("type") or table.type,
        modifier=modifier,
        laterality=side,
        body_system=table.body_system,
        region=code("anatomicRegion") or table.region,
    )
