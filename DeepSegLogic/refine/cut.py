"""Minimal cut."""

from __future__ import annotations

import numpy as np

SMOOTHNESS = 1.0


def cut(odds, candidates, seeds, goal, image, spacing) -> np.ndarray:
    """The voxels that change: hard for seeds, none outside of candidates."""
    import maxflow

    hard = 1e3
    unary = np.where(candidates, odds, np.where(goal, 0, -hard))
    unary[seeds] = hard
    graph = maxflow.GraphFloat()
    nodes = graph.add_grid_nodes(unary.shape)
    smooth = image.astype(np.float32)
    sigma = 40.0
    for axis in range(3):
        structure = np.zeros((3, 3, 3))
        structure[tuple(2 if a == axis else 1 for a in range(3))] = 1
        step = np.diff(smooth, axis=axis, append=smooth.take([-1], axis))
        w = SMOOTHNESS * np.exp(-0.5 * (step / sigma) ** 2)
        graph.add_grid_edges(nodes, weights=w, structure=structure, symmetric=True)
    unary = np.where(goal & ~candidates, hard, unary)
    graph.add_grid_tedges(nodes, np.maximum(-unary, 0), np.maximum(unary, 0))
    graph.maxflow()
    return graph.get_grid_segments(nodes) & candidates
