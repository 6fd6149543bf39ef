"""Names in a model's files choose nothing but what is on a list."""

import json
import pickle
import sys
from types import ModuleType

import pytest
import torch

from DeepSegLogic.models.find import find_model
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.networks.names import NETWORKS, OPERATIONS
from DeepSegLogic.networks.unet import build_unet
from DeepSegLogic.refinement import prompt_network
from DeepSegLogic.util.errors import ModelError

UNET = "dynamic_network_architectures.architectures.unet"
ARCHITECTURE = {
    "network_class_name": f"{UNET}.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [4, 8],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 2,
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "nonlin": "torch.nn.LeakyReLU",
    },
    "_kw_requires_import": ["conv_op", "norm_op", "nonlin"],
}
FOREIGN = [
    f"{UNET}.torch.hub.load",
    f"{UNET}.nn.Module",
    f"{UNET}.PlainConvUNet.__init__",
    f"{UNET}.PlainConvUNet.__class__",
    f"{UNET}.PlainConvUNet ",
    f"{UNET}..PlainConvUNet",
    "dynamic_network_architectures.architectures.dinov2_eva.Eva",
    "dynamic_network_architectures.architectures.PlainConvUNet",
    "mine.PlainConvUNet",
    "PlainConvUNet",
    "torch.hub.load",
    "os.system",
    "",
    None,
    ["os.system"],
    {"a": 1},
]
FOREIGN_OPERATIONS = [
    "torch.nn.modules.conv.torch.hub.load",
    "torch.nn.modules.module.torch.load",
    "torch.nn.modules.conv.Conv3d.__init__",
    "torch.nn.modules.lazy.importlib.import_module",
    "mine.Conv3d",
    "os.system",
    "",
    ["os.system"],
    7,
]


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "store"))


@pytest.fixture
def folder(tmp_path):
    """An nnInteractive model's folder."""
    folder = tmp_path / "nnInteractive"
    (folder / "fold_0").mkdir(parents=True)
    write_plans(folder)
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "any"}, "labels": {}}), "utf-8")
    (folder / "inference_info.json").write_text("{}", "utf-8")
    (folder / "LICENSE").write_text("CC0\n", "utf-8")
    content = {"network_weights": {"a": torch.zeros(2)}, "trainer_name": "os", "init_args": {}}
    torch.save(content, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def write_plans(folder, architecture=ARCHITECTURE, **changes):
    plans = {"configurations": {"3d_fullres": {"architecture": architecture}}} | changes
    (folder / "plans.json").write_text(json.dumps(plans), "utf-8")


class Session:
    """Stands for nnInteractive's: remembers what it was given."""

    license = "CC0"
    given = None

    def __init__(self, **options):
        pass

    def initialize_from_trained_model_folder(self, folder):
        from pathlib import Path

        folder = Path(folder)
        file = folder / "fold_0" / "checkpoint_final.pth"
        Session.given = {
            "files": sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()),
            "plans": json.loads((folder / "plans.json").read_text("utf-8")),
            "checkpoint": torch.load(file, weights_only=False),
            "folder": folder,
        }


