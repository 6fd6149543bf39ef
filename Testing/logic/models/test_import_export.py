"""Models that come as files: other labs' trainings, and what was exported."""

import json
from dataclasses import replace

import pytest
import torch

from DeepSegLogic.cli import main
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.models.import_export import export_model, import_model, lacks
from DeepSegLogic.models.install import download_model
from DeepSegLogic.models.store import Store, verify
from DeepSegLogic.util.digests import file_digest
from DeepSegLogic.util.errors import ModelError, UsageError

from .conftest import BONES, ORGANS


def test_export_and_import_carry_a_model_to_another_machine(whole, tmp_path, monkeypatch):
    card = download_model(whole)
    file = export_model(card, tmp_path / "usb")
    assert file == tmp_path / "usb" / "whole.deepseg.zip"
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "other machine"))
    there = import_model(file)
    assert there.to_json() == card.to_json() and verify(there) == []
    assert there.folder == tmp_path / "other machine" / "whole"
    with pytest.raises(UsageError, match="installed already"):
        import_model(file)
    assert import_model(file, replace_installed=True).id == "whole"
    assert import_model(file, changes={"id": "second"}).folder.name == "second"


def test_a_damaged_export_is_refused(single, tmp_path):
    file = export_model(download_model(single), tmp_path)
    Store().remove("single")
    content = file.read_bytes()
    file.write_bytes(content.replace(b"Dataset999_Small", b"Dataset999_Smell"))
    with pytest.raises(ModelError):
        import_model(file)
    assert Store().find("single") is None


def test_a_plain_results_folder_is_imported_without_the_patients_images(networks):
    folder = networks["organs"]
    (folder / "fold_0" / "validation").mkdir()
    (folder / "fold_0" / "validation" / "patient.nii.gz").write_bytes(b"x")
    card = import_model(folder, changes={"licence": "CC-BY-4.0"})
    assert card.id == "dataset999_small" and card.structures == list(ORGANS) and card.licence == "CC-BY-4.0"
    assert not list(card.folder.rglob("*.nii.gz"))
    assert lacks(card) == ["whom to cite"]
    assert load_model(card).labels == {1: "liver", 2: "spleen"}


@pytest.mark.parametrize(("own", "option"), [({"citation": "Doe"}, "--licence"), ({"licence": "MIT"}, "--card")])
def test_the_command_names_the_option_that_completes_a_card(networks, tmp_path, capfd, own, option):
    (tmp_path / "own.json").write_text(json.dumps(own))
    assert main(["models", "import", str(networks["organs"]), "--card", str(tmp_path / "own.json")]) == 0
    assert f"Import it again with --replace and {option}." in " ".join(capfd.readouterr().out.split())


def test_plans_of_early_nnunet_versions_describe_the_same_network(networks):
    """As in TotalSegmentator's version 2 weights: no "architecture", but entries of their own."""
    path = networks["organs"] / "plans.json"
    before = load_model(find_model(networks["organs"]))
    plans = json.loads(path.read_text("utf-8"))
    configuration = plans["configurations"]["3d_fullres"]
    del configuration["architecture"]
    configuration |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 8,
        "n_conv_per_stage_encoder": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "num_pool_per_axis": [2, 2, 2],
        "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "conv_kernel_sizes": [[3, 3, 3]] * 3,
    }
    path.write_text(json.dumps(plans), "utf-8")
    image = torch.rand(1, 1, 16, 16, 16)
    after = load_model(import_model(networks["organs"]))
    torch.testing.assert_close(after.networks[0](image), before.networks[0](image))


def test_a_zip_file_that_is_only_called_as_one_of_the_catalogue_is_a_model_of_its_own(
    single, networks, zip_of, tmp_path
):
    """``weights.zip`` is the archive of one model there, and a name that many give."""
    (tmp_path / "organs.zip").write_bytes(zip_of(networks["organs"]))
    single.parts = [replace(single.parts[0], digest=file_digest(tmp_path / "organs.zip"))]
    assert import_model(tmp_path / "organs.zip").id == "single"
    (tmp_path / "organs.zip").write_bytes(zip_of(networks["bones"]))
    card = import_model(tmp_path / "organs.zip")
    assert (card.id, card.structures) == ("dataset999_small", list(BONES))


def test_a_folder_that_is_only_called_as_a_data_set_of_the_catalogue_is_a_model_of_its_own(single, networks, tmp_path):
    card = import_model(networks["bones"].rename(tmp_path / "organs"))
    assert (card.id, card.structures) == ("dataset999_small", list(BONES))


def test_a_zip_of_several_models_is_named(networks, zip_of, tmp_path):
    (tmp_path / "two.zip").write_bytes(zip_of(networks["organs"].parent))
    with pytest.raises(ModelError, match="more than one model"):
        import_model(tmp_path / "two.zip")


@pytest.mark.parametrize("bad", ["../outside", "downloads", "", ".hidden", "a/b", "import", "Known", "ct_demo"])
def test_ids_that_are_paths_or_taken_are_refused(networks, bad):
    with pytest.raises(UsageError):
        import_model(networks["organs"], changes={"id": bad})
    with pytest.raises((UsageError, ModelError)):
        Store().remove(bad)


@pytest.mark.parametrize(
    "wrong", [{"id": 5}, {"structures": "liver"}, {"spacing": [1, 0, 1]}, {"orientation": "XYZ"}, {"network": []}]
)
def test_a_card_with_values_of_another_kind_is_refused(networks, wrong):
    with pytest.raises(ModelError, match=next(iter(wrong))) as caught:
        import_model(networks["organs"], changes=wrong)
    assert caught.value.code == "model.card"
