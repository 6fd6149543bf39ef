"""The best border between what changes and what stays: a minimal cut (Boykov and Jolly, ICCV 2001)."""

from __future__ import annotations

import numpy as np

from .evidence import Scene

SMOOTHNESS = {True: 0.7, False: 1.51}  # log odds that a face between like voxels costs, by the prompt's sign
CONTRAST = {True: 1.07, False: 1.51}  # difference at which it costs 0.6 of that, in spreads of grey values at the seeds
_HARD = 1e4


def cut(odds: np.ndarray, scene: Scene, positive: bool) -> np.ndarray:
    """The voxels that change: boolean (K, J, I), all seeds and no others than candidates.

    Args:
        odds: log odds that a voxel changes.
        positive: the sign of the prompt.

    Solved by PyMaxflow (Boykov and Kolmogorov's algorithm, PAMI 2004).
    """
    import maxflow
    from scipy.ndimage import binary_dilation

    image = scene.image.astype(np.float32)
    low, high = np.percentile(image[::2, ::2, ::2], [0.5, 99.5])
    near = binary_dilation(scene.seeds, iterations=2) & scene.candidates
    sigma = CONTRAST[positive] * (image[near].std() + max(0.01 * (high - low), 1e-6))
    terms = np.where(scene.candidates, odds, np.where(scene.goal, _HARD, -_HARD))
    terms[scene.seeds] = _HARD
    graph = maxflow.GraphFloat()
    nodes = graph.add_grid_nodes(terms.shape)
    for axis in range(3):
        step = np.diff(image, axis=axis, append=image.take([-1], axis))
        forward = np.zeros((3, 3, 3))
        forward[tuple(2 if a == axis else 1 for a in range(3))] = 1
        weights = SMOOTHNESS[positive] * np.exp(-0.5 * (step / sigma) ** 2)
        graph.add_grid_edges(nodes, weights=weights, structure=forward, symmetric=True)
    graph.add_grid_tedges(nodes, np.maximum(terms, 0), np.maximum(-terms, 0))
    graph.maxflow()
    return ~graph.get_grid_segments(nodes) & scene.candidates
