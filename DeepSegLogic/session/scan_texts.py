"""A scan in words: what it shows, and what is odd about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..classify import Scan, finds_nothing
from ..util.i18n import mark as N_
from ..util.i18n import tr as _
from .enhancements import enhanced_text

if TYPE_CHECKING:
    from ..segmentation import Result

REGION_WORDS = {
    "legs": N_("legs"),
    "pelvis": N_("pelvis"),
    "abdomen": N_("abdomen"),
    "chest": N_("chest"),
    "neck": N_("neck"),
    "head": N_("head"),
}
PHASE_WORDS = {
    "": N_("unknown"),
    "plain": N_("no contrast medium"),
    "arterial": N_("arterial phase"),
    "venous": N_("portal venous phase or later"),
}
_FLIPPED = {
    "upside_down": N_("The scan seems to be upside down."),
    "front_to_back": N_("Front and back of the scan seem to be swapped."),
    "mirrored": N_("The scan seems to be mirrored: left and right are swapped."),
}


def shown(scan: Scan) -> str:
    """What a scan shows, from the head down: ``"Shows chest, abdomen"``; empty if unknown."""
    regions = ", ".join(_(REGION_WORDS[region]) for region in reversed(scan.regions))
    return _("Shows {}").format(regions) if regions else ""


def phase_text(phase: str) -> str:
    """A contrast phase of :func:`DeepSegLogic.classify.phase_rule.phase_from` in a sentence."""
    return _("Contrast phase by the HU of structures: {}").format(_(PHASE_WORDS[phase]))


def scan_lines(result: Result) -> list[str]:
    """What a result says about the scan, without its warnings: contrast phase and enhancement, one a line."""
    phase = phase_text(result.phase) if result.phase else ""
    return [line for line in (phase, enhanced_text(result.provenance)) if line]


def doubts(scan: Scan, model: str = "", structures: Sequence[str] = ()) -> list[tuple[str, str]]:
    """What is odd about a scan, or about a model for it: sentences, each with what to do.

    Args:
        model, structures: title of the model, and names of the structures to find.
    """
    found = []
    if scan.modality == "other":
        found.append((_("The scan does not look like a CT of a body."), _("Check that it is the right one.")))
    check = _("Check its orientation: organs may be missed, or named on the wrong side.")
    found += [(_(_FLIPPED[flip]), check) for flip in scan.flips]
    if finds_nothing(scan, structures):
        regions = ", ".join(_(REGION_WORDS[region]) for region in reversed(scan.regions))
        text = _("The model {model} will find nothing here: its structures lie outside of {regions}.")
        found.append((text.format(model=model, regions=regions), _("Choose a model for this part of the body.")))
    return found
