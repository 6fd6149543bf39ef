"""The structures that a measurement is about: found by name, title or label value, with what limits the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..data.label_map import LabelMap, Structure
from ..data.types import FloatArray, MaskArray
from ..util.errors import InputError, UsageError

if TYPE_CHECKING:
    from ..surfaces.surface import Surface


def subject(label_map: LabelMap, wanted: str) -> Structure:
    """The structure of this name, title (in any case) or label value, which has voxels.

    Raises:
        UsageError: there is none, or several have this title.
        InputError: it has no voxels.
    """
    key = wanted.strip().casefold()
    found = [s for s in label_map.structures if s.name == wanted]
    found = found or [s for s in label_map.structures if key in (s.name.casefold(), s.title.casefold())]
    found = found or [s for s in label_map.structures if str(s.value) == key]
    if len(found) > 1:
        values = ", ".join(str(s.value) for s in found)
        raise UsageError(
            f"{len(found)} structures are named {wanted!r}.",
            f"Use one of their label values: {values}.",
            code="usage.ambiguous",
        )
    structure = found[0] if found else label_map.structure(wanted)
    if not label_map.mask(structure.name).any():
        raise InputError(
            f"{structure.title or structure.name} has no voxels in this segmentation.",
            "Choose another structure, or segment it first.",
            code="input.empty",
        )
    return structure


def surfaces_of(label_map: LabelMap, structures: Sequence[Structure]) -> list[Surface]:
    """The joint closed surfaces of structures, in their order; see :func:`~DeepSegLogic.surfaces.make_surfaces`."""
    from ..surfaces.extract import make_surfaces

    made = make_surfaces(label_map, [s.name for s in structures])
    return [made[s.name] for s in structures]


def notes_on(label_map: LabelMap, structures: Sequence[Structure]) -> tuple[str, ...]:
    """What to say beside a number about structures: which of them the border of the volume cuts."""
    return tuple(
        f"{s.title or s.name} is cut by the border of the volume."
        for s in structures
        if _touches_border(label_map.mask(s.name))
    )


def point(numbers: npt.ArrayLike, what: str) -> FloatArray:
    """A point or vector in RAS mm as (3,) float64.

    Raises:
        UsageError: it does not have three finite numbers; the message names ``what``.
    """
    found = np.asarray(numbers, np.float64)
    if found.shape != (3,) or not np.isfinite(found).all():
        raise UsageError(f"The {what} is not three finite numbers.", "Give R, A and S in mm.", code="usage.point")
    return found


def length_mm(value: float, what: str) -> float:
    """A length in mm, 0 or more.

    Raises:
        UsageError: it is not; the message names ``what``.
    """
    if not np.isfinite(value) or value < 0:
        raise UsageError(f"The {what} is {value} mm.", "Give 0 mm or more.", code="usage.length")
    return float(value)


def _touches_border(mask: MaskArray) -> bool:
    return any(bool(np.moveaxis(mask, axis, 0)[[0, -1]].any()) for axis in range(3))
