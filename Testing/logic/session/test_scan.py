"""What the scan is: told by the worker, beside everything else."""

from dataclasses import replace

import numpy as np

from DeepSegLogic.classify import Part, Scan
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import read_volume
from DeepSegLogic.models import find_model
from DeepSegLogic.session.preflight import preflight

from .steps import wait

HEAD = Scan("CT", (Part("head", 0, 180, 0.9),), 0, 180, flips=("mirrored",))


def test_the_worker_tells_what_the_scan_is(session, chest_ct):
    choices, changes = session.choices, []
    choices.input_changed.connect(changes.append)
    choices.set_volume(read_volume(chest_ct))
    choices.ask_scan()
    assert choices.input.scan is None and choices.input.preflight.shows == ""  # nothing waits for it
    assert choices.why_not == ""
    wait(session, lambda: choices.input.scan)
    assert "chest" in choices.input.preflight.shows and changes[-1] is choices.input
    assert choices.why_not == ""  # it never blocks
    before = choices.input.scan
    choices.choose_model(choices.model.id)
    assert choices.input.scan is before and "chest" in choices.input.preflight.shows
    choices.set_volume(read_volume(chest_ct))  # as faces read it again at each run
    assert choices.input.scan is before and "chest" in choices.input.preflight.shows

    choices.set_volume(Volume(np.zeros((9, 9, 9), np.int16), np.eye(4)))  # a volume that nothing can be told of
    choices.ask_scan()
    choices.set_volume(None)
    wait(session, lambda: not session.jobs.waiting)
    assert choices.input.scan is None


def test_notes_on_the_model_and_the_orientation(chest_ct):
    volume, card = read_volume(chest_ct), find_model("ct_demo")
    texts = [note.text for note in preflight(volume, card, scan=HEAD).notes]
    assert any("mirrored" in text for text in texts) and not any("find nothing" in text for text in texts)
    legs = replace(card, structures=["femur_left", "hip_right"])
    found = preflight(volume, legs, scan=HEAD)
    assert any("find nothing" in note.text for note in found.notes) and found.ready
    assert found.shows == "Shows head"


def test_presets_follow(session, chest_ct):
    choices, told = session.choices, []
    choices.set_volume(read_volume(chest_ct))
    choices.structures_changed.connect(told.append)
    every = choices.structures.presets
    choices._take_scan(choices.volume, HEAD)
    assert "Abdominal organs" in every and choices.structures.presets == ["Spine", "Bones"]
    assert told[-1] is choices.structures and len(choices.structures.chosen) == len(choices.structures.known)
    choices.choose_structures(["vertebrae"])
    assert "liver" in choices.structures.elsewhere
    other = read_volume(chest_ct)
    other.name = "other"
    choices.set_volume(other)
    assert choices.input.scan is None and choices.structures.presets == every


def test_an_answer_about_a_scan_that_is_read_again_meanwhile_counts(session, chest_ct):
    choices = session.choices
    asked = read_volume(chest_ct)
    choices.set_volume(read_volume(chest_ct))
    choices._take_scan(asked, HEAD)
    assert choices.input.scan is HEAD and choices.input.volume is not asked
