"""What may cross between processes: JSON values, arrays of numbers, and DeepSeg's own dataclasses.

Nothing is pickled: a message can only build the dataclasses in ``WIRE_TYPES`` and plain values, so that a
peer cannot make the other side run code.
"""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError

WIRE_TYPES = {
    "Volume": "volume",
    "LabelMap": "labels",
    "Structure": "labels",
    "Code": "labels",
    "Result": "pipeline",
    "TopProbabilities": "inference.probabilities",
    "SurfaceSet": "surfaces",
    "Surface": "surfaces",
    "SurfaceQuality": "surfaces.quality",
    "Measurement": "measures",
    "Finding": "refine.review",
    "Point": "refine.prompts",
    "Scribble": "refine.prompts",
    "Box": "refine.prompts",
    "Lasso": "refine.prompts",
}
"""Name of a dataclass → the module of ``DeepSegLogic`` that has it. Add a line to send another one."""

SAME_VERSION = "Install the same version of DeepSeg on both sides."
_TAG = "$"  # marks a JSON object that stands for something else


def pack(value: Any, arrays: list[np.ndarray]) -> Any:
    """``value`` as JSON; its arrays are appended to ``arrays`` (C-contiguous) and referred to by index.

    Raises:
        UsageError: something in it cannot be sent.
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


def unpack(value: Any, arrays: list[np.ndarray]) -> Any:
    """The inverse of :func:`pack`.

    Raises:
        UsageError: the message names a type, an array or a field that there is not.
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
            f"The message cannot be understood ({kind}: {error}).",
            SAME_VERSION,
            code="usage.protocol",
        ) from error
