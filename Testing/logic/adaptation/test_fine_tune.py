"""A model learns from corrected cases: it improves on one that it never saw, and nothing is lost on the way."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from DeepSegLogic.adaptation import comparison
from DeepSegLogic.adaptation.cases import CorrectedCase, CorrectedCases
from DeepSegLogic.adaptation.comparison import dice
from DeepSegLogic.adaptation.fine_tune import _split, adapt
from DeepSegLogic.adaptation.lineage import check_can_learn, go_back, learnt_before
from DeepSegLogic.adaptation.offer import offered, the_offer
from DeepSegLogic.models import find_model
from DeepSegLogic.models.card import ModelCard, Part
from DeepSegLogic.models.store import Store, verify
from DeepSegLogic.models.versions import kept_versions
from DeepSegLogic.segmentation import segment
from DeepSegLogic.training.run import work_folder
from DeepSegLogic.util.errors import Cancelled, InputError, ModelError, OutputError, UsageError

from ..training import phantom
from .conftest import add_case

theirs = pytest.importorskip("monai.metrics")


def quickly(cases, steps=1, **options):
    return adapt(cases.model, cases, steps=steps, device="cpu", **options)


def test_two_corrected_cases_improve_a_third_and_the_way_back_is_open(lab):
    taught = [add_case(lab, seed) for seed in (10, 11)]
    held = add_case(lab, 12)
    before = find_model("lab")
    offer = quickly(lab, 150)
    assert offer.came_from == ("lab", "7") and "Held out: case_12." in offer.notes
    rows = {(row.role, row.structure): row for row in offer.rows}
    assert rows.keys() == {("held_out", "spleen"), ("learnt", "spleen"), ("kept", "liver")}
    assert rows["held_out", "spleen"].before == 0 and rows["held_out", "spleen"].after > 0.3
    assert rows["kept", "liver"].after > 0.3 and rows["kept", "liver"].cases == 3
    assert offered(lab) == offer, "it waits on disk"
    assert find_model("lab") == before and not Store().find("lab_adapted"), "nothing was changed yet"

    card = offer.accept()
    assert (card.id, card.version, card.title) == ("lab_adapted", "1", "lab, adapted")
    assert card.licence == "CC0-1.0" and card.structures == ["liver", "spleen"]
    facts = card.provenance["adapted"]
    assert [case["digest"] for case in facts["cases"]] == [case.digest for case in taught]
    assert learnt_before(card) == {case.digest for case in taught}
    assert held.digest not in json.dumps(card.provenance), "else `evaluate` would take it for trained on"
    assert card.provenance["began_with"]["id"] == "lab" and verify(card) == []
    assert card.dice[f"held out: {held.digest}"]["spleen"] == pytest.approx(rows["held_out", "spleen"].after, abs=1e-4)
    assert offered(lab) is None and not work_folder(offer.folder).exists() and len(lab.all()) == 3
    volume, labels = phantom.case(12)
    found = segment(volume, "lab_adapted", device="cpu", force=True).label_map.mask("spleen")
    reference = theirs.compute_dice(*(torch.from_numpy(m.copy())[None, None] for m in (found, labels == 2)))
    assert float(reference) == pytest.approx(rows["held_out", "spleen"].after, abs=1e-6)

    same = CorrectedCases("lab_adapted")
    assert same.folder == lab.folder
    assert go_back("lab_adapted").id == "lab"
    second = quickly(CorrectedCases("lab_adapted"))  # begins with `lab`, which is what the cases are named after
    assert second.accept().version == "2"
    third = adapt("lab_adapted", same, steps=1, device="cpu")
    assert third.came_from == ("lab_adapted", "2") and third.accept().version == "3"
    assert [c.version for c in kept_versions(Store(), "lab_adapted")] == ["1", "2", "3"]
    assert go_back("lab_adapted").version == "2" and find_model("lab_adapted").version == "2"
    assert go_back("lab_adapted", "1").digests == card.digests and verify(find_model("lab_adapted")) == []
    assert adapt("lab_adapted", same, steps=1, device="cpu").accept().version == "4", "no version is overwritten"
    with pytest.raises(ModelError, match="no version 9"):
        go_back("lab_adapted", "9")
    Store().remove("lab_adapted")
    assert not kept_versions(Store(), "lab_adapted")


def test_no_image_of_the_patient_that_is_held_out_is_learnt_from(lab):
    whose = {10: "P1", 11: "P2", 12: "P1", 13: "P1", 14: "P2"}
    case = {seed: add_case(lab, seed, patient=patient) for seed, patient in whose.items()}
    offer = quickly(lab)
    assert offer.notes[0] == "Held out, all of one patient: case_11, case_14.", "of the newest case's two"
    card = find_model(offer.folder)
    assert learnt_before(card) == {case[seed].digest for seed in (10, 12, 13)}
    assert {row.cases for row in offer.rows if row.role == "held_out"} == {2}
    assert card.dice.keys() >= {f"held out: {case[11].digest} {case[14].digest}"}
    assert "P1" not in json.dumps(card.to_json()), "it may be given away"
    offer.accept()
    for seed in (11, 14):
        lab.remove(case[seed].digest)
    assert "all corrected cases are of one patient" in adapt("lab_adapted", lab, steps=1, device="cpu").notes[0]
    add_case(lab, 15, patient="P1")
    add_case(lab, 16, patient="P3")
    add_case(lab, 17, patient="P1")
    assert adapt("lab_adapted", lab, steps=1, device="cpu").notes[0] == "Held out: case_16.", "P1 was learnt from"


@pytest.mark.parametrize("seed", range(20))
def test_each_patient_is_on_one_side(seed):
    """Of random patients with random numbers of cases, some of them learnt from before."""
    rng = np.random.default_rng(seed)
    numbers = range(int(rng.integers(2, 20)))
    cases = [
        CorrectedCase(f"d{n}", f"c{n}", (), f"{n:02}", Path(), patient=str(rng.choice(["", "a", "b", "c"])))
        for n in numbers
    ]
    known = {case.digest for case in cases if rng.random() < 0.2}
    held, taught, told = _split(cases, known)
    assert sorted(case.digest for case in [*held, *taught]) == sorted(case.digest for case in cases) and taught
    sides = [{case.patient or case.digest for case in side} for side in (held, taught)]
    assert not sides[0] & sides[1] and len(sides[0]) <= 1
    assert not known & {case.digest for case in cases if (case.patient or case.digest) in sides[0]}
    if held:
        unknown = sum(not case.patient for case in cases)
        assert any(f"of {unknown} corrected" in note for note in told) == (unknown > 0)
    else:
        assert told[0].startswith("Nothing was held out")


def test_a_stopped_run_is_continued(lab):
    add_case(lab, 10)
    told = []

    def cancel():
        return sum(stage == "train" for stage in told) > 0

    with pytest.raises(Cancelled, match="continues"):
        quickly(lab, 20, progress=lambda stage, fraction, message: told.append(stage), cancel=cancel)
    assert offered(lab) is None and (work_folder(lab.folder / "next") / "checkpoint.pth").is_file()
    steps = []
    offer = quickly(lab, 20, progress=lambda stage, fraction, message: steps.append(message))
    assert not any(message.startswith("step 1 of") for message in steps), "it did not begin anew"
    assert find_model(offer.folder).provenance["steps"] == 20
    assert offer.notes[0].startswith("Nothing was held out: there is one corrected case")
    assert [row.role for row in offer.rows if row.structure == "spleen"] == ["learnt"]


def test_a_run_with_other_cases_begins_anew(lab):
    add_case(lab, 10)
    stop = iter([False] * 3 + [True] * 1000)
    with pytest.raises(Cancelled):
        quickly(lab, 20, cancel=lambda: next(stop))
    add_case(lab, 11)
    offer = quickly(lab)
    assert find_model(offer.folder).provenance["steps"] == 1
    offer.discard()
    assert offered(lab) is None and not list(lab.folder.glob("next*")) and len(lab.all()) == 2
    with pytest.raises(ModelError, match="no new version"):
        the_offer(lab)
    with pytest.raises(ModelError, match="not there any more"):
        offer.accept()


def test_what_all_versions_learnt_from_is_not_held_out(lab):
    first, second = add_case(lab, 10), add_case(lab, 11)
    quickly(lab).accept()
    lab.remove(second.digest)
    add_case(lab, 12)
    offer = adapt("lab_adapted", lab, steps=1, device="cpu")
    assert "Held out: case_12." in offer.notes
    offer.discard()
    prepared = lab.folder / "next.training" / "cases"
    with pytest.raises(Cancelled):
        adapt("lab_adapted", lab, steps=5, device="cpu", cancel=lambda: any(prepared.glob("*_image.npy")))
    assert any(prepared.glob("*_image.npy"))
    lab.remove(lab.all()[-1].digest)
    assert not (lab.folder / "next.training").exists(), "its prepared image is gone, too"
    add_case(lab, 10, ["liver"])
    assert first.digest == lab.all()[0].digest
    assert "one corrected case" in adapt("lab_adapted", lab, steps=1, device="cpu").notes[0]


def test_bad_cases_stop_it_in_a_sentence_and_the_model_stays(lab):
    with pytest.raises(InputError, match="no corrected cases"):
        quickly(lab)
    case = add_case(lab, 10)
    (case.folder / "labels.seg.nrrd").write_bytes(b"NRRD0004\n")
    with pytest.raises(InputError, match="case_10"):
        quickly(lab)
    lab.remove(case.digest)
    odd, labels = phantom.case(11)
    odd.array[:] = np.clip(odd.array, 0, 255)
    lab.add(odd, phantom.label_map(odd, labels))
    with pytest.raises(InputError, match="does not look like a CT"):
        quickly(lab)
    assert offered(lab) is None and not Store().find("lab_adapted")


def test_two_programs_do_not_learn_at_once(lab):
    import filelock

    add_case(lab, 10)
    with filelock.FileLock(lab.folder / ".lock"), pytest.raises(UsageError, match="Another program"):
        quickly(lab)


def test_a_full_disk_stops_it_and_the_model_stays(lab, monkeypatch):
    add_case(lab, 10)

    def full(content, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="disk is full"):
        quickly(lab)
    assert find_model("lab").version == "7" and len(lab.all()) == 1


@pytest.mark.parametrize(
    ("card", "word"),
    [
        ({"network": {"guidance": {}}}, "prompts"),
        ({"parts": [Part("a"), Part("b")]}, "several parts"),
        ({"channels": ["CT", "PET"]}, "several images"),
        ({"backend": "torchscript"}, "program"),
    ],
)
def test_models_that_cannot_learn_say_why(card, word):
    with pytest.raises(ModelError, match=word):
        check_can_learn(ModelCard("ct_demo", "T", **card))


def test_a_model_that_is_not_installed_is_to_be_imported(trained):
    with pytest.raises(UsageError, match="not installed"):
        check_can_learn(find_model(trained))


def test_dice_is_that_of_monai():
    rng = np.random.default_rng(0)
    for share in (0.2, 0.7):
        one, other = rng.random((5, 6, 7)) < share, rng.random((5, 6, 7)) < 0.5
        reference = theirs.compute_dice(*(torch.from_numpy(m)[None, None] for m in (one, other)))
        assert dice(one, other) == pytest.approx(float(reference))
    assert dice(np.zeros(3, bool), np.zeros(3, bool)) == 1 and dice(np.ones(3, bool), np.zeros(3, bool)) == 0


def test_what_a_correction_ignores_does_not_count_before_or_after(tmp_path, monkeypatch):
    """A model that is right where somebody looked, and marks all of the part where nobody did."""
    volume, labels = phantom.case(1)
    half = labels.copy()
    half[: len(half) // 2] = 3
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "models"))
    names = {**phantom.NAMES, 3: "ignore"}
    case = CorrectedCases("ct_demo", tmp_path / "corrections").add(volume, phantom.label_map(volume, half, names))
    found = phantom.label_map(volume, np.where(half == 3, 1, labels).astype(np.uint8))
    monkeypatch.setattr(comparison, "load_model", lambda card: card)
    monkeypatch.setattr(comparison, "segment", lambda *_, **__: SimpleNamespace(label_map=found))
    card = ModelCard("one", "One", structures=["liver", "spleen"], backend="torchscript")
    rows = comparison.compare(card, card, [case], [], "cpu", lambda *_: None, bool)
    assert {(row.structure, row.before, row.after) for row in rows} == {("liver", 1.0, 1.0), ("spleen", 1.0, 1.0)}
