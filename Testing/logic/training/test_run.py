"""From files to a model, through the command line: partly labelled cases, every loss, and what the user sees."""

import json
import shutil

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from DeepSegLogic.cli import main
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.io import write_label_map
from DeepSegLogic.models import find_model
from DeepSegLogic.segmentation import segment
from DeepSegLogic.training.checks import check_cases
from DeepSegLogic.training.dataset import find_cases
from DeepSegLogic.training.losses import IGNORED, LOSSES, CaseLoss, narrowed, over_levels
from DeepSegLogic.training.patches import Patches
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.training.prepared import prepare_cases, resampled_labels
from DeepSegLogic.training.recipe import smaller_patch
from DeepSegLogic.training.run import work_folder
from DeepSegLogic.training.validation import PatchDice, held_out

from .phantom import case, label_map, write_raw

theirs = pytest.importorskip("monai.losses")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_raw(tmp_path_factory.mktemp("data") / "raw", 5)


@pytest.fixture(scope="module")
def prepared(data, tmp_path_factory):
    report = check_cases(find_cases(data), "CT")
    plan = plan_training(report, width=8, patch=(16, 16, 16))
    return plan, prepare_cases(report.cases, plan, tmp_path_factory.mktemp("cases"))


def test_a_trained_model_segments_and_its_card_says_how_it_was_made(data, tmp_path, capsys):
    rights = ["--licence", "CC-BY-4.0", "--citation", "Title, journal, year"]
    command = ["train", str(data), "-o", str(tmp_path / "lab"), "--device", "cpu", "--json", *rights]
    assert main([*command, "--steps", "40", "--spacing", "5", "--patch", "16,16,16"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["event"] == "result" and events[-1]["steps"] == 40 and events[-1]["dice"] > 0.1
    assert {"check", "prepare", "train"} <= {e["stage"] for e in events if e["event"] == "progress"}
    card = find_model(tmp_path / "lab")
    assert (card.licence, card.citation) == ("CC-BY-4.0", "Title, journal, year")
    assert card.structures == ["liver", "spleen"] and card.provenance["steps"] == 40
    volume, labels = case(9)
    found = segment(volume, card, device="cpu").label_map.array
    overlap = 2 * ((found > 0) & (labels > 0)).sum() / ((found > 0).sum() + (labels > 0).sum())
    assert overlap > 0.25  # of one that was drawn by chance: 0.05
    assert (work_folder(tmp_path / "lab") / "curves.png").is_file()
    assert main([*command, "--steps", "40", "--spacing", "5", "--patch", "16,16,16"]) == 0, "it is done already"
    assert main([*command, "--steps", "40", "--spacing", "6", "--patch", "16,16,16"]) == 3, "another plan"
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["code"] == "input.checkpoint"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--minutes", "1", "--steps", "5"], 2),
        (["--network", "vgg"], 2),
        (["--loss", "l2"], 2),
        (["--optimizer", "lion"], 2),
        (["--spacing", "a"], 2),
        (["--from", "nothing_of_this_name"], 4),
        (["--from", "ct_demo", "--network", "unet"], 2),
        (["--device", "tpu"], 2),
        (["--licence", "MIT\nand more"], 2),
    ],
)
def test_options_that_cannot_be_used_are_told_before_anything_runs(data, tmp_path, options, code):
    assert main(["train", str(data), "-o", str(tmp_path / "x"), *options]) == code
    assert not list(tmp_path.iterdir())


