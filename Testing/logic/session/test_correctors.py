"""Corrections by a model that takes prompts: chosen from a list, computed in the worker, taken whole or not at all."""

import numpy as np
import pytest
import torch

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.refinement import Point
from DeepSegLogic.session import SOLVER, Correction, Phase, Session
from DeepSegLogic.util.errors import UsageError
from DeepSegLogic.worker import WorkerClient
from Testing.logic.refinement.prompt_model import (
    LICENCE,
    LIVER,
    SHARE,
    SIGMA,
    SPLEEN,
    TITLE,
    Greedy,
    Slow,
    imported,
    slab,
)

from .steps import wait

VOXEL = (14, 20, 16)
CLICK = Point("liver", True, tuple(2.0 * x for x in VOXEL[::-1]))


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "store"))
    made = Session(WorkerClient(grace=0.2))
    yield made
    made.close()


@pytest.fixture
def correction():
    volume, label_map = slab()
    return Correction(label_map, volume)


def ask(session, correction, meanwhile=lambda: None, click=CLICK):
    """Let the model chosen answer a click, and wait for the end; returns the steps taken, and the stages told."""
    taken, stages, since = [], [], correction.history.done

    def take(answer):
        taken.append(correction.answered(click, answer, since, session.choices.correctors.chosen.title))
        return taken[-1].title

    session.jobs.run_changed.connect(lambda run: stages.append(run.stage))
    session.correct(correction.request(click), take)
    meanwhile()
    wait(session)
    return taken, stages


def test_only_installed_models_that_take_prompts_are_listed(session, tmp_path):
    told = []
    session.choices.correctors_changed.connect(told.append)
    assert session.choices.correctors.all == (SOLVER,) and session.choices.correctors.text == ""
    imported(tmp_path)
    session.choices.search_models("")
    assert [c.title for c in session.choices.correctors.all] == [SOLVER.title, TITLE]
    assert session.choices.correctors.chosen == SOLVER and told == [session.choices.correctors]
    session.choices.choose_corrector("prompt_net")
    assert LICENCE in session.choices.correctors.text
    assert session.choices.model.id == "ct_demo"


def test_it_segments_nothing(session, tmp_path):
    imported(tmp_path)
    session.choices.set_volume(Volume(np.zeros((20, 20, 20), np.int16), np.eye(4)))
    session.choices.search_models("")
    session.choices.choose_model("prompt_net")
    session.choices.ask_estimate()
    assert "corrects" in session.choices.why_not
    with pytest.raises(UsageError):
        session.segment()


def test_an_imported_one_is_announced_and_not_taken_to_segment(session, tmp_path):
    imported(tmp_path)
    path = tmp_path / "store" / "prompt_net"
    path.rename(tmp_path / "prompt_net")
    session.choices.import_model(tmp_path / "prompt_net")
    wait(session)
    assert "Choose it as the correction method" in session.jobs.run.summary, session.jobs.log
    assert session.choices.model.id == "ct_demo" and len(session.choices.correctors.all) == 2


def test_what_is_removed_leaves_the_solver_with_a_notice(session, tmp_path):
    imported(tmp_path)
    session.choices.search_models("")
    session.choices.choose_corrector("prompt_net")
    session.choices.remove_model("prompt_net")
    assert session.choices.correctors.chosen == SOLVER
    assert "prompt_net is no longer installed" in session.choices.correctors.text
    session.choices.search_models("liver")
    assert session.choices.correctors.text, "it stays until a choice is made"
    session.choices.choose_corrector("")
    assert session.choices.correctors.text == ""


def test_a_model_corrects_within_locks_with_one_undo(session, correction, tmp_path):
    imported(tmp_path)
    session.choices.search_models("")
    session.choices.choose_corrector("prompt_net")
    before = correction.label_map.array.copy()
    (entry,), stages = ask(session, correction)
    assert session.jobs.run.phase is Phase.DONE and session.jobs.run.summary == entry.title
    assert entry.title == f"Liver: point, {TITLE}"
    assert {"Loading the model", "Correcting"} <= set(stages)
    expected = (ball(VOXEL) >= SHARE) & (before == 0)
    expected[:10] = expected[30:] = False
    found = correction.label_map.array == LIVER
    assert (found ^ expected).sum() <= 0.02 * expected.sum()
    np.testing.assert_array_equal(correction.label_map.array == SPLEEN, before == SPLEEN)

    again, _ = ask(session, correction)
    assert again == [] and "already agrees" in session.jobs.run.summary
    correction.undo()
    np.testing.assert_array_equal(correction.label_map.array, before)
    correction.locked = ["liver"]
    ask(session, correction)
    assert session.jobs.run.phase is Phase.FAILED and session.jobs.run.error.code == "usage.locked"


