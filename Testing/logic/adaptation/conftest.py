"""A small model that knows the liver of `phantom.py`, in a store of its own, and cases in which the spleen is right."""

import shutil

import pytest

from DeepSegLogic.adaptation.cases import CorrectedCases
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.models.store import Store
from DeepSegLogic.training.checks import check_cases
from DeepSegLogic.training.dataset import find_cases
from DeepSegLogic.training.optimization import Options
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.training.run import train_model

from ..training import phantom
from ..training.threads import one_thread


@pytest.fixture(autouse=True)
def fast():
    with one_thread():
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of the model, trained on three cases of which only the liver is labelled."""
    pytest.importorskip("monai")
    folder = tmp_path_factory.mktemp("lab")
    raw = phantom.write_raw(folder / "raw", 3, {1: "liver", 2: "ignore"})
    report = check_cases(find_cases(raw), "CT")
    plan = plan_training(report, "unet", width=8, patch=(16, 16, 16), spacing=(4, 4, 4))
    with one_thread():
        train_model(report, plan, folder / "lab", options=Options(steps=60))
    return folder / "lab"


def add_case(cases, seed, structures=("spleen",), patient=""):
    volume, labels = phantom.case(seed)
    return cases.add(volume, phantom.label_map(volume, labels), structures, patient)


@pytest.fixture
def lab(trained, tmp_path, monkeypatch):
    """The corrected cases of the installed model `lab`; there are none yet."""
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("DEEPSEG_CORRECTIONS", str(tmp_path / "corrections"))
    copy = shutil.copytree(trained, tmp_path / "lab")
    import_model(copy, changes={"licence": "CC0-1.0", "version": "7"})
    assert Store().find("lab") is not None
    return CorrectedCases("lab")
