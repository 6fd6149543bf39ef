"""Stored values as HU: what GDCM leaves undone, slice by slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...data.volume import compact
from ...util.errors import InputError
from ...util.words import counted
from .files import Slice, pixels
from .objects import Table, modality_table

_HU = ("", "HU", "US", "HU_MOD")  # US: not specified


def voxels_of(slices: list[Slice], warnings: list[str]) -> npt.NDArray[Any]:
    """The voxels (K, J, I) of slices in HU.

    Raises:
        InputError: the header does not say how to convert all slices alike, or wrongly.
    """
    zero = [s for s in slices if s.tags.get("slope") and float(s.tags["slope"]) == 0]
    if zero:
        raise InputError(
            f"The rescale slope of {zero[0].path} is 0, so that its values have no meaning.",
            "Export the series again, or correct RescaleSlope (0028,1053).",
            code="input.dicom",
        )
    sloped = any(s.tags.get("slope") for s in slices)
    stated = [s for s in slices if s.tags.get("intercept") and (s.tags.get("slope") or not sloped)]
    without = [s for s in slices if s not in stated] if stated else []
    if without and len({s.rescaling for s in stated}) > 1:
        raise InputError(
            f"{len(without)} of {len(slices)} slices do not say how to convert their values to HU, e.g. "
            f"{without[0].name}; the others differ.",
            "Export the series again with RescaleSlope and RescaleIntercept.",
            code="input.dicom",
        )
    if without:
        warnings.append(
            f"The conversion to HU is unknown for {counted(len(without), 'slice')} ({_listed(without)}); they are "
            "converted like the others."
        )
    array = [_rescaled(s, stated[0]) if s in without else pixels(s) for s in slices]
    kinds = {s.tags.get("rescale_type", "") for s in slices}
    if not kinds <= set(_HU):
        warnings.append(f"The values are not HU: the header says {', '.join(sorted(kinds - set(_HU)))} (RescaleType).")
    if not stated:
        array = _looked_up(slices, array, warnings)
    return np.stack(array)


def _rescaled(s: Slice, like: Slice) -> npt.NDArray[Any]:
    """A slice without a full rescaling, converted as another slice."""
    (own_slope, own_intercept), (slope, intercept) = s.rescaling, like.rescaling
    return compact((pixels(s) - own_intercept) / own_slope * slope + intercept)


def _looked_up(slices: list[Slice], stored: list[npt.NDArray[Any]], warnings: list[str]) -> list[npt.NDArray[Any]]:
    """Stored values by the tables (Modality LUT) of their files.

    Raises:
        InputError: only some files have a table, or one is damaged.
    """
    by_file = {path: _table(path) for path in {s.path for s in slices}}
    tables = [by_file[s.path] for s in slices]
    found = [t for t in tables if t is not None]
    if not found:
        if min(a.min() for a in stored) >= 0:
            warnings.append("The series does not say how to convert its values to HU; they are used unchanged.")
        return stored
    if len(found) < len(tables):
        raise InputError(
            f"Only {len(found)} of {len(slices)} slices have a table that converts their values to HU (Modality LUT).",
            "Export the series again.",
            code="input.dicom",
        )
    kinds = {kind for _, _, kind in found} - set(_HU)
    if kinds:
        warnings.append(f"The values are not HU: the header says {', '.join(sorted(kinds))} (ModalityLUTType).")
    return [
        values[np.clip(a.astype(np.int64) - first, 0, len(values) - 1)]
        for a, (first, values, _) in zip(stored, found, strict=True)
    ]


def _table(path: Path) -> Table | None:
    try:
        return modality_table(path)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} has a damaged table that converts its values to HU (Modality LUT).",
            "Export the series again.",
            code="input.dicom",
        ) from error


def _listed(slices: list[Slice]) -> str:
    return ", ".join(s.name for s in slices[:3]) + (", …" if len(slices) > 3 else "")
