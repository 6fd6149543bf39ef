"""Fewer triangles, to a number or to a stated error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..errors import UsageError
from ..progress import Cancel, check, never_cancel
from .extract import Surface, SurfaceSet
from .patches import Patch, assembled, patches_of
from .quality import distances_to_mesh, faulty_triangles, is_sound, mesh_volume_ml

_SHARES = (0.02, 0.04, 0.07, 0.12, 0.2, 0.3, 0.45, 0.65, 0.85)  # of the triangles kept, tried in this order
_LARGEST_DRIFT = 0.01  # of its volume that a structure may lose or win


def simplify_surfaces(
    surfaces: SurfaceSet,
    *,
    max_error_mm: float | None = None,
    triangles: int | None = None,
    joint: bool = False,
    cancel: Cancel = never_cancel,
) -> SurfaceSet:
    """Simplify surfaces by quadric decimation.

    What this would break, or change in volume by more than 1 %, keeps more of its triangles, all if need be.

    Source: Garland and Heckbert, Surface simplification using quadric error metrics, SIGGRAPH 1997; through pyfqmr.

    Args:
        max_error_mm: largest distance between the new and the old surface.
        triangles: of each surface about so many.
        joint: structures that touch keep the same boundary, point for point: it is simplified once, for both, and
            the lines at which it ends stay as they are. Else each surface is simplified by itself, and neighbours may
            gape or overlap by the error.

    Raises:
        UsageError: a number that is not positive.
        Cancelled: ``cancel`` said so.
    """
    for value in (max_error_mm, triangles):
        if value is not None and not value > 0:
            raise UsageError(
                f"A simplification to {value} is not possible.", "Give a positive number.", code="usage.simplify"
            )
    result = SurfaceSet(smoothing=surfaces.smoothing)
    groups = [[s] for s in surfaces] if not joint else [surfaces.surfaces] if len(surfaces) else []
    for group in groups:
        result.surfaces += _simplified(group, max_error_mm, triangles, cancel)
    return result


def _simplified(surfaces: list[Surface], max_error_mm, triangles, cancel: Cancel) -> list[Surface]:
    """Surfaces of which what they share stays shared: patches are exchanged until each surface is sound."""
    whole = patches_of(surfaces)
    shares = [triangles / len(s.triangles) if triangles else None for s in surfaces]
    tries = [
        _candidates(p, max_error_mm, min(shares[n] for n in (p.inside, p.outside) if n >= 0) if triangles else None)
        for p in whole
    ]
    patches, volumes = list(whole), [mesh_volume_ml(s.points, s.triangles) for s in surfaces]
    unfit, results = set(range(len(whole))), {}
    while unfit:
        for n in unfit:
            check(cancel)
            patches[n] = next(tries[n])
        stale = {s for n in unfit for s in (patches[n].inside, patches[n].outside) if s >= 0}
        unfit = set()
        for s in stale:
            results[s], source = assembled(surfaces[s], s, patches)
            unfit |= _to_blame(results[s], source, volumes[s])
        unfit = {n for n in unfit if patches[n] is not whole[n]}
    return [results[s] for s in range(len(surfaces))]


def _to_blame(surface: Surface, source: np.ndarray, volume: float) -> set[int]:
    """Patches that a surface has to get with more triangles; none if it is sound.

    Args:
        source: (M,) the patch that each triangle comes from.
        volume: that it should have, in ml.
    """
    faulty = faulty_triangles(surface.triangles)
    if faulty.any():
        return set(source[faulty].tolist())
    drift = mesh_volume_ml(surface.points, surface.triangles) / volume - 1
    return set() if is_sound(surface) and abs(drift) <= _LARGEST_DRIFT else set(source.tolist())


def _candidates(patch: Patch, max_error_mm: float | None, share: float | None) -> Iterator[Patch]:
    """A patch with more and more triangles, as it was at last; its border is always the same."""
    for kept in [s for s in (share, *_SHARES) if s is not None and (share or 0) <= s < 1]:
        candidate = _decimated(patch, kept)
        if max_error_mm is None or _error_mm(patch, candidate) <= max_error_mm:
            yield candidate
    yield patch


def _decimated(patch: Patch, share: float) -> Patch:
    import pyfqmr

    decimation = pyfqmr.Simplify()
    decimation.setMesh(patch.points, patch.triangles.astype(np.int32))
    count = max(4, int(share * len(patch.triangles)))
    decimation.simplify_mesh(target_count=count, preserve_border=True, verbose=False)
    points, triangles, _ = decimation.getMesh()
    return replace(patch, points=points, triangles=triangles.astype(np.int64))


def _error_mm(old: Patch, new: Patch) -> float:
    if len(new.triangles) == 0:
        return np.inf
    forth = distances_to_mesh(old.points, new.points, new.triangles)
    return max(forth.max(), distances_to_mesh(new.points, old.points, old.triangles).max())
