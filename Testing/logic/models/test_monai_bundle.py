"""A real MONAI bundle, written with MONAI, against MONAI's own pipeline on a real CT."""

import json

import numpy as np
import pytest
import torch

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import read_volume
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.models.trust import is_trusted, trust
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.errors import ModelError

monai_transforms = pytest.importorskip("monai.transforms")

NETWORK = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": [8, 16],
    "strides": [2],
    "num_res_units": 1,
    "norm": "instance",
}


SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}


def configuration(pixdim, intensity) -> dict:
    return {
        "imports": ["$import os"],
        "bundle_root": ".",
        "image_key": "image",
        "pixdim": pixdim,
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": NETWORK,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "@image_key"},
                {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
                {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
                {"_target_": "Spacingd", "keys": "@image_key", "pixdim": "@pixdim", "mode": "bilinear"},
                *intensity,
                {"_target_": "EnsureTyped", "keys": "@image_key"},
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [96, 80, 64], "overlap": 0.5},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [SOFTMAX, ARGMAX],
        },
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/weights.pt'",
            "load_dict": {"model": "@network"},
        },
    }


WINDOW = [
    {"_target_": "ScaleIntensityRanged", "keys": "@image_key", "a_min": -175, "a_max": 250, "b_min": 0, "b_max": 1}
    | {"clip": True}
]
WHOLE_BODY = [  # as the zoo's whole-body bundle normalises
    {"_target_": "NormalizeIntensityd", "keys": "@image_key", "nonzero": True},
    {"_target_": "ScaleIntensityd", "keys": "@image_key", "minv": -1.0, "maxv": 1.0},
]
METADATA = {
    "version": "0.1.0",
    "name": "Two organs",
    "description": "Made in a test",
    "references": ["A paper"],
    "network_data_format": {
        "inputs": {"image": {"modality": "CT", "num_channels": 1, "spatial_shape": [96, 80, 64]}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "Left Kidney", "2": "spleen"}}},
    },
}


@pytest.fixture(scope="module")
def volume(shared_data):
    """A crop of the abdomen CT, 3 mm."""
    volume = read_volume(shared_data / "abdomen_ct" / "ct.nii.gz")
    volume.array = np.ascontiguousarray(volume.array[30:90, 20:92, 20:108])
    return volume


@pytest.fixture(scope="module")
def weights(volume):
    """A network that was shortly trained to tell bright from dark tissue, so that its borders lie on edges."""
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    network = UNet(**{k: v for k, v in NETWORK.items() if k != "_target_"})
    hounsfield = torch.from_numpy(volume.array[:24, :48, :48].astype(np.float32))[None, None]
    target = ((hounsfield > 60).long() + 2 * (hounsfield < -20).long())[:, 0]
    image = ((hounsfield + 175) / 425).clamp(0, 1)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(network(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.state_dict()


@pytest.fixture
def make_bundle(tmp_path, weights):
    def make(pixdim=3.0, intensity=WINDOW, **changes):
        folder = tmp_path / "two_organs"
        for name in ("configs", "models"):
            (folder / name).mkdir(parents=True)
        (folder / "LICENSE").write_text("Apache License\nVersion 2.0\n\nTERMS", "utf-8")
        (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA), "utf-8")
        settings = configuration(pixdim, intensity) | changes
        (folder / "configs" / "inference.json").write_text(json.dumps(settings), "utf-8")
        torch.save(weights, folder / "models" / "weights.pt")
        return folder

    return make


def reference(folder, volume):
    """Labels as MONAI itself makes them: its transforms, network and argmax, inverted with linear interpolation."""
    from monai.bundle import ConfigParser
    from monai.data import MetaTensor
    from monai.inferers import sliding_window_inference

    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    pipeline = parser.get_parsed_content("preprocessing")
    pipeline = monai_transforms.Compose([t for t in pipeline.transforms if "Load" not in type(t).__name__])
    image = MetaTensor(torch.from_numpy(volume.array.transpose(2, 1, 0).astype(np.float32)), volume.ijk_to_ras)
    image.meta["original_channel_dim"] = "no_channel"
    data = pipeline({"image": image})
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(folder / "models" / "weights.pt"))
    with torch.no_grad():
        inferer = {k: v for k, v in parser["inferer"].items() if k in ("padding_mode", "cval")}
        image = data["image"][None].cpu()
        data["pred"] = sliding_window_inference(image, (96, 80, 64), 1, network, 0.5, "gaussian", **inferer)[0]
    inverted = monai_transforms.Invertd("pred", pipeline, orig_keys="image", nearest_interp=False)(data)
    after = parser.get_parsed_content("postprocessing").transforms
    return monai_transforms.Compose(after)(inverted)["pred"][0].numpy().transpose(2, 1, 0)


