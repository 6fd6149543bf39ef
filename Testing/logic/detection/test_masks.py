"""RoIAlign against torchvision and a formula; masks lie where the lesions are, whatever the grid; files; training."""

import inspect
import json

import numpy as np
import pytest
import torch
from bright_detector import phantom, write_bright_model

from DeepSegLogic import ModelError, detect, find_model, read_findings_csv, read_label_map, write_findings, write_volume
from DeepSegLogic.cli import main
from DeepSegLogic.detection import mask_training
from DeepSegLogic.detection.artificial import LUNG_NODULE
from DeepSegLogic.detection.detector import load_detector
from DeepSegLogic.detection.finding import BoxFinding
from DeepSegLogic.detection.grid_training import Recipe, Scan, sample
from DeepSegLogic.detection.mask_training import heads_loss, moved, train_mask_detector, true_masks
from DeepSegLogic.detection.masks import label_masks
from DeepSegLogic.networks.mask_detector import MASK, MaskDetector, change_to, enlarged, refined
from DeepSegLogic.networks.roi_align import roi_align

from .bundle import importable_torchvision
from .test_detect import CENTERS, GRIDS, on_grid


@pytest.fixture
def mask_model(tmp_path):
    return write_bright_model(tmp_path / "bright", masks=True)


def boxes_in(low, high, count, seed=0):
    """Random boxes (N, 6) with corners between two numbers."""
    corners = np.random.default_rng(seed).uniform(low, high, (2, count, 3))
    return torch.from_numpy(np.concatenate([corners.min(0), corners.max(0)], 1)).float()


def by_torchvision(image, boxes, size, samples):
    """RoIAlign in 2D of an image (C, Y, X) and boxes (N, 4) along (Y, X); a cell's centre is at whole numbers."""
    importable_torchvision()
    from torchvision.ops import roi_align as compiled
    from torchvision.ops.roi_align import _roi_align

    rois = torch.cat([torch.zeros(len(boxes), 1), boxes[:, [1, 0, 3, 2]] + 0.5], 1)  # theirs start at a cell's corner
    if hasattr(torch.ops.torchvision, "roi_align"):
        return compiled(image[None], rois, size, 1.0, samples, aligned=True)
    return inspect.unwrap(_roi_align)(image[None], rois, 1.0, size, size, samples, True)  # their own, in Python


@pytest.mark.parametrize("size, samples", [(1, 1), (4, 2), (7, 3)])
def test_in_a_volume_of_equal_slices_roialign_is_that_of_torchvision(size, samples):
    pytest.importorskip("torchvision", exc_type=ImportError) if _lacks_torchvision() else None
    image = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 9, 12))).float()
    boxes = boxes_in(0, 8, 30)
    own = roi_align(image[:, None].expand(3, 9, 9, 12), boxes, size, samples)
    theirs = by_torchvision(image, boxes[:, [1, 2, 4, 5]], size, samples)
    assert torch.allclose(own, theirs[:, :, None].expand_as(own), atol=1e-5)


def _lacks_torchvision():
    from importlib.util import find_spec

    return find_spec("torchvision") is None


def test_of_a_linear_volume_roialign_gives_the_middle_of_each_bin():
    z, y, x = torch.meshgrid(*(torch.arange(n).float() for n in (10, 11, 12)), indexing="ij")
    boxes = boxes_in(0, 9, 20)
    found = roi_align((2 * z - 3 * y + 0.5 * x + 7)[None], boxes, 5)
    bins = (torch.arange(5) + 0.5) / 5
    middle = boxes[:, :3, None] + bins * (boxes[:, 3:] - boxes[:, :3])[..., None]
    wanted = 2 * middle[:, 0, :, None, None] - 3 * middle[:, 1, None, :, None] + 0.5 * middle[:, 2, None, None] + 7
    assert torch.allclose(found[:, 0], wanted, atol=1e-4)
    assert roi_align(torch.rand(2, 4, 4, 4), torch.zeros(0, 6), 3).shape == (0, 2, 3, 3, 3)


def test_a_box_is_refined_to_the_one_that_is_wanted():
    boxes, wanted = boxes_in(0, 9, 20), boxes_in(0, 9, 20, seed=1)
    change = change_to(boxes, wanted).clamp(max=1.9)
    assert torch.allclose(change_to(boxes, refined(boxes, change)), change, atol=1e-3)
    assert torch.allclose(refined(boxes, torch.zeros(20, 6)), boxes, atol=1e-5)