def test_a_dry_run_shows_cases_and_plan_and_writes_pictures_only(data, tmp_path, capsys):
    work = work_folder(tmp_path / "x")
    (work / "checks").mkdir(parents=True)
    (work / "checks" / "of_another_check.png").write_bytes(b"x")
    assert main(["train", str(data), "-o", str(tmp_path / "x"), "--dry-run", "--network", "resenc"]) == 0
    shown = capsys.readouterr().out
    assert "24 × 28 × 32" in shown and "residual-encoder" in shown
    assert [p.name for p in tmp_path.iterdir()] == ["x.training"] and [p.name for p in work.iterdir()] == ["checks"]
    assert sorted(p.name for p in (work / "checks").iterdir()) == [f"c{n}.png" for n in range(5)]
    picture = np.asarray(Image.open(work / "checks" / "c0.png").convert("RGB")).astype(int)
    for color in (structure_for(name, 1).color for name in ("liver", "spleen")):
        assert (picture == color).all(2).sum() > 100, "the outlines, the legend and the organs in 3D"


def test_a_dry_run_of_a_site_sends_nothing(data, tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr("DeepSegLogic.training.federated.flower.require_flower", lambda: None)
    monkeypatch.setattr("DeepSegLogic.cli.train.run_site", lambda *told: sent.append(told))
    line = ["train", str(data), "-o", str(tmp_path / "x"), "--federated", "client"]
    assert main([*line, "--dry-run"]) == 0 and not sent
    assert main(line) == 0 and len(sent) == 1


def test_a_model_that_was_not_trained_there_is_never_replaced(data, tmp_path, demo_model):
    shutil.copytree(demo_model, tmp_path / "mine")
    before = (tmp_path / "mine" / "plans.json").read_bytes()
    assert main(["train", str(data), "-o", str(tmp_path / "mine"), "--steps", "1"]) == 5
    assert (tmp_path / "mine" / "plans.json").read_bytes() == before
    (tmp_path / "file").write_text("x", "utf-8")
    assert main(["train", str(data), "-o", str(tmp_path / "file"), "--steps", "1"]) == 5


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_rewards_the_truth_and_ignores_what_nobody_knows(name):
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2, 6, 6, 6), generator=rng)
    labels[:, :2] = IGNORED
    logits = torch.randn(2, 4, 6, 6, 6, generator=rng, requires_grad=True)
    loss = CaseLoss(name, [(1, 2, 3), (1,), ()])
    value = loss(logits, labels, [0, 1])
    value.backward()
    assert torch.isfinite(logits.grad).all() and logits.grad[:, :, :2].abs().max() == 0
    assert logits.grad[0, 3].abs().max() > 0
    target = torch.where(labels == 2, 0, labels)[1].clamp(min=0)
    right = torch.nn.functional.one_hot(labels[:1].clamp(min=0), 4).permute(0, 4, 1, 2, 3) * 20.0
    assert float(loss(right, labels[:1], [0])) < float(loss(logits[:1].detach(), labels[:1], [0]))
    # in the second case, classes 2 and 3 were not looked for: which of them, or background, costs nothing
    answers = [torch.nn.functional.one_hot(torch.where(target == 0, c, target), 4) for c in (0, 2, 3)]
    costs = [float(loss(a.permute(3, 0, 1, 2)[None] * 20.0, labels[1:], [1])) for a in answers]
    assert costs[0] == pytest.approx(costs[1], abs=1e-4) == pytest.approx(costs[2], abs=1e-4)
    assert float(loss(logits, labels, [2, 2])) == 0


def test_with_all_looked_for_a_loss_is_monais():
    logits, labels = torch.randn(2, 3, 5, 5, 5), torch.randint(0, 3, (2, 5, 5, 5))
    rule = theirs.DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    torch.testing.assert_close(CaseLoss("dice-ce", [(1, 2)])(logits, labels, [0, 0]), rule(logits, labels[:, None]))
    narrow, target = narrowed(logits, labels, (2,))
    torch.testing.assert_close(narrow.softmax(1)[:, 1], logits.softmax(1)[:, 2])
    assert torch.equal(target, (labels == 2).long())


@pytest.mark.parametrize("name", LOSSES)
def test_what_changes_no_probability_changes_no_loss(name):
    logits, labels = torch.randn(2, 3, 6, 6, 6), torch.randint(0, 3, (2, 6, 6, 6))
    loss = CaseLoss(name, [(1, 2)])
    found = loss(logits + torch.randn(2, 1, 6, 6, 6), labels, [0, 0])
    torch.testing.assert_close(found, loss(logits, labels, [0, 0]), rtol=1e-4, atol=1e-5)