def ball(voxel):
    """The signal of a click."""
    away = sum((g - c) ** 2 for g, c in zip(np.ogrid[:40, :44, :48], voxel, strict=True))
    return np.exp(-away / (2 * SIGMA**2))


def test_earlier_prompts_count_while_they_hold(session, correction, tmp_path):
    """By the formula, a negative click alone would take all of the structure away."""
    imported(tmp_path)
    session.choices.search_models("")
    session.choices.choose_corrector("prompt_net")
    ask(session, correction)
    before, minus = correction.label_map.array == LIVER, (14, 25, 16)
    no = Point("liver", False, tuple(2.0 * x for x in minus[::-1]))
    ask(session, correction, click=no)
    kept = correction.label_map.array == LIVER
    expected = before & (ball(VOXEL) - ball(minus) >= SHARE)
    assert expected.sum() > 100 and (kept ^ expected).sum() <= 0.05 * before.sum()  # it interpolates
    assert not kept[minus] and kept[VOXEL]

    correction.undo()
    correction.undo()
    assert len(correction.request(CLICK)["prompts"]) == 1, "what was undone does not hold"
    correction.redo()
    assert correction.request(no)["prompts"] == [CLICK, no]
    assert correction.request(Point("liver", False, CLICK.ras))["prompts"] == [Point("liver", False, CLICK.ras)]
    assert len(correction.request(Point("spleen", True, (0.0, 0.0, 0.0)))["prompts"]) == 1


def test_what_was_changed_meanwhile_wins(session, correction, tmp_path):
    imported(tmp_path)
    session.choices.search_models("")
    session.choices.choose_corrector("prompt_net")
    painted = LabelMap(correction.label_map.array.copy(), np.eye(4), correction.label_map.structures)
    painted.array[30:35, 2:5, 2:5] = LIVER

    def meanwhile():
        with pytest.raises(UsageError, match="is running"):
            session.correct(correction.request(CLICK), str)
        correction.take(painted)

    taken, _ = ask(session, correction, meanwhile)
    assert taken == [] and "changed in the meantime" in session.jobs.run.summary
    np.testing.assert_array_equal(correction.label_map.array, painted.array)
    assert [entry.title for entry in correction.history.done] == ["By hand"]


def test_cancelling_keeps_what_there_was(session, correction, tmp_path):
    imported(tmp_path, Slow())
    session.choices.search_models("")
    session.choices.choose_corrector("prompt_net")

    def cancel_once_it_works():
        wait(session, lambda: session.jobs.run.stage == "Correcting")
        session.jobs.cancel()

    taken, _ = ask(session, correction, cancel_once_it_works)
    assert session.jobs.run.phase is Phase.CANCELLED and taken == [] and not correction.made


@pytest.mark.parametrize(
    ("module", "trusted", "code", "remedy"),
    [
        (None, False, "model.untrusted", "Trust it"),
        (Greedy(), True, "resource.memory", "without a model"),
        (torch.nn.Conv3d(1, 1, 1), True, "model.prompts", "docs/refine.md"),
        ("broken", True, "model.corrupted", "Import the model again"),
    ],
)
def test_failures_say_what_to_do_and_keep_what_there_was(session, correction, tmp_path, module, trusted, code, remedy):
    card = imported(tmp_path, None if module == "broken" else module, trusted)
    if module == "broken":
        from DeepSegLogic.models.trust import trust

        weights = card.folder / "model.ts"
        weights.write_bytes(weights.read_bytes()[:200])
        trust(card)
    session.choices.search_models("")
    session.choices.choose_corrector("prompt_net")
    before = correction.label_map.array.copy()
    taken, _ = ask(session, correction)
    assert session.jobs.run.phase is Phase.FAILED and taken == []
    assert session.jobs.run.error.code == code and remedy in session.jobs.run.error.remedy, session.jobs.run.error
    np.testing.assert_array_equal(correction.label_map.array, before)
