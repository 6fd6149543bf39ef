"""The panel's section in which a model learns from corrections, with a small model."""

import numpy as np
import pytest

from DeepSegLogic.io.patients import patient_key
from DeepSegLogic.models.import_export import import_model

from ..logic.adaptation.conftest import trained  # noqa: F401  # a fixture
from ..logic.training import phantom
from .conftest import MODULE, User


@pytest.fixture
def learner(desktop, trained, tmp_path, monkeypatch):  # noqa: F811
    """At a panel with a small CT and the model `lab`, after a run."""
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("DEEPSEG_CORRECTIONS", str(tmp_path / "corrections"))
    import_model(trained)
    user = User(desktop, desktop.load_module(MODULE))
    user.session.choices.choose_model("lab")
    volume, _ = phantom.case(10)
    user.load(volume.array, volume.ijk_to_ras, "Patient")
    assert not user.ui.collectButton.enabled and not user.ui.learnButton.enabled and not user.ui.backButton.enabled
    user.run()
    return user


def test_a_correction_becomes_a_new_version(learner, desktop):
    ui, adaptation = learner.ui, learner.session.adaptation
    assert ui.collectButton.enabled and not ui.learnButton.enabled and not ui.offerTree.visible
    mask = learner.shown("liver")
    mask[len(mask) // 2 :] = False
    mask[2:4, 2:4, 2:4] = True
    learner.paint("liver", mask)
    desktop.answers["Keep a copy of Patient"] = False
    ui.collectButton.click()
    assert not learner.session.jobs.run.busy and not adaptation.cases, "no consent"
    desktop.answers["Keep a copy of Patient"] = True
    assert ui.patientLineEdit.enabled and ui.patientLineEdit.text == ""
    ui.patientLineEdit.text = "P 7"
    ui.collectButton.click()
    learner.wait(lambda: adaptation.cases)
    learner.wait(lambda: not learner.session.jobs.run.busy)
    assert adaptation.cases[0].patient == patient_key("P 7")
    row = ui.caseTree.topLevelItem(0)
    assert (row.text(0), row.text(1)) == ("Patient", "Liver") and ui.learnButton.enabled
    from DeepSegLogic.io import read_label_map

    assert np.array_equal(read_label_map(adaptation.cases[0].files.labels).mask("liver"), mask)

    assert ui.minutesSpinBox.value == 10
    ui.minutesSpinBox.value = 2
    assert adaptation.minutes == 2
    adaptation.minutes = 0.02
    ui.learnButton.click()
    learner.wait(lambda: not learner.session.jobs.run.busy)
    assert adaptation.offer is not None, learner.session.jobs.log
    row = ui.offerTree.topLevelItem(0)
    assert row.text(0) == "Liver (Learnt from)" and "Nothing was held out" in ui.learnLabel.text
    assert f"{adaptation.offer.rows[0].after:.3f}" == row.text(3)

    ui.acceptOfferButton.click()
    learner.wait(lambda: not learner.session.jobs.run.busy)
    assert learner.session.choices.model.id == "lab_adapted" and not ui.offerTree.visible
    assert ui.modelCollapsibleButton.text == "Model: lab, adapted" and ui.backButton.enabled
    ui.backButton.click()
    learner.wait(lambda: not learner.session.jobs.run.busy)
    assert learner.session.choices.model.id == "lab" and not ui.backButton.enabled

    ui.caseTree.setCurrentItem(ui.caseTree.topLevelItem(0))
    assert ui.removeCaseButton.enabled
    desktop.answers["Delete this corrected case"] = True
    ui.removeCaseButton.click()
    assert not adaptation.cases and ui.caseTree.topLevelItemCount == 0
