"""Several images per case, and structures that overlap: from nnU-Net's raw layout to a model that the engine runs."""

import json

import numpy as np
import pytest
import torch

from DeepSegLogic.cli import main
from DeepSegLogic.io import write_volume
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.segmentation import segment
from DeepSegLogic.training.checks import check_cases
from DeepSegLogic.training.dataset import find_cases
from DeepSegLogic.training.dataset_json import channel_names
from DeepSegLogic.training.losses import IGNORED, LOSSES, RegionLoss
from DeepSegLogic.training.patches import Patches
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.training.prepared import prepare_cases
from DeepSegLogic.training.regions import Regions
from DeepSegLogic.training.validation import PatchDice
from DeepSegLogic.util.errors import InputError

from .phantom import case, pet_of, write_raw, write_two_channels

losses = pytest.importorskip("monai.losses")
OVERLAPPING = Regions({"organs": (1, 2), "spleen": (2,)}, (1, 2))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_two_channels(tmp_path_factory.mktemp("data") / "raw")


@pytest.fixture(scope="module")
def report(data):
    return check_cases(find_cases(data), "CT", channels=channel_names(data))


def test_the_checks_count_regions_and_the_plan_has_a_rule_per_channel(report):
    labels = case(1)[1]
    assert report.structures == ["organs", "spleen"] and not report.errors and report.channels == ("CT", "PET")
    assert report.cases[1].voxels == {"organs": (labels > 0).sum(), "spleen": (labels == 2).sum()}
    plan = plan_training(report, width=8)
    assert (plan.normalization.scheme, [rule.scheme for rule in plan.further]) == ("ct", ["zscore"])
    labelled = np.concatenate([volume.array[labels > 0] for volume, labels in map(case, (0, 1))])
    assert plan.normalization.mean == pytest.approx(labelled.mean(), rel=0.02)
    assert (plan.inputs, plan.outputs) == (2, 2) and "overlapping" in dict(plan.lines())["Structures"]


@pytest.mark.parametrize("network", ["unet", "segresnet"])
def test_the_engine_gives_the_labels_of_the_trained_network(data, tmp_path, network):
    command = ["train", str(data), "-o", str(tmp_path / "lab"), "--steps", "8", "--device", "cpu", "--quiet"]
    assert main([*command, "--network", network, "--patch", "16,24,24", "--spacing", "4", "--batch", "1"]) == 0
    card = find_model(tmp_path / "lab")
    assert card.channels == ["CT", "PET"] and card.structures == ["organs_without_spleen", "spleen"]
    volume, labels = case(0, shape=(16, 24, 24))
    pet = pet_of(volume, labels)
    result = segment(volume, card, channels={"PET": pet}, device="cpu")

    rule = load_model(card).plan.normalization
    ct = (volume.array.clip(rule.lower, rule.upper) - rule.mean) / rule.sd
    images = np.stack([ct, (pet.array - pet.array.mean()) / pet.array.std()]).astype(np.float32)
    with torch.no_grad():
        organs, spleen = load_model(card).networks[0](torch.from_numpy(images)[None])[0].numpy()
    expected = np.where(spleen > 0, 2, np.where(organs > 0, 1, 0))
    assert (result.label_map.array == expected).mean() > 0.9995  # logits near 0 are rounded otherwise
    assert len(np.unique(expected)) > 1


def test_files_are_as_nnunet_writes_them(data, report, tmp_path):
    command = ["train", str(data), "-o", str(tmp_path / "lab"), "--steps", "1", "--device", "cpu", "--quiet"]
    assert main([*command, "--patch", "16,16,16"]) == 0
    written = json.loads((tmp_path / "lab" / "dataset.json").read_text("utf-8"))
    given = json.loads((data / "dataset.json").read_text("utf-8"))
    assert {key: written[key] for key in given} == given
    plans = json.loads((tmp_path / "lab" / "plans.json").read_text("utf-8"))
    configuration = plans["configurations"]["3d_fullres"]
    assert configuration["normalization_schemes"] == ["CTNormalization", "ZScoreNormalization"]
    assert configuration["use_mask_for_norm"] == [False, False]
    assert list(plans["foreground_intensity_properties_per_channel"]) == ["0", "1"]
    weights = torch.load(tmp_path / "lab" / "fold_0" / "checkpoint_final.pth", weights_only=True)["network_weights"]
    assert weights["encoder.stages.0.0.convs.0.conv.weight"].shape[1] == 2
    assert weights["decoder.seg_layers.0.weight"].shape[0] == 2, "none for the background"


