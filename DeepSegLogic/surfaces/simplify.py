"""Simplification of surfaces to a number of triangles or a largest error, boundaries that structures share included.

Surfaces are split into patches: what two structures share, and what each has alone. Each patch is decimated once, and
the surfaces are put together again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..data.types import PointsRas, Triangles
from ..util.errors import UsageError
from ..util.progress import Cancel, check, never_cancel
from .mesh_quality import distances_to_mesh, faulty_triangles, is_sound, mesh_volume_ml
from .surface import IndexArray, Surface, SurfaceSet

_SHARES = (0.02, 0.04, 0.07, 0.12, 0.2, 0.3, 0.45, 0.65, 0.85)  # of the triangles kept, tried in this order
_LARGEST_DRIFT = 0.01  # of its volume that a structure may lose or gain


def simplify_surfaces(
    surfaces: SurfaceSet,
    *,
    max_error_mm: float | None = None,
    triangles: int | None = None,
    joint: bool = False,
    cancel: Cancel = never_cancel,
) -> SurfaceSet:
    """Simplify surfaces by quadric decimation.

    A surface that would break, or change its volume by more than 1 %, keeps more triangles, if need be all of them.

    Source: Garland and Heckbert, Surface simplification using quadric error metrics, SIGGRAPH 1997; by pyfqmr.

    Args:
        surfaces: in RAS mm; they are not changed.
        max_error_mm: largest distance between the new and the old surface.
        triangles: approximate number of triangles of each surface.
        joint: structures that touch keep the same boundary, point for point. It is simplified once, for both, and
            the lines where three structures meet stay as they are. Without it, each surface is simplified
            separately, and neighbours may have gaps or overlaps as large as the error.

    Raises:
        UsageError: a number that is not positive.
        Cancelled: ``cancel`` returned True.
    """
    check_goal(max_error_mm, triangles)
    result = SurfaceSet(smoothing=surfaces.smoothing)
    groups = [[s] for s in surfaces] if not joint else [surfaces.surfaces] if len(surfaces) else []
    for group in groups:
        result.surfaces += _simplified(group, max_error_mm, triangles, cancel)
    return result


@dataclass
class _Patch:
    """A part of the boundary of one structure, or of two that share it.

    Attributes:
        inside, outside: indices of the surfaces that have it. ``outside`` has its triangles reversed; -1 if none.
        points: (N, 3), RAS in mm.
        triangles: (M, 3), oriented as in the surface ``inside``.
    """

    inside: int
    outside: int
    points: PointsRas
    triangles: Triangles


def check_goal(max_error_mm: float | None, triangles: int | None) -> None:
    """Raise :class:`UsageError` if surfaces cannot be simplified so far, or by both measures."""
    if max_error_mm is not None and triangles is not None:
        raise UsageError(
            "Surfaces cannot be simplified to both a largest error and a number of triangles.",
            "Give one of them.",
            code="usage.simplify",
        )
    for name, value in (("largest error in mm", max_error_mm), ("number of triangles", triangles)):
        if value is not None and not value > 0:
            raise UsageError(f"The {name} must be above 0, but it is {value}.", code="usage.simplify")


def _simplified(
    surfaces: list[Surface], max_error_mm: float | None, triangles: int | None, cancel: Cancel
) -> list[Surface]:
    """Simplified surfaces that still share what they shared: patches are replaced until each surface is sound."""
    whole = _patches_of(surfaces)
    tries = [_candidates(p, max_error_mm, _share_of(p, surfaces, triangles)) for p in whole]
    patches, volumes = list(whole), [mesh_volume_ml(s.points, s.triangles) for s in surfaces]
    unfit, results = set(range(len(whole))), dict[int, Surface]()
    while unfit:
        for n in unfit:
            check(cancel)
            patches[n] = next(tries[n])
        stale = {s for n in unfit for s in (patches[n].inside, patches[n].outside) if s >= 0}
        unfit = set()
        for s in stale:
            results[s], source = _assembled(surfaces[s], s, patches)
            unfit |= _to_refine(results[s], source, volumes[s])
        unfit = {n for n in unfit if patches[n] is not whole[n]}
    return [results[s] for s in range(len(surfaces))]


def _share_of(patch: _Patch, surfaces: list[Surface], triangles: int | None) -> float | None:
    """The share of a patch's triangles to keep for a number per surface; the smaller one where two share it."""
    if triangles is None:
        return None
    return min(triangles / len(surfaces[n].triangles) for n in (patch.inside, patch.outside) if n >= 0)


