"""Surfaces taken apart into patches that two structures share or one has alone, and put together again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .extract import Surface


@dataclass
class Patch:
    """A part of the boundary of one structure or of two.

    Attributes:
        inside, outside: numbers of the surfaces that have it, outside turned round; outside is -1 if none.
        points: (N, 3) float64, RAS in mm.
        triangles: (M, 3) int64, as the surface ``inside`` has them.
    """

    inside: int
    outside: int
    points: np.ndarray
    triangles: np.ndarray


def patches_of(surfaces: list[Surface]) -> list[Patch]:
    """Every triangle of some surfaces in one patch; two surfaces share those with corners in the same places."""
    ours, places, owner = _numbered([(s.points, s.triangles) for s in surfaces])
    _, first, found, count = np.unique(
        np.sort(ours, 1), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    last = np.empty_like(first)
    last[found.ravel()] = np.arange(len(ours))
    sides = np.stack([owner[first], np.where(count == 2, owner[last], -1)], 1)
    sides, patch = np.unique(sides, axis=0, return_inverse=True)
    patches = []
    for number, (inside, outside) in enumerate(sides):
        used, triangles = np.unique(ours[first[patch.ravel() == number]], return_inverse=True)
        patches.append(Patch(int(inside), int(outside), places[used], triangles.reshape(-1, 3)))
    return patches


def assembled(surface: Surface, number: int, patches: list[Patch]) -> tuple[Surface, np.ndarray]:
    """A surface made anew from patches, and (M,) which of them each of its triangles comes from.

    Args:
        number: of the surface, as the patches have it.
    """
    own = [n for n, p in enumerate(patches) if number in (p.inside, p.outside)]
    parts = [patches[n] for n in own]
    turned = [p.triangles if p.inside == number else p.triangles[:, ::-1] for p in parts]
    triangles, places, part = _numbered([(p.points, t) for p, t in zip(parts, turned, strict=True)])
    return Surface(surface.structure, places, triangles), np.array(own)[part]


def _numbered(meshes: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Meshes as one: triangles (M, 3), the places (N, 3) that they are of, each once, and (M,) the mesh of each."""
    places, number = np.unique(np.concatenate([points for points, _ in meshes]), axis=0, return_inverse=True)
    starts = np.cumsum([0, *(len(points) for points, _ in meshes[:-1])])
    triangles = np.concatenate([t + start for (_, t), start in zip(meshes, starts, strict=True)])
    return number.ravel()[triangles], places, np.repeat(np.arange(len(meshes)), [len(t) for _, t in meshes])