def test_dice_focal_is_dice_plus_the_focal_loss_of_the_probabilities():
    logits, labels = torch.randn(2, 4, 5, 6, 7), torch.randint(0, 4, (2, 5, 6, 7))
    chance, truth = logits.softmax(1), torch.nn.functional.one_hot(labels, 4).movedim(-1, 1)
    right = (chance * truth).sum(1)
    overlap, sizes = (chance * truth).sum((0, 2, 3, 4)), (chance + truth).sum((0, 2, 3, 4))
    expected = (1 - 2 * overlap / sizes)[1:].mean() - ((1 - right) ** 2 * right.log()).mean() / 4
    found = CaseLoss("dice-focal", [(1, 2, 3)])(logits, labels, [0, 0])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_coarser_levels_count_half():
    labels = torch.randint(0, 2, (1, 4, 4, 4))
    outputs = [torch.randn(1, 2, 4, 4, 4), torch.randn(1, 2, 2, 4, 2)]
    loss = CaseLoss("ce", [(1,)])
    expected = (loss(outputs[0], labels, [0]) + loss(outputs[1], labels[:, ::2, :, ::2], [0]) / 2) / 1.5
    torch.testing.assert_close(over_levels(loss, outputs, labels, [0]), expected)


def test_patches_are_the_images_own_voxels_and_repeatable(prepared):
    plan, cases = prepared
    plain = Patches(cases, plan.patch, plan.spacing, seed=1, augment=False)
    for n in range(6):
        image, labels, number = plain[n]
        pairs = (cases[number].image[0], image[0].half().numpy()), (cases[number].labels, labels.numpy())
        same = [(sliding_window_view(whole, plan.patch) == own).all((3, 4, 5)) for whole, own in pairs]
        assert (same[0] & same[1]).any()
    for mirror in (False, True):
        patches = Patches(cases, (32, 16, 16), plan.spacing, seed=2, mirror=mirror)
        for n in range(12):
            (image, labels, number), again = patches[n], patches[n]
            assert torch.equal(image, again[0]) and torch.equal(labels, again[1]) and number == again[2]
            assert image.shape == (1, 32, 16, 16) and torch.isfinite(image).all()
            assert (labels == IGNORED).any(), "the patch is larger than the image"
    assert {int(v) for n in range(12) for v in patches[n][1].unique()} == {IGNORED, 0, 1, 2}


def test_images_and_labels_stay_together_when_bent(prepared):
    plan, cases = prepared
    patches = Patches(cases, plan.patch, plan.spacing, seed=3)
    inside, outside = [], []
    for n in range(30):
        image, labels, _ = patches[n]
        inside.append(float(image[0][labels == 2].mean()) if (labels == 2).any() else np.nan)
        outside.append(float(image[0][labels == 0].mean()))
    assert np.nanmean(inside) > np.nanmean(outside) + 1


def test_labels_are_resampled_by_the_largest_share():
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[:, :, 4:] = 3
    finer = resampled_labels(labels, (8, 8, 16))
    assert set(np.unique(finer)) == {0, 3} and (finer[:, :, 8:] == 3).all() and (finer[:, :, :8] == 0).all()
    assert np.array_equal(resampled_labels(labels, labels.shape), labels)


def test_prepared_cases_are_used_again_for_the_same_plan_only(data, tmp_path):
    report = check_cases(find_cases(data), "CT")
    plan = plan_training(report, width=8, patch=(16, 16, 16))
    prepare_cases(report.cases, plan, tmp_path)
    first = (tmp_path / "0_image.npy").stat().st_mtime_ns
    prepare_cases(report.cases, plan, tmp_path)
    assert (tmp_path / "0_image.npy").stat().st_mtime_ns == first
    prepare_cases(report.cases, plan_training(report, spacing=(5, 5, 5)), tmp_path)
    assert (tmp_path / "0_image.npy").stat().st_mtime_ns != first


