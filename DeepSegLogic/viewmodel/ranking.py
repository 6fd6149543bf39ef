"""Which structures to look at first."""

from __future__ import annotations

from ..measures import Measurement
from ..refine.review import LOW_CONFIDENCE


def is_doubtful(row: Measurement) -> bool:
    """Whether a structure was found with low confidence."""
    return row.voxels > 0 and row.confidence is not None and row.confidence < LOW_CONFIDENCE


def doubtful_first(row: Measurement) -> tuple:
    """Structures found with low confidence, then the others as they come, then those not found."""
    if row.voxels == 0:
        return (2, 0.0)
    return (0, row.confidence) if is_doubtful(row) else (1, 0.0)