@pytest.fixture
def package(monkeypatch):
    """A stand-in for the package nnInteractive."""
    for name in ("nnInteractive", "nnInteractive.inference", "nnInteractive.inference.inference_session"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules[name].nnInteractiveInferenceSession = Session
    Session.given = None
    return Session


def test_nninteractive_is_given_a_copy_of_what_was_looked_at_and_nothing_else(folder, package):
    (folder / "hubconf.py").write_text("evil", "utf-8")
    (folder / "fold_0" / "extra.pkl").write_text("evil", "utf-8")
    assert prompt_network(str(folder), "cpu").licence == "CC0"
    names = ["LICENSE", "dataset.json", "fold_0/checkpoint_final.pth", "inference_info.json", "plans.json"]
    assert package.given["files"] == names and package.given["folder"] != folder
    assert not package.given["folder"].exists()
    assert package.given["checkpoint"]["trainer_name"] == "nnInteractiveTrainer_stub"  # none that it would look for
    assert package.given["plans"]["configurations"]["3d_fullres"]["architecture"] == ARCHITECTURE


@pytest.mark.parametrize("name", FOREIGN)
def test_nninteractive_is_given_no_foreign_network(folder, package, name):
    write_plans(folder, ARCHITECTURE | {"network_class_name": name})
    for use in (lambda: prompt_network(str(folder), "cpu"), lambda: import_model(folder)):
        with pytest.raises(ModelError) as caught:
            use()
        assert caught.value.code in ("model.untrusted", "model.corrupted")
    assert package.given is None


@pytest.mark.parametrize("name", FOREIGN_OPERATIONS)
@pytest.mark.parametrize("option", ["conv_op", "dropout_op", "anything"])
def test_nninteractive_is_given_no_foreign_operation(folder, package, name, option):
    arguments = ARCHITECTURE["arch_kwargs"] | {option: name}
    write_plans(folder, ARCHITECTURE | {"arch_kwargs": arguments, "_kw_requires_import": ["norm_op", option]})
    with pytest.raises(ModelError):
        prompt_network(str(folder), "cpu")
    assert package.given is None


@pytest.mark.parametrize(
    "changes",
    [
        {"label_manager": "os"},
        {"label_manager": ["LabelManager"]},
        {"configurations": []},
        {"configurations": {"a": {"architecture": None}}},
        {"configurations": {"a": {"architecture": ARCHITECTURE}, "b": {"architecture": {"network_class_name": "os"}}}},
    ],
)
def test_nninteractive_is_given_no_foreign_plans(folder, package, changes):
    write_plans(folder, **changes)
    with pytest.raises(ModelError):
        prompt_network(str(folder), "cpu")
    assert package.given is None


@pytest.mark.parametrize("legacy", [False, True])
def test_nninteractive_is_given_no_code_in_weights(folder, package, tmp_path, legacy):
    class Evil:
        def __reduce__(self):
            return exec, (f"__import__('os').mkdir({str(tmp_path / 'ran')!r})",)

    file = folder / "fold_0" / "checkpoint_final.pth"
    content = {"network_weights": Evil()}
    file.write_bytes(pickle.dumps(content)) if legacy else torch.save(content, file)
    with pytest.raises(ModelError, match="program code"):
        prompt_network(str(folder), "cpu")
    assert package.given is None and not (tmp_path / "ran").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_licence_that_is_a_link_shows_no_other_file(folder, tmp_path):
    (tmp_path / "secret").write_text("secret", "utf-8")
    (folder / "LICENSE").unlink()
    (folder / "LICENSE").symlink_to(tmp_path / "secret")
    assert "secret" not in find_model(folder).licence
    with pytest.raises(ModelError, match="link"):
        import_model(folder)


@pytest.mark.parametrize("name", [*FOREIGN[:-3], "dynamic_network_architectures.architectures.unet.ResidualUNet"])
def test_nnunet_builds_only_its_own_networks(name):
    with pytest.raises(ValueError, match="network"):
        build_unet(ARCHITECTURE | {"network_class_name": name}, 1, 2)


@pytest.mark.parametrize("name", FOREIGN_OPERATIONS[:-2])
@pytest.mark.parametrize("option", ["conv_op", "norm_op", "nonlin"])
def test_nnunet_builds_only_of_its_own_operations(option, name):
    with pytest.raises(ValueError, match=option):
        build_unet(ARCHITECTURE | {"arch_kwargs": ARCHITECTURE["arch_kwargs"] | {option: name}}, 1, 2)


def test_the_lists_name_classes_and_the_usual_plans_are_on_them():
    import importlib

    for name, short in OPERATIONS.items():
        if name.startswith("torch."):
            module, _, last = name.rpartition(".")
            assert issubclass(getattr(importlib.import_module(module), last), torch.nn.Module) and last == short
    assert build_unet(ARCHITECTURE, 1, 2).classes == 2
    assert f"{UNET}.ResidualEncoderUNet" in NETWORKS