def dice(a, b):
    scores = [2 * np.sum((a == v) & (b == v)) / max(1, np.sum(a == v) + np.sum(b == v)) for v in (0, 1, 2)]
    return min(scores)


def test_nothing_of_a_bundle_runs_before_it_is_trusted(make_bundle, tmp_path, volume):
    folder = make_bundle(pixdim=f"$__import__('os').mkdir({str(tmp_path / 'ran')!r}) or [3.0, 3.0, 3.0]")
    card = import_model(folder)
    assert not is_trusted(card)
    for call in (lambda: load_model(card), lambda: segment(volume, card.id, device="cpu")):
        with pytest.raises(ModelError, match="trust") as caught:
            call()
        assert caught.value.code == "model.untrusted"
    assert not (tmp_path / "ran").exists()
    trust(card)
    load_model(card)
    assert (tmp_path / "ran").exists()


def test_trust_ends_when_a_file_changes(make_bundle):
    card = import_model(make_bundle())
    trust(card)
    assert is_trusted(card) and load_model(card)
    config = card.folder / "configs" / "inference.json"
    config.write_text(config.read_text("utf-8") + " ", "utf-8")
    with pytest.raises(ModelError, match="trust"):
        load_model(card)


def test_the_card_comes_from_the_metadata(make_bundle):
    card = import_model(make_bundle())
    assert (card.id, card.title, card.modality, card.licence) == ("two_organs", "Two organs", "CT", "Apache-2.0")
    assert card.structures == ["left_kidney", "spleen"] and card.citation == "A paper"


@pytest.mark.parametrize("intensity", [WINDOW, WHOLE_BODY])
def test_labels_equal_monais_own_at_the_same_spacing(make_bundle, volume, intensity):
    folder = make_bundle(intensity=intensity)
    card = import_model(folder)
    trust(card)
    result = segment(volume, card.id, device="cpu")
    expected = reference(folder, volume)
    assert len(np.unique(expected)) > 1
    assert np.mean(result.label_map.array == expected) > 0.9999
    assert [s.name for s in result.label_map.structures] == ["left_kidney", "spleen"]


@pytest.mark.parametrize(
    "padding",
    [{"padding_mode": mode} for mode in ("constant", "reflect", "replicate", "circular")]
    + [{"padding_mode": "constant", "cval": 1.0}, {"padding_mode": "$monai.utils.PytorchPadMode.REPLICATE"}],
)
def test_a_short_scan_is_padded_as_the_bundle_says(make_bundle, volume, padding):
    """The network sees far more padding than scan: 40 of 96×80×64 voxels."""
    short = Volume(np.ascontiguousarray(volume.array[:40, 10:60, 20:72]), volume.ijk_to_ras)
    folder = make_bundle(inferer={"_target_": "SlidingWindowInferer", "roi_size": [96, 80, 64], **padding})
    trust(import_model(folder))
    if "$" in padding["padding_mode"]:
        padding = {"padding_mode": "replicate"}
        settings = json.loads((folder / "configs" / "inference.json").read_text("utf-8"))
        settings["inferer"] |= padding
        (folder / "configs" / "inference.json").write_text(json.dumps(settings), "utf-8")
    result = segment(short, "two_organs", device="cpu")
    assert np.mean(result.label_map.array == reference(folder, short)) > 0.9999


