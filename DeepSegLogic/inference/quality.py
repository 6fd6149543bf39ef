"""Named trade-offs between speed and agreement with the reference implementation."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True)
class Quality:
    """How thoroughly a volume is segmented.

    Attributes:
        step: largest distance of two windows as a fraction of the patch.
        trim_to_body: leave out the air around the patient.
        mirror: average over the mirrorings that the training allows.
    """

    step: float
    trim_to_body: bool
    mirror: bool


QUALITIES = {
    "fast": Quality(step=0.8, trim_to_body=True, mirror=False),
    "standard": Quality(step=0.5, trim_to_body=False, mirror=False),
    "best": Quality(step=0.5, trim_to_body=False, mirror=True),
}
"""``standard`` does what nnU-Net does without mirroring; ``best`` what it does with it."""


def quality(name: str) -> Quality:
    """The quality of this name.

    Raises:
        UsageError: there is none.
    """
    try:
        return QUALITIES[name]
    except KeyError:
        raise UsageError(
            f"There is no quality named {name!r}.",
            f"Choose one of {', '.join(QUALITIES)}.",
            code="usage.quality",
        ) from None
