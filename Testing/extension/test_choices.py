"""Models, structures, the report."""

from pathlib import Path

from .conftest import in_stand_in


def test_models_and_structures(user):
    import qt

    ui, session = user.ui, user.session
    ui.modelSearchBox.text = "liver vessels"
    titles = [ui.modelTree.topLevelItem(n).text(0) for n in range(ui.modelTree.topLevelItemCount)]
    assert titles and len(titles) < 20
    ui.modelTree.setCurrentItem(ui.modelTree.topLevelItem(0))
    assert session.choices.model.title == titles[0]
    ui.modelSearchBox.text = ""
    session.choices.choose_model("ct_demo")
    assert not ui.installButton.enabled and not ui.removeButton.enabled  # bundled

    ui.noneButton.click()
    assert session.choices.structures.chosen == () and not ui.segmentButton.enabled
    group = next(
        ui.structureTree.topLevelItem(n)
        for n in range(ui.structureTree.topLevelItemCount)
        if ui.structureTree.topLevelItem(n).text(0) == "Respiratory"
    )
    group.setCheckState(0, qt.Qt.Checked)
    assert set(session.choices.structures.chosen) == {"lung_left", "lung_right"}
    group.child(0).setCheckState(0, qt.Qt.Unchecked)
    assert len(session.choices.structures.chosen) == 1 and group.checkState(0) == qt.Qt.PartiallyChecked
    ui.structureSearchBox.text = "liver"
    assert group.isHidden()
    ui.structureSearchBox.text = ""
    index = next(n for n in range(ui.presetComboBox.count) if ui.presetComboBox.itemText(n) == "Thorax")
    ui.presetComboBox.activated(index)
    assert "lung_right" in session.choices.structures.chosen and "liver" not in session.choices.structures.chosen


def test_a_model_that_must_be_installed_first(user, desktop, small):
    session = user.session
    user.load(*small)
    absent = next(e for e in session.choices.models.shown if not e.installed)
    session.choices.choose_model(absent.card.id)
    assert "Install the model" in user.ui.statusLabel.text and user.ui.installButton.enabled
    desktop.answers["will be downloaded"] = False
    user.ui.installButton.click()
    assert not session.jobs.run.busy
    question = desktop.messages[-1].text
    assert absent.card.licence in question and "Size" in question
    session.choices.choose_model("liver_vessels")  # with the one that finds its region
    user.ui.installButton.click()
    question = desktop.messages[-1].text
    assert "needs another model:" in question and question.count("Size") == 2


@in_stand_in
def test_folders_are_chosen_as_folders(user, desktop, tmp_path):
    desktop.answers["Select folder"] = tmp_path
    for edit in (user.ui.exportPathLineEdit, user.ui.wheelsPathLineEdit):
        edit.browse()
        assert edit.currentPath == str(tmp_path)


def test_the_report_holds_no_patient_data(user, small):
    user.load(*small, name="Doe^Jane")
    report = user.session.report()
    assert "torch" in report and "ct_demo" in report
    assert "Doe" not in report and str(Path.home()) not in report


def test_what_is_searched_for_stays_hidden_when_the_model_changes(user):
    ui, choices = user.ui, user.session.choices
    ui.structureSearchBox.text = "liver"
    other = next(e.card for e in choices.models.all if "liver" in e.card.structures and e.card.id != choices.model.id)
    choices.choose_model(other.id)
    tops = [ui.structureTree.topLevelItem(n) for n in range(ui.structureTree.topLevelItemCount)]
    shown = [top.child(n).toolTip(0) for top in tops for n in range(top.childCount()) if not top.child(n).isHidden()]
    assert shown and all("liver" in name for name in shown)
