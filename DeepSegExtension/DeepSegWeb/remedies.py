"""How to do on the page what the remedy of an error asks for."""

from __future__ import annotations

from collections.abc import Mapping

from DeepSegLogic.util.errors import Action

WORDS: Mapping[Action, str] = {
    "allow_other_host": "",
    "choose_device": "",
    "choose_model": "Choose one under More models.",
    "collect_case": "Press Collect result on the Result tab.",
    "correct_with_model": "Choose it on the Result tab, and another model to segment.",
    "download_model": "Press Install under More models.",
    "give_card": "",
    "give_channel": "Open a file for {channel} under Input.",
    "give_image": "",
    "give_token": "Whoever runs the page can give it there, on the command line.",
    "go_on_anyway": "Tick 'Segment anyway'.",
    "import_model": "Press Import from file under More models.",
    "install_extra": "Ask whoever runs the server to install it.",
    "keep_probabilities": "",
    "lower_quality": "Choose the quality 'Draft'.",
    "make_surfaces": "",
    "rename_model": "",
    "replace_model": "Press Remove under More models first.",
    "save_server": "Whoever runs the page can save it there, on the command line.",
    "segment_again": "Press Segment.",
    "set_up_drafting": "Whoever runs the server can do that.",
    "start_service": "Or choose the page's computer at 'Run on'.",
    "trust_model": "Whoever runs the server can trust it there, on the command line.",
}
"""Action → sentence, empty where the remedy says it all."""
