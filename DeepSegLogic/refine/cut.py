"""Minimal cut."""

from __future__ import annotations

import numpy as np


def cut(odds, candidates, seeds, goal, image, smoothness, sigma) -> np.ndarray:
    """The voxels that change: hard for seeds, none outside of candidates."""
    import maxflow

    hard = 1e3
    unary = np.where(candidates, odds, np.where(goal, hard, -hard))
    unary[seeds] = hard
    graph = maxflow.GraphFloat()
    nodes = graph.add_grid_nodes(unary.shape)
    for axis in range(3):
        structure = np.zeros((3, 3, 3))
        structure[tuple(2 if a == axis else 1 for a in range(3))] = 1
        step = np.diff(image, axis=axis, append=image.take([-1], axis))
        w = smoothness * np.exp(-0.5 * (step / sigma) ** 2)
        graph.add_grid_edges(nodes, weights=w, structure=structure, symmetric=True)
    graph.add_grid_tedges(nodes, np.maximum(unary, 0), np.maximum(-unary, 0))
    graph.maxflow()
    return ~graph.get_grid_segments(nodes) & candidates
