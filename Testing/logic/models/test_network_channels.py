"""A network file that sees two images, against the network applied by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from DeepSegLogic.io import read_volume
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.errors import ModelError

nets = pytest.importorskip("monai.networks.nets")

KINDS = Path(__file__).parents[2] / "data" / "nnunet_kinds"
ARGUMENTS = {"spatial_dims": 3, "in_channels": 2, "out_channels": 3, "channels": [4, 8], "strides": [2]}
CARD = {
    "title": "Two images",
    "modality": "MR",
    "spacing": [1.0, 1.1, 2.5],
    "orientation": "LPS",
    "structures": ["one", "two"],
    "channels": ["T1", "PET"],
    "network": {
        "patch_size": [40, 44, 28],
        "architecture": {"name": "UNet", "arguments": ARGUMENTS},
        "intensity": ["zscore", {"window": [0, 5]}],
    },
}


@pytest.fixture
def network():
    torch.manual_seed(1)
    return nets.UNet(**ARGUMENTS).eval()


def imported(folder, network, **changes):
    torch.save(network.state_dict(), folder / "two.pt")
    (folder / "two.json").write_text(json.dumps({**CARD, **changes}), "utf-8")
    return import_model(folder / "two.pt")


def test_each_image_has_its_own_rule(tmp_path, network):
    first, second = (read_volume(KINDS / f"{name}.nii.gz") for name in ("image", "image_1"))
    card = imported(tmp_path, network)
    ours = segment(first, card.id, channels={"PET": second}, device="cpu").label_map.array
    one = first.array.astype(np.float32)
    images = np.stack([(one - one.mean()) / one.std(), np.clip(second.array / 5, 0, 1)])
    with torch.no_grad():
        theirs = network(torch.from_numpy(images)[None].float())[0].argmax(0).numpy()
    assert min(np.bincount(theirs.ravel())) > 100
    assert np.mean(ours == theirs) > 0.9999


def test_rules_and_channels_must_be_as_many(tmp_path, network):
    with pytest.raises(ModelError, match='"intensity" for 2 images'):
        imported(tmp_path, network, channels=["T1", "T2", "PET"])
