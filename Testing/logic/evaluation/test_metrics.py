"""The metrics against MONAI's, Google DeepMind's ``surface-distance``, closed formulas and brute force."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from monai.metrics import compute_iou, compute_surface_dice
from monai.metrics.calibration import calibration_binning
from monai.metrics.confusion_matrix import compute_confusion_matrix_metric, get_confusion_matrix
from monai.metrics.meandice import compute_dice
from scipy.ndimage import label

from DeepSegLogic.evaluation.calibration import Reliability
from DeepSegLogic.evaluation.detection import detection_f1
from DeepSegLogic.evaluation.metrics import METRICS, Thresholds, compare_masks

from .shapes import SPACING, ball, blob

PAIRS = [(blob(n), blob(n + 1)) for n in range(3)] + [(blob(5), np.roll(blob(5), 2, 1)), (blob(6), blob(6))]


def compared(prediction, reference, tolerance=1.5, **options):
    return compare_masks(prediction, reference, SPACING, Thresholds(tolerance), tubular=False, **options)


def tensors(prediction, reference):
    return (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (prediction, reference))


@pytest.mark.parametrize(("prediction", "reference"), PAIRS)
def test_overlap_equals_monais(prediction, reference):
    found = compared(prediction, reference)
    y_pred, y = tensors(prediction, reference)
    matrix = get_confusion_matrix(y_pred, y)
    expected = {
        "dice": compute_dice(y_pred, y),
        "iou": compute_iou(y_pred, y),
        "precision": compute_confusion_matrix_metric("precision", matrix),
        "recall": compute_confusion_matrix_metric("sensitivity", matrix),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value.item(), abs=1e-6), name


@pytest.mark.parametrize(("prediction", "reference"), PAIRS)
@pytest.mark.parametrize("tolerance", [0.5, 2.0])
def test_surface_dice_equals_monais(prediction, reference, tolerance):
    y_pred, y = tensors(np.pad(prediction, 2), np.pad(reference, 2))  # MONAI leaves surfaces open at the border
    expected = compute_surface_dice(
        y_pred, y, [tolerance], include_background=True, spacing=SPACING.tolist(), use_subvoxels=True
    )
    assert compared(prediction, reference, tolerance)["surface_dice"] == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize(("prediction", "reference"), PAIRS)
def test_surface_distances_equal_deepminds(prediction, reference):
    other = pytest.importorskip("surface_distance", reason="needs surface-distance (extra test)")
    distances = other.compute_surface_distances(reference, prediction, SPACING)
    there, back = other.compute_average_surface_distance(distances)
    areas = [distances[f"surfel_areas_{side}"].sum() for side in ("gt", "pred")]
    found = compared(prediction, reference)
    assert found["hd95_mm"] == pytest.approx(other.compute_robust_hausdorff(distances, 95), abs=1e-5)
    assert found["assd_mm"] == pytest.approx(np.average([there, back], weights=areas), abs=1e-5)
    expected = other.compute_surface_dice_at_tolerance(distances, 1.5)
    assert found["surface_dice"] == pytest.approx(expected, abs=1e-6)


def test_a_plane_moved_by_two_slices():
    """Closed form: two slabs whose faces are 0 and 5 mm apart."""
    slab, thicker = np.zeros((2, 40, 60, 60), bool)
    slab[10:20], thicker[10:22] = True, True
    found = compared(thicker, slab, tolerance=1.0)
    assert found["hd95_mm"] == pytest.approx(5.0)
    assert found["volume_error_percent"] == pytest.approx(20.0)
    assert found["volume_error_ml"] == pytest.approx(2 * 60 * 60 * SPACING.prod() / 1000)
    assert found["dice"] == pytest.approx(20 / 22)


def test_nothing_on_both_sides_has_no_score():
    nothing = np.zeros((4, 5, 6), bool)
    found = compared(nothing, nothing)
    assert found.keys() == METRICS.keys() | {"prediction_ml", "reference_ml"}
    assert all(math.isnan(found[name]) for name in METRICS)


@pytest.mark.parametrize(("side", "undefined"), [("prediction", ["precision"]), ("reference", ["recall"])])
def test_one_empty_side_is_the_worst_score(side, undefined):
    masks = {"prediction": ball((8, 9, 9)), "reference": ball((8, 9, 9))} | {side: np.zeros((20, 24, 22), bool)}
    found = compare_masks(**masks, spacing_kji=SPACING, thresholds=Thresholds(), tubular=True)
    assert all(found[name] == 0 for name in ("dice", "iou", "surface_dice", "cldice", "detection_f1"))
    assert found["hd95_mm"] == found["assd_mm"] == math.inf
    assert all(math.isnan(found[name]) for name in undefined)
    assert math.isnan(found["volume_error_percent"]) == (side == "reference")


def test_cldice_is_a_number_where_a_skeleton_is_empty():
    bar = np.zeros((20, 30, 30), bool)
    bar[4:18, 20:24, 20:24] = True
    assert compare_masks(bar, bar, SPACING, Thresholds(), tubular=True)["cldice"] == 1


def test_cldice_of_straight_tubes():
    """Half of the line is found, and all of what is found is right: 2 · 1 · ½ / 1½."""
    tube = np.zeros((5, 5, 60), bool)
    tube[1:4, 1:4, :] = True
    half = tube.copy()
    half[..., 30:] = False
    found = compare_masks(half, tube, SPACING, Thresholds(), tubular=True)
    assert found["cldice"] == pytest.approx(2 / 3, abs=0.02)  # skeletons end a voxel before the tube does
    aside = np.zeros((5, 12, 60), bool)
    aside[1:4, 1:4] = True
    assert compare_masks(np.roll(aside, 6, 1), aside, SPACING, Thresholds(), tubular=True)["cldice"] == 0


def f1_by_brute_force(prediction, reference, min_iou):
    """The best of all one-to-one assignments."""
    (p, n), (r, m) = (label(mask, np.ones((3, 3, 3))) for mask in (prediction, reference))
    close = np.zeros((max(n, m), max(n, m)), int)
    for a in range(n):
        for b in range(m):
            one, other = p == a + 1, r == b + 1
            close[a, b] = (one & other).sum() >= min_iou * (one | other).sum()
    best = max(sum(close[a, b] for a, b in enumerate(order)) for order in permutations(range(len(close))))
    return 2 * best / (n + m)


@pytest.mark.parametrize("min_iou", [0.05, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_detection_equals_brute_force(seed, min_iou):
    centres = np.random.default_rng(seed).integers(3, 17, (6, 3))
    reference = np.any([ball(c, 2) for c in centres[:4]], 0)
    prediction = np.any([ball(c + np.array([1, 0, 1]), 2) for c in centres[2:]], 0)
    expected = f1_by_brute_force(prediction, reference, min_iou)
    assert detection_f1(prediction, reference, min_iou) == pytest.approx(expected)


def test_calibration_equals_monais():
    rng = np.random.default_rng(0)
    probability = rng.random((5, 8, 9), np.float32)
    truth = rng.random(probability.shape) < probability**2
    mean_p, mean_y, counts = (
        values[0, 0].nan_to_num()
        for values in calibration_binning(
            torch.from_numpy(probability[None, None]), torch.from_numpy(truth[None, None]).float(), num_bins=15
        )
    )
    expected = float((counts * (mean_p - mean_y).abs()).sum() / counts.sum())
    assert expected > 0.1
    assert Reliability.of(probability, truth).ece == pytest.approx(expected, abs=1e-5)


def test_a_perfect_model_is_calibrated():
    truth = ball((8, 9, 9))
    assert Reliability.of(truth.astype(np.float32), truth).ece == 0


def test_reliability_adds_up_over_cases():
    """What is drawn with its probability is calibrated, however it is split into cases."""
    rng = np.random.default_rng(0)
    p = rng.random((4, 50, 50, 50)).astype(np.float32)
    true = rng.random(p.shape) < p
    whole, parts = Reliability.of(p, true), [Reliability.of(a, b) for a, b in zip(p, true, strict=True)]
    joined = sum(parts[1:], parts[0])
    np.testing.assert_allclose(joined.voxels, whole.voxels)
    np.testing.assert_allclose(joined.true, whole.true)
    assert joined.ece == pytest.approx(whole.ece) and whole.ece < 0.01
    assert len(whole.points) == 15 and all(abs(believed - share) < 0.02 for believed, share, _ in whole.points)
    assert Reliability.of(np.sqrt(p), true).ece > 0.1
