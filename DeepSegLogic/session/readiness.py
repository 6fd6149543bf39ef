"""Whether a run can start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..util.i18n import tr as _
from .task import Run

if TYPE_CHECKING:
    from .choices import Choices


def why_not(choices: Choices, run: Run) -> str:
    """Why a run cannot start with these choices, in words; empty if it can.

    Args:
        run: the long task.
    """
    if choices.volume is None:
        return _("Load a CT first.")
    if choices.model is None or (entry := choices.models.entry) is None:
        return _("Choose a model.")
    if entry.damage:
        return entry.damage
    if not entry.installed:
        return _("Install the model first.")
    if entry.missing:
        return _("Install the model first: it needs {}, which is missing.").format(entry.missing[0].title)
    if choices.model.takes_prompts:
        return _("This model corrects results. Choose another one to segment.")
    if choices.model.finds_boxes:
        return _("This model finds lesions as boxes. Choose another one to segment.")
    if choices.channels.missing:
        return _("Choose a volume for {}.").format(choices.channels.missing[0])
    if not choices.structures.chosen:
        return _("Choose at least one structure.")
    if choices.place.url and choices.settings.enhance:
        return _("A server does not enhance CTs. Switch that off, or choose this computer.")
    blocking = [note for note in choices.input.preflight.notes if note.blocking]
    if blocking and not choices.settings.force:
        return f"{blocking[0].text} {blocking[0].remedy}".strip()
    return run.why_wait