def _to_refine(surface: Surface, source: IndexArray, volume: float) -> set[int]:
    """Patches of a surface that need more triangles; none if it is sound.

    Args:
        source: (M,) index of each triangle's patch.
        volume: of the surface before, in ml.
    """
    faulty = faulty_triangles(surface.triangles)
    if faulty.any():
        return set(source[faulty].tolist())
    drift = mesh_volume_ml(surface.points, surface.triangles) / volume - 1
    return set() if is_sound(surface) and abs(drift) <= _LARGEST_DRIFT else set(source.tolist())


def _candidates(patch: _Patch, max_error_mm: float | None, share: float | None) -> Iterator[_Patch]:
    """A patch with more and more triangles, and at last unchanged. Its border is always the same."""
    for kept in [s for s in (share, *_SHARES) if s is not None and (share or 0) <= s < 1]:
        candidate = _decimated(patch, kept)
        if max_error_mm is None or _error_mm(patch, candidate) <= max_error_mm:
            yield candidate
    yield patch


def _decimated(patch: _Patch, share: float) -> _Patch:
    import pyfqmr

    decimation = pyfqmr.Simplify()
    decimation.setMesh(patch.points, patch.triangles.astype(np.int32))
    count = max(4, int(share * len(patch.triangles)))
    decimation.simplify_mesh(target_count=count, preserve_border=True, verbose=False)
    points, triangles, _ = decimation.getMesh()
    return replace(patch, points=points, triangles=triangles.astype(np.int64))


def _error_mm(old: _Patch, new: _Patch) -> float:
    if len(new.triangles) == 0:
        return np.inf
    forth = distances_to_mesh(old.points, new.points, new.triangles)
    back = distances_to_mesh(new.points, old.points, old.triangles)
    return float(max(forth.max(), back.max()))


def _patches_of(surfaces: list[Surface]) -> list[_Patch]:
    """All triangles of surfaces, as patches; a triangle is shared if its corners have the same coordinates in both."""
    corners, points, owner = _merged([(s.points, s.triangles) for s in surfaces])
    _, first, found, count = np.unique(
        np.sort(corners, 1), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    last = np.empty_like(first)
    last[found.ravel()] = np.arange(len(corners))
    sides = np.stack([owner[first], np.where(count == 2, owner[last], -1)], 1)
    sides, patch = np.unique(sides, axis=0, return_inverse=True)
    patches = []
    for number, (inside, outside) in enumerate(sides):
        used, triangles = np.unique(corners[first[patch.ravel() == number]], return_inverse=True)
        patches.append(_Patch(int(inside), int(outside), points[used], triangles.reshape(-1, 3)))
    return patches


def _assembled(surface: Surface, number: int, patches: list[_Patch]) -> tuple[Surface, IndexArray]:
    """A surface put together from patches, and (M,) the index of each triangle's patch.

    Args:
        number: index of the surface, as in :attr:`_Patch.inside`.
    """
    own = [n for n, p in enumerate(patches) if number in (p.inside, p.outside)]
    parts = [patches[n] for n in own]
    oriented = [p.triangles if p.inside == number else p.triangles[:, ::-1] for p in parts]
    triangles, points, part = _merged([(p.points, t) for p, t in zip(parts, oriented, strict=True)])
    return Surface(surface.structure, points, triangles), np.array(own)[part]


def _merged(meshes: Sequence[tuple[PointsRas, Triangles]]) -> tuple[Triangles, PointsRas, IndexArray]:
    """Meshes as one: triangles (M, 3), points (N, 3) without duplicates, and (M,) the mesh of each triangle."""
    merged, number = np.unique(np.concatenate([points for points, _ in meshes]), axis=0, return_inverse=True)
    starts = np.cumsum([0, *(len(points) for points, _ in meshes[:-1])])
    triangles = np.concatenate([t + start for (_, t), start in zip(meshes, starts, strict=True)])
    return number.ravel()[triangles], merged, np.repeat(np.arange(len(meshes)), [len(t) for _, t in meshes])
