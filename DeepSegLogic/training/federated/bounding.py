"""How far the update of a site may go: one that is out of all proportion is not averaged.

Source: norm bounding of updates (Sun et al., Can you really backdoor federated learning?, arXiv:1911.07963, section 3).
There a long update is scaled down; here it is left out and told, so that those of honest sites stay as they were sent.
The median of the round is what most sites do, however far others go (Yin et al., ICML 2018, arXiv:1803.01498).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

FACTOR = 10.0
_MAJORITY = 3  # sites from which on most of them tell what is usual


def longest_update(updates: Sequence[float], weights: float) -> float:
    """Up to which length an update is averaged.

    With three sites or more: ten times the median of the round, at least the length of the weights themselves. With
    fewer, which have no majority: ten times the length of the weights.

    Args:
        updates: lengths (Euclidean norms over all weights) of all updates of the round.
        weights: length of the weights that the round began with.

    Example:
        >>> from DeepSegLogic.training.federated.bounding import longest_update
        >>> longest_update([6.5, 7.0, 3e38], 24.0), longest_update([6.5, 3e38], 24.0)
        (70.0, 240.0)
    """
    if len(updates) < _MAJORITY:
        return FACTOR * weights
    return max(weights, FACTOR * statistics.median(updates))
