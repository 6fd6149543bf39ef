"""Segments that a DICOM file gives plane by plane, as a label map: in layers where they overlap."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ...data.label_map import LabelMap, label_dtype
from ...data.types import Affine, LabelArray, MaskArray, Shape
from ..files import must_fit
from ..segments import Segment, label_map_of

Packed: TypeAlias = npt.NDArray[np.uint8]
Planes: TypeAlias = Mapping[int, list[tuple[int, Packed]]]
"""By segment number: the planes (K) on which it has voxels, with their packed masks, see :func:`packed`."""


def packed(mask: MaskArray) -> Packed:
    """A mask (J, I) at a bit per voxel."""
    return np.packbits(mask)


def label_map_of_planes(
    path: Path, planes: Planes, segments: list[Segment], shape: Shape, ijk_to_ras: Affine, warnings: list[str]
) -> LabelMap:
    """The label map of segments given by planes.

    Args:
        segments: described by their file; those that are not get a name.

    Raises:
        ResourceError: not enough memory.
    """
    layers, layer_of = _in_layers(path, planes, shape)
    known = {segment["labelValue"] for segment in segments}
    segments = [*segments, *({"name": f"Segment {v}", "labelValue": v} for v in sorted(planes.keys() - known))]
    for segment in segments:
        segment["layer"] = layer_of.get(segment["labelValue"], 0)
    return label_map_of(path, np.stack(layers).transpose(0, 3, 2, 1), segments, ijk_to_ras, warnings)


def _in_layers(path: Path, planes: Planes, shape: Shape) -> tuple[list[LabelArray], dict[int, int]]:
    """Segment numbers (K, J, I) in as few layers as the overlaps allow, at least one; and the layer of each."""
    dtype = label_dtype(max(planes, default=0))
    layers: list[LabelArray] = []
    layer_of: dict[int, int] = {}
    for number, found in planes.items():
        masks = [(k, np.unpackbits(p, count=shape[1] * shape[2]).reshape(shape[1:]) > 0) for k, p in found]
        free = (n for n, layer in enumerate(layers) if not any(layer[k][mask].any() for k, mask in masks))
        layer_of[number] = next(free, len(layers))
        if layer_of[number] == len(layers):
            layers.append(_empty(path, shape, dtype))
        for k, mask in masks:
            layers[layer_of[number]][k][mask] = number
    return layers or [_empty(path, shape, dtype)], layer_of


def _empty(path: Path, shape: Shape, dtype: type[np.uint8 | np.uint16]) -> LabelArray:
    must_fit(path, math.prod(shape) * np.dtype(dtype).itemsize)
    return np.zeros(shape, dtype)
