"""Single network files with a card, made with MONAI and run on a real CT."""

import json
import os
import tempfile

import numpy as np
import pytest
import torch

from DeepSegLogic.io import read_volume
from DeepSegLogic.models import load_model
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.models.trust import is_trusted, trust
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.errors import ModelError

nets = pytest.importorskip("monai.networks.nets")

ARGUMENTS = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2]}
CARD = {
    "title": "A lab's network",
    "spacing": [3.0, 3.0, 3.0],
    "orientation": "LPS",
    "structures": ["liver", "spleen"],
    "network": {"patch_size": [88, 72, 64], "axes": "IJK", "intensity": {"window": [-175, 250]}},
}


@pytest.fixture(scope="module")
def volume(shared_data):
    """A crop of the abdomen CT, 3 mm, smaller than the network's window."""
    volume = read_volume(shared_data / "abdomen_ct" / "ct.nii.gz")
    volume.array = np.ascontiguousarray(volume.array[40:100, 20:88, 20:104])
    return volume


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return nets.UNet(**ARGUMENTS, norm="instance").eval()


@pytest.fixture
def files(tmp_path, network):
    """A scripted network and its weights, without cards."""
    torch.jit.script(network).save(tmp_path / "lab_net.ts")
    torch.save(network.state_dict(), tmp_path / "lab_weights.pt")
    return tmp_path


def card(**changes):
    return {**CARD, **changes, "network": {**CARD["network"], **changes.get("network", {})}}


def by_hand(volume, network, axes="IJK"):
    """The volume is RAS at the network's spacing: flip to LPS, scale, pad to the window, run, argmax, back."""
    lps = volume.array[:, ::-1, ::-1].astype(np.float32)
    image = torch.from_numpy(np.clip((lps + 175) / 425, 0, 1))
    image = image.permute(2, 1, 0) if axes == "IJK" else image
    patch = (88, 72, 64) if axes == "IJK" else (64, 72, 88)
    padding = [p - n for n, p in zip(image.shape, patch, strict=True)]
    before = [p // 2 for p in padding]
    pads = [side for p, b in zip(padding[::-1], before[::-1], strict=True) for side in (b, p - b)]
    with torch.no_grad():
        labels = network(torch.nn.functional.pad(image, pads)[None, None])[0].argmax(0).numpy()
    labels = labels[tuple(slice(b, b + n) for b, n in zip(before, image.shape, strict=True))]
    labels = labels.transpose(2, 1, 0) if axes == "IJK" else labels
    return labels[:, ::-1, ::-1]


@pytest.mark.parametrize("axes", ["IJK", "KJI"])
def test_torchscript_runs_once_trusted_and_gives_the_networks_own_labels(files, volume, network, axes):
    (files / "lab_net.json").write_text(json.dumps(card(network={"axes": axes})), "utf-8")
    installed = import_model(files / "lab_net.ts")
    assert not is_trusted(installed)
    with pytest.raises(ModelError) as caught:
        segment(volume, "lab_net", device="cpu")
    assert caught.value.code == "model.untrusted"
    trust(installed)
    result = segment(volume, "lab_net", device="cpu")
    expected = by_hand(volume, network, axes)
    assert len(np.unique(expected)) == 3
    assert np.mean(result.label_map.array == expected) > 0.9999
    assert [s.name for s in result.label_map.structures] == ["liver", "spleen"]


def test_a_state_dict_needs_no_trust(files, volume, network):
    architecture = {"name": "UNet", "arguments": {**ARGUMENTS, "norm": "instance"}}
    installed = import_model(files / "lab_weights.pt", changes=card(network={"architecture": architecture}))
    assert is_trusted(installed)
    labels = segment(volume, installed, device="cpu").label_map.array
    assert np.mean(labels == by_hand(volume, network)) > 0.9999


def test_what_the_card_lacks_is_said(files):
    with pytest.raises(ModelError, match="spacing, orientation, structures, network") as caught:
        import_model(files / "lab_net.ts")
    assert str(files / "lab_net.json") in caught.value.remedy


@pytest.mark.parametrize(
    "wrong",
    [
        {"axes": "XYZ"},
        {"patch_size": [64, 64]},
        {"intensity": {"window": [5, 5]}},
        {"intensity": "bright"},
    ],
)
def test_a_card_that_makes_no_sense_is_refused(files, wrong):
    with pytest.raises(ModelError) as caught:
        import_model(files / "lab_net.ts", changes=card(network=wrong))
    assert caught.value.code == "model.card"


@pytest.mark.parametrize("name", ["__builtins__", "Nonsense", "torch", "HoVerNet", None])
def test_an_architecture_is_one_of_those_that_only_compute(files, name):
    changes = card(network={"architecture": {"name": name}})
    installed = import_model(files / "lab_weights.pt", changes=changes)
    with pytest.raises(ModelError, match="architecture"):
        load_model(installed)


def test_weights_that_do_not_fit_are_refused(files):
    architecture = {"name": "UNet", "arguments": {**ARGUMENTS, "channels": [4, 16]}}
    installed = import_model(files / "lab_weights.pt", changes=card(network={"architecture": architecture}))
    with pytest.raises(ModelError, match="does not fit"):
        load_model(installed)


def test_sigmoid_outputs_are_structures_of_their_own(files):
    changes = card(network={"sigmoid": True}, structures=["body", "liver", "spleen"])
    installed = import_model(files / "lab_net.ts", changes=changes)
    trust(installed)
    assert load_model(installed).plan.regions == (1, 2, 3)


def test_a_file_that_is_no_torchscript_is_named(files):
    (files / "lab_net.ts").write_bytes(b"<html>not found</html>")
    installed = import_model(files / "lab_net.ts", changes=card())
    trust(installed)
    with pytest.raises(ModelError, match="TorchScript"):
        load_model(installed)


def test_a_script_is_read_where_torch_opens_only_paths_in_ascii(files, tmp_path, monkeypatch):
    """As on Windows (pytorch#75171), for users whose names have other letters."""
    load = torch.jit.load

    def load_on_windows(file, **options):
        if isinstance(file, (str, os.PathLike)) and not str(file).isascii():
            raise RuntimeError("open file failed")
        return load(file, **options)

    home = tmp_path / "Müller"
    home.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    monkeypatch.setattr(torch.jit, "load", load_on_windows)
    installed = import_model(files / "lab_net.ts", changes=card())
    trust(installed)
    load_model(installed)
