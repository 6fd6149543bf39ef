"""Values that can be sent between processes: JSON values, arrays of numbers, and DeepSeg's own dataclasses.

Nothing is pickled: a message can only build the dataclasses in ``WIRE_TYPES`` and plain values, so a peer cannot
make the other side run code.
"""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..util.errors import UsageError

WIRE_TYPES = {
    "Volume": "data.volume",
    "LabelMap": "data.label_map",
    "Structure": "data.label_map",
    "Code": "data.label_map",
    "Result": "segmentation",
    "TopProbabilities": "data.probabilities",
    "SurfaceSet": "surfaces",
    "Surface": "surfaces",
    "SurfaceQuality": "surfaces.mesh_quality",
    "DistanceMap": "planning.distance_maps",
    "Band": "planning.distance_maps",
    "Measurement": "review.measurements",
    "Finding": "review.findings",
    "Attribution": "review.attribution",
    "Disagreement": "review.disagreement",
    "Scan": "classify.scan",
    "Part": "classify.scan",
    "BoxFinding": "detection.finding",
    "BoxFindings": "detection.finding",
    "Score": "evaluation.scoring",
    "Change": "followup.change",
    "FoundSeries": "io.dicom.web_archive",
    "Point": "refinement.prompts",
    "Scribble": "refinement.prompts",
    "Box": "refinement.prompts",
    "Lasso": "refinement.prompts",
}
"""Name of a dataclass → its module in ``DeepSegLogic``. To send another one, add a line."""

NumberArray: TypeAlias = npt.NDArray[Any]
"""An array of any shape, of booleans, integers or floating-point numbers."""

SAME_VERSION = "Install the same version of DeepSeg on both sides."
_TAG = "$"  # marks a JSON object that stands for another value


def pack(value: Any, arrays: list[NumberArray]) -> Any:
    """``value`` as JSON; its arrays are appended to ``arrays`` (C-contiguous) and referred to by index.

    Raises:
        UsageError: a value in it cannot be sent.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        arrays.append(value if value.flags.c_contiguous else value.copy(order="C"))
        return {_TAG: "array", "index": len(arrays) - 1}
    if isinstance(value, tuple):
        return {_TAG: "tuple", "items": [pack(item, arrays) for item in value]}
    if isinstance(value, list):
        return [pack(item, arrays) for item in value]
    if isinstance(value, dict) and _TAG not in value and all(isinstance(key, str) for key in value):
        return {key: pack(item, arrays) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    name = type(value).__name__
    if name in WIRE_TYPES and dataclasses.is_dataclass(value):
        fields = {f.name: pack(getattr(value, f.name), arrays) for f in dataclasses.fields(value) if f.init}
        return {_TAG: name, "fields": fields}
    raise UsageError(f"A value of type {name} cannot be sent to the worker.", code="usage.request")


def unpack(value: Any, arrays: list[NumberArray]) -> Any:
    """The inverse of :func:`pack`.

    Raises:
        UsageError: the message names an unknown type, array or field.
    """
    if isinstance(value, list):
        return [unpack(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_TAG)
    if kind is None:
        return {key: unpack(item, arrays) for key, item in value.items()}
    try:
        if kind == "array":
            return arrays[value["index"]]
        if kind == "tuple":
            return tuple(unpack(item, arrays) for item in value["items"])
        cls = getattr(import_module(f"DeepSegLogic.{WIRE_TYPES[kind]}"), kind)
        return cls(**{key: unpack(item, arrays) for key, item in value["fields"].items()})
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UsageError(
            f"The message cannot be read ({kind}: {error}).",
            SAME_VERSION,
            code="usage.protocol",
        ) from error
