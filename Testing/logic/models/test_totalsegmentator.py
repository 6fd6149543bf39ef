"""Weights in TotalSegmentator's own folder become models of the catalogue, without a download."""

import shutil

import pytest

from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.models.install import download_model, ensure_model
from DeepSegLogic.models.totalsegmentator import is_here, results_folder
from DeepSegLogic.util.errors import ModelError

TRAINER = "nnUNetTrainerNoMirroring__nnUNetPlans__3d_fullres"


@pytest.fixture
def installed(networks):
    """Puts a network where TotalSegmentator would have it."""

    def put(name):
        return shutil.copytree(networks[name], results_folder() / name / TRAINER)

    return put


def test_it_is_copied_instead_of_downloaded(site, single, installed):
    installed("organs")
    with pytest.raises(ModelError, match=r"TotalSegmentator has it in .*copied from there") as caught:
        find_model("single")
    assert caught.value.code == "model.not_installed"
    card = ensure_model("single", confirm=lambda card: True)
    assert site.requests == []
    assert (card.licence, card.citation, card.structures) == ("Apache-2.0", "A paper", ["liver", "spleen"])
    assert load_model(card).networks and (results_folder() / "organs" / TRAINER / "plans.json").exists()


def test_only_the_missing_parts_are_downloaded(site, whole, installed):
    installed("organs")
    assert not is_here(whole)
    card = download_model(whole)
    assert [path for path, _ in site.requests] == ["/bones.zip"]
    assert sorted(p.name for p in card.parts) == ["bones", "organs"] and load_model(card)


@pytest.mark.parametrize("variable", ["TOTALSEG_WEIGHTS_PATH", "TOTALSEG_HOME_DIR", ""])
def test_the_folder_is_found_as_totalsegmentator_finds_it(tmp_path, monkeypatch, variable):
    monkeypatch.delenv("TOTALSEG_HOME_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "set"))
    expected = {"TOTALSEG_WEIGHTS_PATH": "set", "TOTALSEG_HOME_DIR": "set/nnunet/results"}
    assert results_folder() == tmp_path / expected.get(variable, "home/.totalsegmentator/nnunet/results")


@pytest.mark.parametrize("inner", [True, False])
def test_an_import_of_its_folder_gets_the_card_of_the_catalogue(single, installed, inner):
    folder = installed("organs")
    card = import_model(folder if inner else folder.parent)
    assert (card.id, card.licence) == ("single", "Apache-2.0")


def test_broken_weights_there_are_named(site, single, installed):
    folder = installed("organs")
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="checkpoint_final") as caught:
        download_model(single)
    assert str(folder) in str(caught.value)
