"""Named trade-offs between speed and agreement with the reference implementation."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True)
class Quality:
    """How thoroughly a volume is segmented.

    Attributes:
        step: largest distance of two windows as a fraction of the patch.
        air: what is done with the air around the patient (outside of the box of what is brighter than ``BODY_HU``,
            plus ``BODY_MARGIN_MM``): ``"kept"``; ``"skipped"``, which leaves it without labels and spares the windows
            that lie in it, while the others stay where they are; or ``"cut"`` off, which moves them.
        mirror: average over the mirrorings that the training allows.
        half_on_cpu: compute in half precision on a CPU, too, where it is made for that.
    """

    step: float = 0.5
    air: str = "kept"
    mirror: bool = False
    half_on_cpu: bool = False


QUALITIES = {
    "draft": Quality(step=0.8, air="cut", half_on_cpu=True),
    "fast": Quality(air="skipped", half_on_cpu=True),
    "standard": Quality(),
    "best": Quality(mirror=True),
}
"""``standard`` does what nnU-Net does without mirroring; ``best`` what it does with it; ``fast`` nearly so."""


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