@pytest.mark.parametrize(
    "step",
    [
        {"_target_": "KeepLargestConnectedComponentd", "applied_labels": [1, 2]},
        {"_target_": "FillHolesd", "applied_labels": [1]},
        {"_target_": "RemoveSmallObjectsd", "min_size": 90_000},
        {"_target_": "LabelFilterd", "applied_labels": [2]},
    ],
)
def test_postprocessing_is_monais(make_bundle, volume, step):
    plain = reference(folder := make_bundle(), volume)
    after = {"_target_": "Compose", "transforms": [SOFTMAX, ARGMAX, {**step, "keys": "pred"}]}
    settings = json.loads((folder / "configs" / "inference.json").read_text("utf-8")) | {"postprocessing": after}
    (folder / "configs" / "inference.json").write_text(json.dumps(settings), "utf-8")
    trust(import_model(folder))
    expected = reference(folder, volume)
    assert (expected != plain).any()
    result = segment(volume, "two_organs", device="cpu")
    assert np.mean(result.label_map.array == expected) > 0.999


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: x"}, "the postprocessing step Lambdad"),
        ({"_target_": "AsDiscreted", "keys": ["pred"], "threshold": [0.3]}, "a threshold of 0.3"),
    ],
)
def test_postprocessing_that_deepseg_lacks_is_named(make_bundle, step, said):
    card = import_model(make_bundle(postprocessing={"_target_": "Compose", "transforms": [SOFTMAX, step]}))
    trust(card)
    with pytest.raises(ModelError, match=said) as caught:
        load_model(card)
    assert caught.value.code == "model.unsupported"


def test_transforms_are_put_together_from_lists(make_bundle, volume):
    """As in VISTA-3D and in MONAI's template for segmentation."""
    folder = make_bundle()
    path = folder / "configs" / "inference.json"
    settings = json.loads(path.read_text("utf-8"))
    first, *others = settings["preprocessing"]["transforms"]
    settings |= {"first": [first], "others": others, "after": [SOFTMAX, ARGMAX]}
    settings["preprocessing"]["transforms"] = "$@first + @others"
    settings["postprocessing"]["transforms"] = "$@after "
    path.write_text(json.dumps(settings), "utf-8")
    trust(import_model(folder))
    result = segment(volume, "two_organs", device="cpu")
    settings["preprocessing"]["transforms"] = [first, *others]
    path.write_text(json.dumps(settings), "utf-8")
    assert np.mean(result.label_map.array == reference(folder, volume)) > 0.9999


def test_labels_agree_with_monais_own_after_resampling(make_bundle, volume):
    """MONAI lays the resampled grid half a voxel elsewhere, so borders may differ by a voxel."""
    folder = make_bundle(pixdim=[2.0, 2.5, 4.0])
    card = import_model(folder)
    trust(card)
    result = segment(volume, card.id, device="cpu")
    score = dice(result.label_map.array, reference(folder, volume))
    print("smallest Dice with MONAI after resampling:", score)
    assert score > 0.9


def test_sigmoid_outputs_become_regions(make_bundle):
    sigmoid = {"_target_": "Compose", "transforms": [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}]}
    card = import_model(make_bundle(postprocessing=sigmoid))
    trust(card)
    assert load_model(card).plan.regions == (0, 1, 2)


def test_a_step_that_the_engine_lacks_is_named(make_bundle):
    card = import_model(make_bundle(intensity=[{"_target_": "Resized", "keys": "image", "spatial_size": [9, 9, 9]}]))
    trust(card)
    with pytest.raises(ModelError, match="Resized") as caught:
        load_model(card)
    assert caught.value.code == "model.unsupported"


def test_a_configuration_that_fails_says_why(make_bundle):
    card = import_model(make_bundle(network_def="$1 / 0"))
    trust(card)
    with pytest.raises(ModelError, match="division by zero") as caught:
        load_model(card)
    assert caught.value.code == "model.bundle"


def test_a_bundle_in_a_folder_runs_where_it_lies(make_bundle, volume):
    folder = make_bundle()
    card = find_model(folder)
    assert card.backend == "monai"
    trust(card)
    assert segment(volume, folder, device="cpu").label_map.array.any()


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: meta["network_data_format"]["inputs"].clear(),
        lambda meta: meta["network_data_format"]["outputs"]["pred"]["channel_def"].update({"1": "***"}),
        lambda meta: meta.update(network_data_format=[]),
    ],
)
def test_metadata_that_say_too_little_are_refused(make_bundle, change):
    folder = make_bundle()
    meta = json.loads((folder / "configs" / "metadata.json").read_text("utf-8"))
    change(meta)
    (folder / "configs" / "metadata.json").write_text(json.dumps(meta), "utf-8")
    with pytest.raises(ModelError, match=r"metadata\.json") as caught:
        find_model(folder)
    assert caught.value.code == "model.card"
