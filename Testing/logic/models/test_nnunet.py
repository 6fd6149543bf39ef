"""The nnU-Net backend on folders that are not as they should be."""

import json
import pickle
import shutil
from contextlib import suppress

import numpy as np
import pytest
import torch

from DeepSegLogic.errors import ModelError
from DeepSegLogic.models import find_model, load_model


@pytest.fixture
def folder(tmp_path, demo_model):
    """A private copy of the bundled model."""
    return shutil.copytree(demo_model, tmp_path / "model with späces")


def load(folder):
    return load_model(find_model(folder))


def edit(path, change):
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def test_labels_come_in_the_models_order(folder):
    model = load(folder)
    dataset = json.loads((folder / "dataset.json").read_text("utf-8"))
    known = {v: n for n, v in dataset["labels"].items() if n not in ("background", "ignore")}
    assert model.plan.labels == known
    assert model.plan.channels == len(known) + 1  # the ignore label has no output


def test_several_folds_are_an_ensemble(folder):
    shutil.copytree(folder / "fold_0", folder / "fold_1")
    assert len(load(folder).networks) == 2


def test_regions_keep_their_writing_order(folder):
    def overlapping(dataset):
        names = list(dataset["labels"])[1:3]
        dataset["labels"] = {"background": 0, names[0]: [1, 2], names[1]: 2}
        dataset["regions_class_order"] = [1, 2]

    edit(folder / "dataset.json", overlapping)
    with pytest.raises(ModelError, match="do not fit"):  # two outputs asked for, the weights have more
        load(folder)


def test_a_folder_without_card_is_described_by_its_files(folder):
    (folder / "card.json").unlink()
    card = find_model(folder)
    assert card.modality == "CT"
    assert load_model(card).plan.orientation == "RAS"  # from nnU-Net's reader


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name):
        load(folder)


def test_missing_weights_are_named(folder):
    shutil.rmtree(folder / "fold_0")
    with pytest.raises(ModelError, match="no weights"):
        load(folder)


def test_truncated_weights_are_corrupted(folder):
    path = folder / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ModelError, match="corrupted") as caught:
        load(folder)
    assert caught.value.code == "model.corrupted"


def test_garbage_instead_of_weights_is_corrupted(folder):
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(b"<html>404 not found</html>")
    with pytest.raises(ModelError, match=r"corrupted|code"):
        load(folder)


def test_weights_of_another_network_do_not_fit(folder):
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=True)
    del content["network_weights"]["decoder.seg_layers.0.bias"]
    torch.save(content, path)
    with pytest.raises(ModelError, match="do not fit"):
        load(folder)


class Bomb:
    """Unpickling it writes a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (exec, (f"open({str(self.target)!r}, 'w').write('ran')",))


def _torch_save(content, path):
    torch.save(content, path)


def _plain_pickle(content, path):
    with path.open("wb") as file:
        pickle.dump(content, file)


@pytest.mark.parametrize("save", [_torch_save, _plain_pickle])
def test_code_in_weights_is_refused_and_does_not_run(folder, tmp_path, save):
    target = tmp_path / "ran.txt"
    path = folder / "fold_0" / "checkpoint_final.pth"
    save({"network_weights": Bomb(target)}, path)
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert not target.exists()
    if save is _torch_save:
        assert caught.value.code == "model.untrusted"
    with suppress(RuntimeError, pickle.UnpicklingError, AttributeError, TypeError):
        torch.load(path, weights_only=False)  # the file is a real bomb: without the guard it goes off
    assert target.exists()


def test_training_logs_with_numpy_numbers_are_data(folder):
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=True)
    content["logging"] = {"dice": [np.float32(0.5), np.float64(0.25)], "epoch": np.int64(3)}
    torch.save(content, path)
    assert load(folder).networks


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(patch_size=[64, 64]), "2D"),
        (lambda c: c.update(normalization_schemes=["Magic"]), "Magic"),
        (lambda c: c.update(resampling_fn_data="mine"), "mine"),
        (lambda c: c["architecture"].update(network_class_name="x.Primus"), "Primus"),
        (lambda c: c.pop("spacing"), "spacing"),
        (lambda c: c["architecture"].update(arch_kwargs=[]), "incomplete"),
    ],
)
def test_what_a_plan_asks_in_vain_is_named(folder, change, said):
    edit(folder / "plans.json", lambda plans: change(plans["configurations"]["3d_fullres"]))
    with pytest.raises(ModelError, match=said):
        load(folder)


@pytest.mark.parametrize("change", [{"labels": ["liver"]}, {"channel_names": ["CT"]}])
def test_a_data_set_of_another_kind_is_refused(folder, change):
    edit(folder / "dataset.json", lambda dataset: dataset.update(change))
    (folder / "card.json").unlink(missing_ok=True)
    with pytest.raises(ModelError, match=r"dataset\.json"):
        find_model(folder)


def test_not_a_model_folder(tmp_path):
    with pytest.raises(ModelError, match=r"plans\.json"):
        find_model(tmp_path)
    with pytest.raises(ModelError, match="no model"):
        find_model("liverr")
