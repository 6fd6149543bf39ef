"""How to do in the panel what the remedy of an error asks for."""

from contextlib import contextmanager

import slicer

from DeepSegLib.i18n import tr as _
from DeepSegLogic.session.texts import run_text
from DeepSegLogic.util.errors import DeepSegError


def words():
    """Action → sentence, empty where the remedy says it all; in the language that Slicer now has."""
    return {
        "allow_other_host": _("Tick 'Allow another computer' in the Export section."),
        "choose_device": _("Choose the device under Advanced."),
        "choose_model": _("Choose one in the Model section."),
        "collect_case": _("Press Collect result in the section Learn from corrections."),
        "correct_with_model": _("Choose it in the Correct section, and another model to segment."),
        "download_model": _("Select it in the Model section and press Install."),
        "give_card": "",
        "give_channel": _("Choose it under Input, at {channel}."),
        "give_image": "",
        "give_token": _("Save the server once more on the command line, with its token."),
        "go_on_anyway": _("Tick 'Segment anyway'."),
        "import_model": _("Press Import in the Model section."),
        "install_extra": "{how}.",
        "keep_probabilities": "",
        "lower_quality": _("Choose the quality 'draft' under Advanced."),
        "make_surfaces": "",
        "rename_model": "",
        "replace_model": _("Press Remove in the Model section first."),
        "save_server": _("Servers are saved on the command line."),
        "segment_again": _("Press Segment."),
        "set_up_drafting": _("Enter its address in the Export section."),
        "start_service": _("Or run on this computer: choose it under Advanced."),
        "trust_model": _("Select it in the Model section and press Trust."),
    }


def runText(run):
    """The state of the long task, in one line; Slicer's translation of all words takes longer than the rest."""
    return run_text(run, words() if run.error is not None else {})


@contextmanager
def showingErrors(message, waitCursor=False):
    """As ``slicer.util.tryWithErrorDisplay``, with remedies in the words of the panel."""
    with slicer.util.tryWithErrorDisplay(message, waitCursor=waitCursor):
        try:
            yield
        except DeepSegError as error:
            raise RuntimeError(sentence(error)) from error


def sentence(error):
    """An error in the words of the panel."""
    return f"{error.message} {error.remedy_in(words())}".strip()