@pytest.mark.parametrize("name", GRIDS)
def test_masks_are_the_lesions_whatever_the_grid(name, mask_model):
    volume, centers = on_grid(name)
    found = detect(volume, mask_model, min_score=0.5, device="cpu")
    assert len(found.findings) == len(centers) and found.masks.array.shape == volume.shape_kji
    truth = volume.array > 0
    assert 2 * (truth & (found.masks.array > 0)).sum() / (truth.sum() + (found.masks.array > 0).sum()) > 0.9  # Dice
    for one in found.findings:
        k, j, i = np.argwhere(found.masks.mask(one.segment)).mean(0)
        assert np.linalg.norm((volume.ijk_to_ras @ [i, j, k, 1])[:3] - one.center_ras) < 4.5, (
            "each mask is that of its box"
        )


def test_windows_of_any_size_draw_the_same(mask_model):
    volume, drawn = phantom(CENTERS), []
    detector = load_detector(find_model(mask_model))
    for patch in (24, 64):
        detector.plan = type(detector.plan)(**{**detector.plan.__dict__, "patch_size": (patch,) * 3})
        drawn.append(detect(volume, detector, min_score=0.5, device="cpu").masks.array > 0)
    assert (drawn[0] != drawn[1]).sum() < 0.05 * drawn[0].sum()


def test_the_higher_score_has_the_voxel_and_an_empty_mask_no_structure():
    volume = phantom([], np.eye(4), shape=(20, 20, 20))
    boxes = np.array([[2, 2, 2, 10, 10, 10], [6, 2, 2, 14, 10, 10], [30] * 3 + [40] * 3, [0] * 3 + [9] * 3]) - 0.5
    masks = np.ones((4, 4, 4, 4))
    masks[3] = 0.4
    findings = [BoxFinding("spot", 1 - n / 10, (0, 0, 0), (1, 1, 1)) for n in range(4)]
    labels, named = label_masks(masks, boxes, findings, volume.ijk_to_ras, volume)
    assert [one.segment for one in named] == ["spot_1", "spot_2", "", ""]
    assert [(s.name, s.value) for s in labels.structures] == [("spot_1", 1), ("spot_2", 2)]
    wanted = np.zeros((20, 20, 20))
    wanted[6:14, 2:10, 2:10], wanted[2:10, 2:10, 2:10] = 2, 1
    for line in (np.s_[:, 5, 5], np.s_[5, :, 5], np.s_[5, 5, :]):
        assert np.array_equal(labels.array[line], wanted[line])
    assert (labels.array != wanted).mean() < 0.02, "the corners are round"


def test_the_command_line_writes_masks(mask_model, tmp_path, capfd):
    write_volume(phantom(CENTERS), tmp_path / "ct.nii.gz")
    out = tmp_path / "found"
    assert main(["detect", str(tmp_path / "ct.nii.gz"), "--force", "-m", str(mask_model), "-o", str(out)]) == 0
    assert "findings.seg.nrrd" in capfd.readouterr().out
    written, rows = read_label_map(out / "findings.seg.nrrd"), read_findings_csv(out / "findings.csv")
    assert (
        [s.name for s in written.structures]
        == [one.segment for one in rows]
        == [f"bright_spot_{n}" for n in range(1, 5)]
    )
    assert all(written.volume_ml(one.segment) == pytest.approx(0.90, rel=0.2) for one in rows)  # a ball of 6 mm
    found = detect(phantom(CENTERS), mask_model, min_score=0.5, device="cpu", force=True)
    found.findings[1] = found.findings[1].decided("rejected")
    write_findings(found, tmp_path / "kept")
    kept = read_label_map(tmp_path / "kept" / "findings.seg.nrrd")
    assert [s.name for s in kept.structures] == ["bright_spot_1", "bright_spot_3", "bright_spot_4"]
    assert set(np.unique(kept.array)) == {0, *(s.value for s in kept.structures)}


def test_nothing_is_drawn_where_nothing_is(mask_model):
    found = detect(phantom([]), mask_model, min_score=0.5, device="cpu")
    assert found.findings == [] and not found.masks.array.any() and found.masks.structures == []


