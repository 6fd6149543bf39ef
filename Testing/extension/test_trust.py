"""A model that contains code runs only after the user saw its files in a question, and trusted them."""

import pytest

from DeepSegLogic.models.trust import is_trusted
from Testing.logic.refinement.prompt_model import TITLE, Slow, imported


@pytest.fixture
def untrusted(user, tmp_path, monkeypatch):
    """At a panel in which a model with code is selected in the list; ``card`` is that model's."""
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "store"))
    user.card = imported(tmp_path, trusted=False)
    select(user)
    return user


def select(user, title=TITLE):
    """Select a model in the list, as it is on this machine now."""
    user.ui.modelSearchBox.text = title
    user.ui.modelSearchBox.text = ""
    tree = user.ui.modelTree
    tree.setCurrentItem(
        next(item for item in map(tree.topLevelItem, range(tree.topLevelItemCount)) if item.text(0) == title)
    )


def test_it_is_asked_with_the_files_and_what_trust_means(untrusted, desktop):
    ui = untrusted.ui
    assert ui.trustButton.enabled
    desktop.answers["contains code"] = False
    ui.trustButton.click()
    question = desktop.messages[-1].text
    assert TITLE in question and "model.ts" in question and "with your rights" in question
    assert "card.json" not in question
    assert ui.trustButton.enabled and not is_trusted(untrusted.card)

    desktop.answers["contains code"] = True
    ui.trustButton.click()
    assert is_trusted(untrusted.card) and not ui.trustButton.enabled
    assert untrusted.session.choices.model.id == untrusted.card.id


def test_trust_ends_with_other_files(untrusted, desktop, tmp_path):
    desktop.answers["contains code"] = True
    untrusted.ui.trustButton.click()
    select(untrusted, first_title(untrusted))
    assert not untrusted.ui.trustButton.enabled  # it has no code
    imported(tmp_path, Slow(), trusted=False)
    select(untrusted)
    assert untrusted.ui.trustButton.enabled


def test_files_that_cannot_be_read_are_told(untrusted, desktop):
    (untrusted.card.folder / "model.ts").unlink()
    (untrusted.card.folder / "model.ts").symlink_to("/nowhere")
    desktop.answers["contains code"] = True
    untrusted.ui.trustButton.click()
    assert "cannot be trusted" in desktop.messages[-1].text and "link" in desktop.messages[-1].text
    desktop.errors.clear()  # Slicer prints it, too


def first_title(user):
    """Of a model without code."""
    return next(e.card.title for e in user.session.choices.models.shown if e.card.id == "ct_demo")


def test_while_a_task_runs_nothing_is_trusted(untrusted):
    from DeepSegLogic.session import Phase

    run = untrusted.session.jobs.run
    run.phase = Phase.RUNNING
    untrusted.session.jobs.run_changed.emit(run)
    assert not untrusted.ui.trustButton.enabled
    run.phase = Phase.DONE
    untrusted.session.jobs.run_changed.emit(run)
    assert untrusted.ui.trustButton.enabled
