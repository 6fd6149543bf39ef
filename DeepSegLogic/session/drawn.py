"""Checks of a prompt that somebody just drew, in words for that person: no number, no coordinates, no file."""

from __future__ import annotations

import numpy as np

from ..data.label_map import LabelMap, Structure, structure_named
from ..data.terminology import structure_for
from ..refinement.prompts import Prompt
from ..util.errors import InputError, UsageError
from ..util.i18n import mark as N_
from ..util.i18n import tr as _

NAMES = {"point": N_("point"), "scribble": N_("stroke"), "box": N_("box"), "lasso": N_("lasso")}
"""Of the kinds of prompts, as the buttons call them."""
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


def check_drawn(prompt: Prompt, label_map: LabelMap, others: bool = False) -> None:
    """Check that a prompt can correct a label map.

    Args:
        others: whether the prompt may change other structures, too.

    Raises:
        UsageError: the label map does not have its structure, or all that it is to gain belongs to others.
        InputError: it marks no voxel.
    """
    from ..refinement.rasterise import voxels_of

    target = structure_named(prompt.structure, label_map.structures)
    if target is None:
        raise UsageError(
            _("The result no longer has the structure {}.").format(structure_for(prompt.structure, 0).title),
            _("Choose another one in the list."),
            code="usage.structure",
        )
    _box, mask, whole = voxels_of(prompt, label_map.array.shape, label_map.ijk_to_ras)
    if mask.any():
        if prompt.positive and not others:
            _check_free(target, prompt, label_map.layer_of(target))
    elif whole:
        raise InputError(_(EMPTY[prompt.kind]), _("Draw it larger."), code="input.prompts")
    else:
        raise InputError(_(OUTSIDE[prompt.kind]), _("Draw inside the volume."), code="input.prompt_outside")


def _check_free(target: Structure, prompt: Prompt, layer: LabelMap) -> None:
    """Check that not all that a structure is to gain belongs to others in its layer."""
    from ..refinement.rasterise import seeds_of

    seeds = seeds_of(prompt, layer.array.shape, layer.ijk_to_ras, 1)
    known = {s.value: s.title or structure_for(s.name, 0).title for s in layer.structures if s.value != target.value}
    there = np.unique(layer.array[seeds.box][seeds.mask]).tolist()
    owners = [known[value] for value in there if value in known]
    if not layer.layers and len(owners) == len(there):  # with layers, it is a new one that the structure gets
        raise UsageError(
            _("Nothing changed: this belongs to {}.").format(", ".join(owners)),
            _("Remove it there first, then add it here."),
            code="usage.locked",
        )
