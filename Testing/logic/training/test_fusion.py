"""Fusion of several images: closed formulas, and models that the engine runs."""

import json

import pytest
import torch

from DeepSegLogic.cli import main
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.networks.fusion import FUSIONS
from DeepSegLogic.networks.table import build_network
from DeepSegLogic.segmentation import segment
from DeepSegLogic.training.checks import check_cases
from DeepSegLogic.training.dataset import find_cases
from DeepSegLogic.training.dataset_json import channel_names
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.training.recipe import initialize, smaller_patch
from DeepSegLogic.util.errors import UsageError

from .phantom import case, pet_of, write_raw, write_two_channels

pytest.importorskip("monai")
SIZES = {"width": 8, "patch": (16, 32, 32), "spacing": (4, 4, 4)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_two_channels(tmp_path_factory.mktemp("data") / "raw", shape=(16, 24, 24))


@pytest.fixture(scope="module")
def report(data):
    return check_cases(find_cases(data), "CT", channels=channel_names(data))


def built(plan, seed=0):
    torch.manual_seed(seed)
    network = build_network(plan.architecture, plan.outputs, plan.inputs)
    initialize(network)
    return network.eval()


def single(plan):
    """The network for one image that a fusion is made of."""
    member = build_network(plan.architecture["arguments"]["member"], plan.outputs, 1)
    initialize(member)
    return member.eval()


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("kind", ["unet", "resenc"])
def test_middle_fusion_of_equal_encoders_and_images_is_the_network_for_one_image(report, kind):
    plan = plan_training(report, kind, fusion="middle", **SIZES)
    network, member = built(plan), single(plan)
    for encoder in network.encoders:
        encoder.load_state_dict(member.encoder.state_dict())
    network.decoder.load_state_dict(member.decoder.state_dict())
    image = torch.randn(1, 1, *plan.patch)
    twice = image.repeat(1, 2, 1, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(network(twice), member(image), rtol=1e-4, atol=1e-4)
        for found, expected in zip(network.levels(twice), member.levels(image), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    widths = plan.architecture["arguments"]["member"]["arch_kwargs"]["features_per_stage"]
    encoder = count(member.encoder)
    assert count(network) == count(member) + encoder + sum(2 * width * width + width for width in widths)


@pytest.mark.parametrize("kind", ["unet", "segresnet", "fcn"])
def test_late_fusion_is_the_mean_of_the_networks(report, kind):
    plan = plan_training(report, kind, fusion="late", **SIZES)
    network = built(plan)
    images = torch.randn(2, 2, *plan.patch)
    with torch.no_grad():
        expected = (network.members[0](images[:, :1]) + network.members[1](images[:, 1:])) / 2
        torch.testing.assert_close(network(images), expected)
        assert hasattr(network, "levels") == (kind == "unet")
        if kind == "unet":
            torch.testing.assert_close(network.levels(images)[0], expected)
    assert count(network) == 2 * count(single(plan))


@pytest.mark.parametrize("regions", [True, False])
def test_a_vote_is_the_mean_of_the_probabilities(report, regions):
    plan = plan_training(report, "unet", fusion="vote", **SIZES)
    plan.architecture["arguments"]["regions"] = regions
    network, images = built(plan), torch.randn(1, 2, *plan.patch)
    share = torch.sigmoid if regions else lambda logits: logits.softmax(1)
    with torch.no_grad():
        for scale in (1, 300):  # a network that is far too sure has one vote, and no number overflows
            for member in network.members:
                for layer in member.decoder.seg_layers:
                    layer.weight *= scale
            votes = [share(one(image)) for one, image in zip(network.members, images.split(1, 1), strict=True)]
            found = network(images)
            assert torch.isfinite(found).all()
            torch.testing.assert_close(share(found), sum(votes) / 2, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(network.levels(images)[0], found)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_each_image_matters_and_each_weight_learns(report, fusion):
    plan = plan_training(report, "unet", fusion=fusion, **SIZES)
    network = built(plan)
    images = torch.randn(1, 2, *plan.patch, requires_grad=True)
    torch.stack([level.square().mean() for level in network.levels(images)]).sum().backward()
    assert images.grad[:, 0].abs().max() > 0 and images.grad[:, 1].abs().max() > 0
    used = [name for name, parameter in network.named_parameters() if parameter.grad is not None]
    assert used == [name for name, _ in network.named_parameters()]
    assert ("fusion" in dict(plan.lines())["Network"]) == (fusion != "early")
    smaller = smaller_patch(plan)(plan.patch)
    assert smaller is None or network(torch.zeros(1, 2, *smaller)).shape[2:] == smaller


@pytest.mark.parametrize(("fusion", "kind"), [("middle", "resenc"), ("late", "unet"), ("vote", "segresnet")])
def test_the_engine_gives_the_labels_of_the_trained_network(data, tmp_path, fusion, kind):
    command = ["train", str(data), "-o", str(tmp_path / "lab"), "--steps", "4", "--device", "cpu", "--quiet"]
    sizes = ["--patch", "16,24,24", "--spacing", "4", "--batch", "1"]
    assert main([*command, *sizes, "--network", kind, "--fusion", fusion]) == 0
    card = find_model(tmp_path / "lab")
    volume, labels = case(0, shape=(16, 24, 24))
    pet = pet_of(volume, labels)
    result = segment(volume, card, channels={"PET": pet}, device="cpu")
    model = load_model(card)
    rule = model.plan.normalization
    ct = (torch.from_numpy(volume.array).float().clamp(rule.lower, rule.upper) - rule.mean) / rule.sd
    second = torch.from_numpy((pet.array - pet.array.mean()) / pet.array.std())
    with torch.no_grad():
        organs, spleen = model.networks[0](torch.stack([ct, second])[None])[0].numpy()
    expected = (organs > 0) * 1
    expected[spleen > 0] = 2
    assert (result.label_map.array == expected).mean() > 0.9995  # logits near 0 are rounded otherwise
    assert main([*command, *sizes, "--network", kind]) == 3, "another fusion is another plan"


def test_what_cannot_be_fused_is_a_sentence(report, tmp_path):
    with pytest.raises(UsageError, match="no middle fusion"):
        plan_training(report, "segresnet", fusion="middle", **SIZES)
    with pytest.raises(UsageError, match="no fusion 'never'"):
        plan_training(report, fusion="never", **SIZES)
    raw = write_raw(tmp_path / "raw", 1)
    with pytest.raises(UsageError, match="one image"):
        plan_training(check_cases(find_cases(raw), "CT"), fusion="late", **SIZES)
    assert main(["train", str(raw), "-o", str(tmp_path / "x"), "--from", "ct_demo", "--fusion", "late", "-q"]) == 2
    member = plan_training(report, fusion="late", **SIZES).architecture
    with pytest.raises(ValueError, match="late fusion of late fusions"):
        build_network({"name": "LateFusion", "arguments": {"classes": 2, "inputs": 2, "member": member}}, 2)
    assert json.dumps(member), "a card can hold it"
