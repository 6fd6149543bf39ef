"""Every face says in its own terms what to do about an error."""

from importlib import import_module
from string import Formatter
from typing import get_args

import pytest

from DeepSegLogic.util.errors import ACTION_DETAILS, Action


@pytest.mark.parametrize("face", ["DeepSegLogic.cli", "DeepSegLib", "DeepSegWeb"])
def test_a_face_has_words_for_every_action(face, slicer_host):
    remedies = import_module(f"{face}.remedies")
    words = remedies.words() if hasattr(remedies, "words") else remedies.WORDS
    assert words.keys() == set(get_args(Action))
    for action, sentence in words.items():
        used = {name for _, name, _, _ in Formatter().parse(sentence) if name}
        assert used <= set(ACTION_DETAILS.get(action, ())), action
        assert sentence == "" or sentence.endswith("."), action
        assert face == "DeepSegLogic.cli" or ("--" not in sentence and "deepseg " not in sentence), action
    assert all(words.values()) or face != "DeepSegLogic.cli"
