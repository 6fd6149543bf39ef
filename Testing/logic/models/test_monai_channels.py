"""A MONAI bundle that sees two images, against MONAI's own transforms and inferer."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from DeepSegLogic.io import read_volume
from DeepSegLogic.models import find_model
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.models.trust import trust
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.errors import ModelError

monai_transforms = pytest.importorskip("monai.transforms")

KINDS = Path(__file__).parents[2] / "data" / "nnunet_kinds"
PATCH = [40, 44, 28]  # of the whole image: MONAI weights windows a little differently
NETWORK = {"spatial_dims": 3, "in_channels": 2, "out_channels": 3, "channels": [4, 8], "strides": [2]}
NORMALIZE = {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True}
CONFIGURATION = {
    "network_def": {"_target_": "UNet", **NETWORK},
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1.0, 1.1, 2.5]},
            NORMALIZE,
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": PATCH, "overlap": 0.5},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}],
    },
}


@pytest.fixture
def bundle(tmp_path):
    """With random weights."""
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    image = {"modality": "MR", "num_channels": 2, "spatial_shape": PATCH, "channel_def": {"0": "T1", "1": "FLAIR"}}
    output = {"channel_def": {"0": "background", "1": "core", "2": "edema"}}
    formats = {"inputs": {"image": image}, "outputs": {"pred": output}}
    metadata = {"version": "1", "name": "Two sequences", "network_data_format": formats}
    folder = tmp_path / "two_sequences"
    for name, content in (("inference", CONFIGURATION), ("metadata", metadata)):
        (folder / "configs").mkdir(parents=True, exist_ok=True)
        (folder / "configs" / f"{name}.json").write_text(json.dumps(content), "utf-8")
    (folder / "models").mkdir()
    torch.save(UNet(**NETWORK).state_dict(), folder / "models" / "model.pt")
    return folder


def test_labels_are_those_of_monai(bundle):
    from monai.inferers import sliding_window_inference
    from monai.networks.nets import UNet

    first, second = (read_volume(KINDS / f"{name}.nii.gz") for name in ("image", "image_2"))
    card = import_model(bundle)
    assert card.channels == ["T1", "FLAIR"]
    trust(card)
    ours = segment(first, card.id, channels={"FLAIR": second}, device="cpu").label_map.array

    turned = [volume.array.transpose(2, 1, 0)[::-1, ::-1].astype(np.float32) for volume in (first, second)]  # to RAS
    image = monai_transforms.NormalizeIntensity(nonzero=True, channel_wise=True)(torch.from_numpy(np.stack(turned)))
    network = UNet(**NETWORK).eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt"))
    with torch.no_grad():
        logits = sliding_window_inference(image[None], PATCH, 1, network, 0.5, "gaussian")[0]
    theirs = logits.argmax(0).numpy()[::-1, ::-1].transpose(2, 1, 0)
    assert min(np.bincount(theirs.ravel())) > 100
    assert np.mean(ours == theirs) > 0.9999


@pytest.mark.parametrize("count", [0, 10**9, "many", None])
def test_an_impossible_number_of_images_is_refused(bundle, count):
    path = bundle / "configs" / "metadata.json"
    metadata = json.loads(path.read_text("utf-8"))
    metadata["network_data_format"]["inputs"]["image"]["num_channels"] = count
    path.write_text(json.dumps(metadata), "utf-8")
    with pytest.raises(ModelError, match=r"metadata\.json"):
        find_model(bundle)
