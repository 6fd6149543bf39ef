"""Thickness: how deep a structure is below the points of its surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.label_map import LabelMap
from ..review.measurements import position
from ..util.given import checks_arguments
from .closest import Locator, normals_of
from .subjects import notes_on, subject, surfaces_of

_MOST = 20_000  # points that are measured
_SHARES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Thickness:
    """The thickness of a structure, as it is distributed over its surface.

    The thickness at a point is the way straight in, against the normal of the surface, to the opposite wall.

    Attributes:
        structure: its name.
        thin_mm, median_mm, thick_mm: 5, 50 and 95 % of the surface are at most so thick, by area. The extremes are
            left out: at edges and ends a surface has no opposite wall to speak of.
        thin_ras: a point of the surface with the thickness ``thin_mm``, and the opposite one, RAS mm.
        notes: what limits the numbers, one sentence each.
    """

    structure: str
    thin_mm: float
    median_mm: float
    thick_mm: float
    thin_ras: tuple[tuple[float, float, float], tuple[float, float, float]]
    notes: tuple[str, ...] = ()


@checks_arguments
def thickness(label_map: LabelMap, structure: str) -> Thickness:
    """Measure the thickness of a structure, at 20000 points of its surface at most.

    Args:
        label_map: the voxels, on any grid; it is not changed.
        structure: name, title or label value.

    Raises:
        UsageError, InputError, ResourceError: as :func:`~DeepSegLogic.planning.distance`.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure
        >>> from DeepSegLogic.planning import thickness
        >>> array = np.zeros((40, 40, 14), np.uint8)  # (K, J, I)
        >>> array[2:38, 2:38, 4:10] = 1
        >>> plate = LabelMap(array, np.eye(4), [Structure(1, "plate", "Plate")])
        >>> round(thickness(plate, "plate").median_mm)
        6
    """
    measured = subject(label_map, structure)
    (surface,) = surfaces_of(label_map, [measured])
    normals, areas = normals_of(surface)
    some = np.arange(len(surface.points))[:: -(-len(surface.points) // _MOST)]
    locator, longest = Locator(surface), float(np.linalg.norm(np.ptp(surface.points, axis=0)))
    step = 1e-3 * float(np.sqrt(areas.mean()))  # past the wall that the ray starts from
    starts, directions = surface.points[some], normals[some]
    hits = [locator.first_hit(p - step * n, p - longest * n) for p, n in zip(starts, directions, strict=True)]
    walls = np.array([p if hit is None else hit for p, hit in zip(starts, hits, strict=True)])
    found = np.linalg.norm(walls - starts, axis=1)
    order = np.argsort(found)
    share = np.cumsum(areas[some][order]) / areas[some].sum()
    at = [order[min(int(np.searchsorted(share, s)), len(order) - 1)] for s in _SHARES]
    thin, median, thick = (float(found[n]) for n in at)
    ends = position(starts[at[0]]), position(walls[at[0]])
    return Thickness(measured.name, thin, median, thick, ends, notes_on(label_map, [measured]))
