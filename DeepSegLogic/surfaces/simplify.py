"""Fewer triangles, to a number or to a stated error."""

from __future__ import annotations

import numpy as np

from ..errors import UsageError
from .extract import Surface, SurfaceSet
from .quality import distances_to_mesh, is_sound, mesh_volume_ml

_SHARES = (0.02, 0.04, 0.07, 0.12, 0.2, 0.3, 0.45, 0.65, 0.85)  # of the triangles kept, tried in this order
_LARGEST_DRIFT = 0.01  # a structure that would lose more of its volume keeps its triangles


def simplify_surfaces(
    surfaces: SurfaceSet, *, max_error_mm: float | None = None, triangles: int | None = None
) -> SurfaceSet:
    """Simplify each surface by itself: quadric decimation through fast-simplification.

    Shared boundaries are then no longer the same point for point: neighbours may gape or overlap by the error.
    A surface that simplification would break, or change in volume by more than 1 %, stays as it is.

    Source: Garland and Heckbert, Surface simplification using quadric error metrics, SIGGRAPH 1997.

    Args:
        max_error_mm: largest distance between the new and the old surface.
        triangles: of each surface at most.

    Raises:
        UsageError: a number that is not positive.
    """
    for value in (max_error_mm, triangles):
        if value is not None and value <= 0:
            raise UsageError(
                f"A simplification to {value} is not possible.", "Give a positive number.", code="usage.simplify"
            )
    return SurfaceSet([_simplified(s, max_error_mm, triangles) for s in surfaces], surfaces.smoothing)


def _simplified(surface: Surface, max_error_mm: float | None, triangles: int | None) -> Surface:
    count = len(surface.triangles)
    if triangles is not None:
        shares = [triangles / count] if triangles < count else []
    else:
        shares = _SHARES
    for share in shares:
        candidate = _decimated(surface, share)
        if candidate is not None and (max_error_mm is None or _error_mm(surface, candidate) <= max_error_mm):
            return candidate
    return surface


def _decimated(surface: Surface, share: float) -> Surface | None:
    import fast_simplification

    points, triangles = fast_simplification.simplify(
        surface.points.astype(np.float64), surface.triangles.astype(np.int32), 1 - share
    )
    used, triangles = np.unique(triangles, return_inverse=True)  # points that no triangle uses any more
    result = Surface(surface.structure, np.asarray(points, float)[used.ravel()], triangles.reshape(-1, 3))
    if len(result.triangles) < 4 or not is_sound(result):
        return None
    volume = mesh_volume_ml(surface.points, surface.triangles)
    drift = mesh_volume_ml(result.points, result.triangles) / volume - 1
    return result if abs(drift) <= _LARGEST_DRIFT else None


def _error_mm(old: Surface, new: Surface) -> float:
    forth = distances_to_mesh(old.points, new.points, new.triangles)
    return max(forth.max(), distances_to_mesh(new.points, old.points, old.triangles).max())
