"""Named trade-offs between speed and agreement with the reference implementation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..util.errors import UsageError

if TYPE_CHECKING:
    from ..models.plan import Plan

Air = Literal["kept", "skipped", "cut"]
"""What is done with the air around the patient: outside of the box of voxels above ``BODY_HU``, plus
``BODY_MARGIN_MM``. ``"skipped"`` gives it no labels and leaves out the windows in it; the others keep their place.
``"cut"`` crops it first, which moves the windows."""


@dataclass(frozen=True)
class Quality:
    """How thoroughly a volume is segmented.

    Attributes:
        step: largest distance of two windows as a fraction of the patch.
        air: see :data:`Air`.
        mirror: average over the mirrorings that the training allows.
        half_on_cpu: compute in half precision on CPUs that have instructions for it; see :meth:`halves`.
    """

    step: float = 0.5
    air: Air = "kept"
    mirror: bool = False
    half_on_cpu: bool = False

    def halves(self, plan: Plan) -> bool:
        """Whether a network of this plan runs in half precision there. Not those that see one slice at a time: fewer
        windows are averaged in each voxel, and so bfloat16 changes more labels."""
        return self.half_on_cpu and plan.patch_size[0] > 1


QUALITIES = {
    "draft": Quality(step=0.8, air="cut", half_on_cpu=True),
    "fast": Quality(air="skipped", half_on_cpu=True),
    "standard": Quality(),
    "best": Quality(mirror=True),
}
"""``standard`` equals nnU-Net without mirroring, ``best`` with it; ``fast`` and ``draft`` come close."""


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
