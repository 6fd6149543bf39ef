"""Structures to look at first, by the confidence of the run."""

from __future__ import annotations

from .measurements import Measurement

LOW_CONFIDENCE = 0.6
"""Mean probability below which a structure is doubtful."""


def is_doubtful(row: Measurement) -> bool:
    """Whether a structure was found with low confidence."""
    return row.voxels > 0 and row.confidence is not None and row.confidence < LOW_CONFIDENCE


def doubtful_first(row: Measurement) -> tuple[int, float]:
    """Sort key: structures with low confidence, lowest first; the others in their order; those not found."""
    if row.voxels == 0:
        return (2, 0.0)
    return (0, row.confidence or 0.0) if is_doubtful(row) else (1, 0.0)
