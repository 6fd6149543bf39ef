"""Corrections where structures overlap: each one is corrected in its own layer, and the others stay as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..data.label_map import LabelMap, Structure, smallest_on_top


def editable(label_map: LabelMap) -> LabelMap:
    """A copy whose voxels and structures may be changed in place."""
    layers = [replace(layer, array=layer.array.copy()) for layer in label_map.layers]
    return replace(label_map, array=label_map.array.copy(), structures=list(label_map.structures), layers=layers)


def layer_to_edit(label_map: LabelMap, structure: Structure) -> LabelMap:
    """Where to change the voxels of a structure: its layer, or the label map if it has none.

    A structure that is in no layer, being new or empty, gets one.
    """
    if label_map.layers and label_map.layer_of(structure) is label_map:
        label_map.layers.append(LabelMap(np.zeros_like(label_map.array), label_map.ijk_to_ras, [structure]))
    return label_map.layer_of(structure)


def show_layers(label_map: LabelMap) -> None:
    """Make ``array`` agree with the layers, if there are any."""
    if label_map.layers:
        label_map.array = smallest_on_top([layer.array for layer in label_map.layers])
