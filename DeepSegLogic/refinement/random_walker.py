"""How strongly each voxel goes with a prompt, as the potential of a random walker with priors (Grady, CVPR 2005).

The potential u minimizes

    Σ w_ij (u_i − u_j)² + λ Σ (u_i − p_i)²,  u = 1 at the marked voxels,

with p the probabilities of the evidence, and weights w that are small across edges of the image. It is one sparse,
symmetric, well-conditioned system: conjugate gradients solve it in tens of steps. Its level sets are what the prompt
changes at a narrower or wider reach; :func:`believed` chooses one by the energy of a graph cut, so that what changes
ends at edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from ..data.boxes import box_of, whole
from ..data.types import FloatArray, MaskArray, ScalarArray
from .prompt_context import PromptContext
from .unary_potentials import log_odds_of

LENGTH_VOXELS = 1.5  # over which the evidence of neighbours is shared, where there is no edge
CONTRAST = 3.0  # difference between neighbours that is an edge, in their usual differences
CONTRAST_OF_NETWORK = 1.5  # and in the network's log odds
BORDER = 2.0  # log odds that a border of one face without an edge costs
LEAST_ODDS = -6.0  # log odds below which a voxel takes no part
_TOLERANCE, _STEPS = 1e-4, 200

Link: TypeAlias = tuple[tuple[slice, ...], tuple[slice, ...], ScalarArray]
"""Slices for the first and the second voxels of all pairs along an axis, and how uniform each pair is, 0 to 1."""


def potential(log_odds: ScalarArray, context: PromptContext, links: Sequence[Link]) -> ScalarArray:
    """The potential: float32 (K, J, I) in [0, 1], 1 at the seeds, 0 where it is tiny or nothing may change.

    Args:
        log_odds: (K, J, I), that a voxel changes.
        context: image, seeds and candidates.
        links: of the context.
    """
    unknown = context.candidates & ~context.seeds & (log_odds > LEAST_ODDS)
    part = box_of(unknown | context.seeds) or whole(unknown.shape)
    field = context.seeds.astype(np.float32)
    unknown, seeds = unknown[part], context.seeds[part]
    prior = 1 / (1 + np.exp(-np.where(unknown, log_odds[part], -np.inf).astype(float)))
    diagonal, right = np.ones(unknown.shape), prior.copy()
    couplings = []
    length = LENGTH_VOXELS * context.voxel / context.spacing
    for axis, ((a, b, uniform), size) in enumerate(zip(links, length, strict=True)):
        pairs = tuple(slice(s.start, s.stop - (d == axis)) for d, s in enumerate(part))
        weights = size**2 * uniform[pairs]
        for free, fixed in ((a, b), (b, a)):
            diagonal[free] += weights * (unknown[free] & (unknown | seeds)[fixed])
            right[free] += weights * (unknown[free] & seeds[fixed])
        couplings.append((a, b, weights * (unknown[a] & unknown[b])))
    solution = _solution(couplings, diagonal, right, prior)
    field[part] = np.where(unknown, np.clip(solution, 0, 1), seeds)
    return field


def _solution(couplings: Sequence[Link], diagonal: FloatArray, right: FloatArray, start: FloatArray) -> FloatArray:
    """The solution of a symmetric system, by conjugate gradients with Jacobi preconditioning. All arrays are boxes of
    voxels; those that take no part are 0.

    Args:
        couplings: of neighbours; minus these are the entries of the matrix beside its diagonal.
        diagonal: of the matrix.
        right: right-hand side.
        start: first guess.
    """

    def product(x: FloatArray) -> FloatArray:
        found = diagonal * x
        for a, b, coupling in couplings:
            found[a] -= coupling * x[b]
            found[b] -= coupling * x[a]
        return found

    u, tolerance = start, _TOLERANCE**2 * float((right**2 / diagonal).sum())
    residual = right - product(u)
    direction = residual / diagonal
    energy = float((residual * direction).sum())
    for _ in range(_STEPS):
        if energy <= tolerance:
            break
        pushed = product(direction)
        step = energy / float((direction * pushed).sum())
        u = u + step * direction
        residual = residual - step * pushed
        scaled = residual / diagonal
        before, energy = energy, float((residual * scaled).sum())
        direction = scaled + energy / before * direction
    return u


def believed(field: ScalarArray, log_odds: ScalarArray, context: PromptContext, links: Sequence[Link]) -> float:
    """The threshold of the field whose level set has the least energy: the log odds against its voxels, and the part of
    its border that is on no edge (Boykov and Jolly, ICCV 2001). A border on what the seeds become costs nothing."""
    free = context.candidates & ~context.seeds
    levels = 1 / (1 + np.exp(-np.linspace(-4, 4, 161)))
    level = np.searchsorted(levels, field, "right")
    level[context.seeds] = len(levels)
    energy = -np.bincount(level[free], log_odds[free], len(levels) + 1)
    for (a, b, uniform), spacing in zip(links, context.spacing, strict=True):
        both = context.candidates[a] & context.candidates[b] & (level[a] != level[b])
        p, q = level[a][both], level[b][both]
        weights = BORDER * context.voxel / spacing * uniform[both]
        energy += np.bincount(np.maximum(p, q), weights, len(energy))
        energy -= np.bincount(np.minimum(p, q), weights, len(energy))
    total = np.cumsum(energy[::-1])[::-1][1:]  # of the voxels at each level or above
    return float(levels[len(total) - 1 - np.argmin(total[::-1])])


def links_of(context: PromptContext, prior: ScalarArray | None = None) -> list[Link]:
    """Pairs of neighbouring voxels along each axis: uniform where neither the image nor the network's probabilities, if
    given, have an edge."""
    grey, inside = context.smoothed, context.candidates | context.goal
    sides = [
        [tuple(s if d == axis else slice(None) for d in range(3)) for s in (slice(None, -1), slice(1, None))]
        for axis in range(3)
    ]
    steps = [np.abs(grey[b] - grey[a]) for a, b in sides]
    usual = np.concatenate([step[inside[a] & inside[b]] for (a, b), step in zip(sides, steps, strict=True)])
    width = CONTRAST * (float(np.median(usual)) if usual.size else 0.0) + 1e-3 * float(np.ptp(grey)) + 1e-6
    links = []
    for (a, b), step in zip(sides, steps, strict=True):
        edge = (step / width) ** 2
        if prior is not None:
            known = log_odds_of(prior)
            edge += ((known[b] - known[a]) / CONTRAST_OF_NETWORK) ** 2
        links.append((a, b, np.exp(-0.5 * edge)))
    return links


def connected(field: ScalarArray, seeds: MaskArray) -> ScalarArray:
    """For each voxel, the largest threshold at which it is connected to a seed: float32 of the field's shape."""
    import SimpleITK as sitk

    part, found = box_of(field) or whole(field.shape), np.zeros_like(field)
    marker, mask = np.where(seeds[part], field[part], 0), np.ascontiguousarray(field[part])
    grown = sitk.ReconstructionByDilation(sitk.GetImageFromArray(marker), sitk.GetImageFromArray(mask))
    found[part] = sitk.GetArrayViewFromImage(grown)
    return found
