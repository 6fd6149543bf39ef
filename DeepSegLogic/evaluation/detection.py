"""Detection: whether each lesion, a connected part of the reference, was found."""

from __future__ import annotations

import numpy as np

from ..data.types import MaskArray

_AT_ONCE = 1 << 22  # voxels: memory


def detection_f1(prediction: MaskArray, reference: MaskArray, min_iou: float) -> float:
    """F1 of the detected lesions, 2 TP / (2 TP + FP + FN).

    Lesions are connected over faces, edges and corners. A pair matches if its intersection over union reaches
    ``min_iou``; each lesion is matched once, so that most pairs are found. The method is that of ``picai_eval``.

    Args:
        prediction, reference: (K, J, I) bool of the same shape, of which one at least is not empty.
    """
    from scipy.ndimage import label
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    (predicted, n), (true, m) = (label(mask, np.ones((3, 3, 3))) for mask in (prediction, reference))
    if not n or not m:
        return 0.0
    voxels = csr_array((n + 1, m + 1), dtype=np.int64)  # by predicted and true lesion, 0 for none
    step = 1 + _AT_ONCE // predicted[0].size
    for start in range(0, len(predicted), step):
        p, r = predicted[start : start + step], true[start : start + step]
        at = (p > 0) | (r > 0)
        voxels = voxels + csr_array((np.ones(np.count_nonzero(at), np.int64), (p[at], r[at])), shape=voxels.shape)
    pairs = voxels[1:, 1:].tocoo()
    union = np.asarray(voxels.sum(1))[pairs.row + 1] + np.asarray(voxels.sum(0))[pairs.col + 1] - pairs.data
    close = pairs.data >= min_iou * union
    graph = csr_array((np.ones(int(close.sum())), (pairs.row[close], pairs.col[close])), shape=(n, m))
    matched = int(np.count_nonzero(maximum_bipartite_matching(graph) >= 0))
    return 2 * matched / (n + m)