def test_the_region_loss_is_nnunets_dice_and_binary_cross_entropy():
    logits, labels = torch.randn(2, 2, 6, 6, 6), torch.randint(0, 3, (2, 6, 6, 6))
    target = torch.stack([labels > 0, labels == 2], 1).float()
    dice = losses.DiceLoss(sigmoid=True, batch=True)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, target) + dice(logits, target)
    found = RegionLoss("dice-ce", [(1, 2), (1, 2)], OVERLAPPING.table())(logits, labels, [0, 1])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_of_regions_rewards_the_truth_and_ignores_what_nobody_knows(name):
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2, 6, 6, 6), generator=rng)
    labels[:, :2] = IGNORED
    logits = torch.randn(2, 2, 6, 6, 6, generator=rng, requires_grad=True)
    loss = RegionLoss(name, [(1, 2), (1,)], OVERLAPPING.table())
    value = loss(logits, labels, [0, 1])
    value.backward()
    assert torch.isfinite(logits.grad).all() and logits.grad[:, :, :2].abs().max() == 0
    assert logits.grad[1, 1].abs().max() == 0, "the spleen was not looked for there"
    assert logits.grad[0, 1].abs().max() > 0
    right = (torch.stack([labels > 0, labels == 2], 1).float() * 2 - 1) * 20
    assert float(loss(right, labels, [0, 1])) < value.item()


def test_patches_keep_both_images_together_and_a_perfect_network_has_dice_one(report, tmp_path):
    plan = plan_training(report, width=8, patch=(16, 16, 16), spacing=(4, 4, 4))
    cases = prepare_cases(report.cases, plan, tmp_path)
    assert cases[0].image.shape[0] == 2
    patches = Patches(cases, plan.patch, plan.spacing, seed=3)
    for n in range(8):
        image, labels, _ = patches[n]
        assert image.shape == (2, 16, 16, 16)
        if (labels == 2).sum() > 30:
            assert all(channel[labels == 2].mean() > channel[labels == 0].mean() + 0.5 for channel in image)

    class Knows(torch.nn.Module):
        def forward(self, x):
            spleen = x[:, 1] > 3.7  # deviations: half of what it has in the PET, and none in a patch without it
            return torch.stack([spleen, spleen], 1).float() - 0.5

    found = PatchDice(cases, plan, torch.device("cpu"))(Knows())
    assert 0.5 < found < 0.95, "one of the two regions is wrong on purpose"


def test_what_cannot_be_is_a_sentence(data, tmp_path):
    raw = write_two_channels(tmp_path / "raw")
    volume, labels = case(1)
    pet = pet_of(volume, labels)
    pet.ijk_to_ras = pet.ijk_to_ras.copy()
    pet.ijk_to_ras[:3, 3] += 4000
    write_volume(pet, raw / "imagesTr" / "c1_0001.nii.gz")
    found = check_cases(find_cases(raw), "CT", channels=channel_names(raw))
    assert [error.code for error in found.errors] == ["input.overlap"]
    (raw / "imagesTr" / "c0_0001.nii.gz").unlink()
    with pytest.raises(InputError, match=r"The case c0 .* has the images 0000"):
        find_cases(raw)
    content = json.loads((raw / "dataset.json").read_text("utf-8"))
    for order in ([1], [1, 1], [1, 9], None, [[1], 2]):
        (raw / "dataset.json").write_text(json.dumps({**content, "regions_class_order": order}), "utf-8")
        with pytest.raises(InputError, match="regions_class_order"):
            find_cases(raw)
    pairs = tmp_path / "pairs"
    (write_raw(tmp_path / "single", 1) / "imagesTr").rename(pairs)
    (tmp_path / "single" / "labelsTr" / "c0.nii.gz").rename(pairs / "c0_0000_seg.nii.gz")
    (pairs / "dataset.json").write_text((data / "dataset.json").read_text("utf-8"), "utf-8")
    with pytest.raises(InputError, match="not in nnU-Net's raw layout"):
        find_cases(pairs)
    model = tmp_path / "model"
    assert main(["train", str(data), "-o", str(model), "--from", "ct_demo", "--steps", "1", "--quiet"]) == 4