def test_weights_of_the_other_detector_are_refused(mask_model):
    card = json.loads((mask_model / "card.json").read_text("utf-8"))
    card["network"]["architecture"]["name"] = "GridDetector"
    (mask_model / "card.json").write_text(json.dumps(card), "utf-8")
    with pytest.raises(ModelError, match="do not fit"):
        detect(phantom([]), mask_model, device="cpu")


def test_what_masks_should_be_are_the_lesions_in_their_boxes():
    recipe = Recipe(LUNG_NODULE, patch=48, lesions=4)
    lung = Scan(np.full((60, 60, 60), -850, np.float32), np.ones((60, 60, 60), bool))
    drawn = next(d for d in (sample(lung, recipe, np.random.default_rng(n)) for n in range(20)) if len(d.boxes) > 1)
    for number, box in enumerate(drawn.boxes):
        z, y, x = torch.nonzero(drawn.instances == number + 1).T
        ends = torch.stack([*(a.min() - 0.5 for a in (z, y, x)), *(a.max() + 0.5 for a in (z, y, x))])
        assert torch.allclose(box, ends, atol=1e-3), "the box is that of the voxels"
    numbers = torch.arange(len(drawn.boxes))
    around = enlarged(drawn.boxes)
    share = true_masks(drawn.instances, numbers, around).mean((1, 2, 3)) * (around[:, 3:] - around[:, :3]).prod(1)
    voxels = torch.stack([(drawn.instances == n + 1).sum() for n in numbers]).float()
    assert torch.allclose(share, voxels, rtol=0.15)  # a mask's voxels are not those of the patch


def test_the_heads_lose_by_what_is_wrong(monkeypatch):
    """A network of which the answers are written down: right ones, then each of them wrong."""
    monkeypatch.setattr(mask_training, "_MOVED", 0)
    scan = Scan(np.full((40, 40, 40), -850, np.float32), np.ones((40, 40, 40), bool))
    recipe = Recipe(LUNG_NODULE, patch=32, lesions=1)
    drawn = next(d for d in (sample(scan, recipe, np.random.default_rng(n)) for n in range(20)) if len(d.boxes))
    network, features = MaskDetector(1, [2]), torch.zeros(2, 16, 16, 16)

    def loss(score=9.0, off=0.0, sign=1.0):
        network.judge = lambda image, features, regions: (
            torch.full((len(regions), 1), score),
            change_to(regions, drawn.boxes.expand(len(regions), 6)) + off,
        )
        network.outline = lambda image, features, around: (
            sign * 40 * (true_masks(drawn.instances, torch.zeros(len(around), dtype=torch.long), around)[:, None] - 0.5)
        )
        return float(heads_loss(network, drawn, torch.full((7, 16, 16, 16), -9.0), features))  # nothing is proposed

    assert loss() < 0.6  # the border is neither inside nor outside
    assert loss(score=-9.0) > loss() + 5 and loss(off=1.0) > loss() + 1.5 and loss(sign=-1.0) > loss() + 5


def test_copies_of_boxes_are_moved_a_little():
    boxes = boxes_in(0, 20, 50)
    boxes[:, 3:] += 4
    change = change_to(boxes.repeat(2, 1), moved(boxes))
    assert change[:, :3].std() == pytest.approx(0.15, rel=0.3) and change[:, 3:].std() == pytest.approx(0.2, rel=0.3)


def test_a_short_training_learns():
    recipe = Recipe(LUNG_NODULE, patch=24, features=(4, 6), batch=2, lesions=2, rate=1e-2)
    rng = np.random.default_rng(0)
    lung = Scan(rng.normal(-850, 30, (40, 40, 40)).astype(np.float32), np.ones((40, 40, 40), bool))
    losses = []
    network = train_mask_detector([lung], recipe, lambda step: step / 30, lambda _, loss: losses.append(loss))
    assert not network.training and np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    drawn = next(d for d in (sample(lung, recipe, np.random.default_rng(n)) for n in range(20)) if len(d.boxes))
    with torch.inference_mode():
        _, features = network(drawn.image[None])
        around = enlarged(drawn.boxes)
        masks = network.outline(drawn.image, features[0], around)[:, 0] > 0
    true = true_masks(drawn.instances, torch.arange(len(around)), around) > 0.5
    assert masks.shape[1:] == (MASK,) * 3
    assert 2 * (masks & true).sum() / (masks.sum() + true.sum()) > 0.6  # Dice
