"""Checks of a prompt that somebody just drew, in words for that person: no number, no coordinates, no file."""

from __future__ import annotations

from ..data.label_map import LabelMap, structure_named
from ..data.terminology import structure_for
from ..refinement.prompts import Prompt
from ..util.errors import InputError, UsageError
from ..util.i18n import mark as N_
from ..util.i18n import tr as _

OUTSIDE = {
    "point": N_("The click is outside the volume, so nothing was corrected."),
    "scribble": N_("The stroke is outside the volume, so nothing was corrected."),
    "box": N_("The box is outside the volume, so nothing was corrected."),
    "lasso": N_("The lasso is outside the volume, so nothing was corrected."),
}
EMPTY = {
    "point": N_("The click marks no voxel, so nothing was corrected."),
    "scribble": N_("The stroke marks no voxel, so nothing was corrected."),
    "box": N_("The box encloses no voxel, so nothing was corrected."),
    "lasso": N_("The lasso encloses no voxel, so nothing was corrected."),
}


def check_drawn(prompt: Prompt, label_map: LabelMap) -> None:
    """Check that a prompt can correct a label map.

    Raises:
        UsageError: the label map does not have its structure.
        InputError: it marks no voxel.
    """
    from ..refinement.rasterise import voxels_of

    if structure_named(prompt.structure, label_map.structures) is None:
        raise UsageError(
            _("The result no longer has the structure {}.").format(structure_for(prompt.structure, 0).title),
            _("Choose another one in the list."),
            code="usage.structure",
        )
    _box, mask, whole = voxels_of(prompt, label_map.array.shape, label_map.ijk_to_ras)
    if mask.any():
        return
    if whole:
        raise InputError(_(EMPTY[prompt.kind]), _("Draw it larger."), code="input.prompts")
    raise InputError(_(OUTSIDE[prompt.kind]), _("Draw inside the volume."), code="input.prompt_outside")