def test_every_fifth_case_is_held_out_and_a_perfect_network_has_dice_one(prepared):
    plan, cases = prepared
    patients = [[case.name] for case in cases]
    train, apart = held_out(cases, patients)
    assert (len(train), len(apart)) == (4, 1) and held_out(cases[:4], patients[:4])[1] == []
    rule = plan.normalization

    class Knows(torch.nn.Module):
        def forward(self, x):
            hu = x[:, 0] * rule.sd + rule.mean
            return torch.stack([hu < 150, (hu > 150) & (hu < 195), hu > 195], 1).float() * 9

    assert PatchDice(apart, plan, torch.device("cpu"))(Knows()) > 0.4


def test_the_dice_of_patches_is_monais_of_all_their_voxels_together(prepared):
    """So what a network invents in a patch without the structure counts, as in nnU-Net's pseudo Dice."""
    metrics = pytest.importorskip("monai.metrics")
    plan, cases = prepared
    seen = []

    class Guesses(torch.nn.Module):
        def forward(self, x):
            seen.append(torch.randn(1, 3, *x.shape[2:], generator=torch.Generator().manual_seed(len(seen))))
            return seen[-1]

    measured = PatchDice(cases, plan, torch.device("cpu"))
    dice, labels = measured(Guesses()), [measured._patches[n][1] for n in range(len(seen))]
    assert any(not (one == value).any() for one in labels for value in (1, 2)), "a patch without a structure"
    counted = torch.cat([one != IGNORED for one in labels], 0)[None]
    found = torch.cat([logits.argmax(1)[0] for logits in seen], 0)[None]
    masks = [torch.stack([(one == value) & counted for value in (1, 2)], 1) for one in (found, torch.cat(labels)[None])]
    assert dice == pytest.approx(float(metrics.compute_dice(*masks).mean()))


def test_a_training_is_not_continued_with_other_labels(tmp_path):
    """Of MR, as the plan for CT would tell, whose intensities are those of the labelled voxels."""
    raw = write_raw(tmp_path / "raw", 1, shape=(16, 24, 24))
    facts = json.loads((raw / "dataset.json").read_text("utf-8"))
    (raw / "dataset.json").write_text(json.dumps(facts | {"channel_names": {"0": "MR"}}), "utf-8")
    command = ["train", str(raw), "-o", str(tmp_path / "lab"), "--device", "cpu", "--quiet", "--steps", "1"]
    command += ["--spacing", "4", "--patch", "16,24,24"]
    assert main(command) == 0
    (raw / "labelsTr" / "c0.nii.gz").touch()
    assert main(command) == 0, "the same labels"
    volume, labels = case(0, shape=(16, 24, 24))
    write_label_map(label_map(volume, np.roll(labels, 3, 0)), raw / "labelsTr" / "c0.nii.gz")
    assert main(command) == 3


def test_a_patch_gets_smaller_only_where_the_network_allows_it(data):
    report = check_cases(find_cases(data), "CT")
    plan = plan_training(report, "segresnet", width=8, patch=(16, 32, 24))
    assert smaller_patch(plan)((16, 32, 24)) == (16, 24, 24)
    assert smaller_patch(plan)((16, 16, 16)) is None
    fixed = plan_training(report, "unetr", width=8, patch=(32, 64, 32))
    assert smaller_patch(fixed)(fixed.patch) is None


def test_an_output_with_other_files_is_refused_and_nothing_is_lost(tmp_path):
    data = write_raw(tmp_path / "raw", 1)
    before = (data / "dataset.json").read_bytes()
    assert main(["train", str(data), "-o", str(data), "--steps", "1", "--device", "cpu", "--quiet"]) == 5
    assert (data / "dataset.json").read_bytes() == before
