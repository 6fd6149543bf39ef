"""A drafted report in the panel: set up, drafted, corrected by hand, saved."""

import json

import language_models
import pytest

from .conftest import MODULE, User


@pytest.fixture(autouse=True)
def no_saved_endpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("DeepSegLogic.drafting.endpoint._path", lambda: tmp_path / "drafting.json")


def test_damaged_settings_are_told(desktop, tmp_path):
    (tmp_path / "drafting.json").write_text("{")
    ui = User(desktop, desktop.load_module(MODULE)).ui
    assert "is damaged" in desktop.messages[-1].text
    assert ui.draftUrlLineEdit.text == "" and ui.exportButton is not None, "the panel comes up all the same"


def test_a_report_is_drafted_corrected_and_saved(ready, tmp_path):
    ui = ready.ui
    ready.run()
    ui.exportCollapsibleButton.collapsed = False
    assert ui.draftTextEdit.isHidden() and ui.saveDraftButton.isHidden() and ui.draftLabel.isHidden()
    ui.draftUrlLineEdit.text = ""
    ui.draftButton.click()
    message = ready.desktop.messages[-1]
    assert "No language model is set up" in message.text + message.details
    assert "Enter its address in the Export section." in message.text + message.details
    ui.draftUrlLineEdit.text = "https://ward.example/v1"
    ui.draftButton.click()
    message = ready.desktop.messages[-1]
    assert "Tick 'Allow another computer'" in message.text + message.details
    ready.desktop.errors.clear()

    with language_models.Scripted() as model:

        def lung():
            return next(line for line in model.table if line.startswith("Left lung: volume "))

        model.text = lambda handler: language_models.say(handler, f"{lung()}. The left lung has 7.5 ml.")
        ui.draftUrlLineEdit.text = model.url
        ui.draftButton.click()
        assert not ui.draftButton.enabled
        ready.wait(lambda: not ready.session.jobs.run.busy)
        line = lung()
    assert ui.draftTextEdit.plainText == f"{line}. The left lung has ~~7.5 ml~~ [?]."
    assert "nobody has checked or signed it" in ui.draftLabel.text and not ui.draftTextEdit.isHidden()
    assert json.loads((tmp_path / "drafting.json").read_text("utf-8"))["url"] == model.url

    ui.draftTextEdit.plainText = f"{line}. No 9.5 ml."
    ui.exportPathLineEdit.currentPath = str(tmp_path / "out")
    ui.saveDraftButton.click()
    ready.wait(lambda: not ready.session.jobs.run.busy)
    html = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert f"<p>{line}. No 9.5 ml.</p>" in html and "Changed by a person." in html
    assert "Not in the table of measurements: 9.5 ml." in html

    changed = ready.shown("lung_left")
    changed[:, :, : changed.any((0, 1)).argmax() + 8] = False
    ready.paint("lung_left", changed)
    ui.saveDraftButton.click()
    ready.wait(lambda: not ready.session.jobs.run.busy)
    assert "Its numbers no longer hold." in ui.draftLabel.text
    assert "Its numbers no longer hold." in (tmp_path / "out" / "report.html").read_text("utf-8")
    assert ui.draftTextEdit.plainText == f"{line}. No 9.5 ml."  # what was typed stays
