"""How much of what a prompt proposes is applied, as the wheel and the sliders of the faces set it."""

from __future__ import annotations

NOTCHES = 4
"""Of the wheel, or steps of a slider, that double the reach."""

MOST_NOTCHES = 24
"""Either way."""


def counting(notches: float) -> float:
    """The notches that count, of so many that the wheel was turned; up is positive."""
    return min(MOST_NOTCHES, max(-MOST_NOTCHES, notches))


def reach_after(notches: float) -> float:
    """The reach of a :class:`~DeepSegLogic.refinement.proposal.Proposal`, 1 before the wheel was turned.

    Example:
        >>> reach_after(0), reach_after(4), reach_after(-8)
        (1.0, 2.0, 0.25)
    """
    return float(2 ** (notches / NOTCHES))
