"""Perturbations against closed forms, and what a stress test reports of simple models."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from DeepSegLogic import InputError, LabelMap, Structure, Volume
from DeepSegLogic.data.affine import ijk_to_ras_points, reorient
from DeepSegLogic.evaluation.perturbations import PERTURBATIONS
from DeepSegLogic.evaluation.stress import mean_drops, stress_test, write_stress

from .shapes import ball

BY_NAME = {p.name: p for p in PERTURBATIONS}
ORGAN = Structure(1, "organ", "Organ")
SHAPE = (41, 61, 61)
OBLIQUE = np.array([[0.96, -0.42, 0, -30], [0.28, 1.44, 0, 12], [0, 0, 2.0, 5], [0, 0, 0, 1.0]])


def phantom(matrix=None, centre=(20, 34, 26)):
    """A ball of 300 HU in water, and its label map."""
    inside = ball(centre, 9, SHAPE)
    matrix = np.diag([1.5, 1.5, 1.5, 1.0]) if matrix is None else matrix
    return Volume(np.where(inside, 300, 0).astype(np.int16), matrix), LabelMap(inside.astype(np.uint8), matrix, [ORGAN])


def bright(volume):
    """A model: what is above 150 HU."""
    return LabelMap((volume.array > 150).astype(np.uint8), volume.ijk_to_ras, [ORGAN])


def perturbed(name, level, volume, labels):
    return BY_NAME[name].volume(volume, level, np.random.default_rng(0)), BY_NAME[name].labels(labels, level)


def centroid(array, matrix):
    """In RAS, weighted with the values."""
    at = np.argwhere(array)
    return ijk_to_ras_points([np.average(at, axis=0, weights=array[tuple(at.T)])[::-1]], matrix)[0]


@pytest.mark.parametrize("perturbation", PERTURBATIONS, ids=lambda p: p.name)
def test_image_and_labels_stay_together(perturbation):
    volume, labels = phantom(OBLIQUE)
    level = perturbation.levels[0]
    image, moved = perturbation.volume(volume, level, np.random.default_rng(0)), perturbation.labels(labels, level)
    assert image.array.shape == moved.array.shape and image.array.dtype == np.int16
    np.testing.assert_array_equal(image.ijk_to_ras, moved.ijk_to_ras)
    inside = moved.array == 1
    assert inside.any() and image.array[inside].mean() > 240 and abs(np.median(image.array[~inside])) < 40
    assert perturbation.levels == tuple(sorted(perturbation.levels, reverse=perturbation.crops)), "mildest first"


def test_noise_has_the_stated_deviation():
    volume, labels = phantom()
    image, same = perturbed("Noise", 50, volume, labels)
    assert (image.array - volume.array).std() == pytest.approx(50, rel=0.01)
    assert same == labels


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_blur_is_in_millimetres(axis):
    """A bright plane spreads to the stated sigma, whatever the spacing across it."""
    array = np.zeros(SHAPE, np.int16)
    np.moveaxis(array, axis, 0)[20] = 3000
    image, _ = perturbed("Blur", 3, Volume(array, np.diag([1.0, 1.5, 2.0, 1.0])), phantom()[1])
    profile = image.array.mean(tuple({0, 1, 2} - {axis}))
    spread = np.sqrt((profile * (np.arange(len(profile)) - 20) ** 2).sum() / profile.sum())
    assert spread * (2.0, 1.5, 1.0)[axis] == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize("orientation", ["RAS", "SRA"])
def test_thick_slices_are_means_along_the_body(orientation):
    volume, labels = phantom()
    array, matrix = reorient(volume.array, volume.ijk_to_ras, orientation)
    image, _ = perturbed("Thick slices", 6, Volume(np.ascontiguousarray(array), matrix), labels)
    slices, _ = reorient(image.array, matrix, "RAS")
    for start in range(0, 36, 4):
        expected = np.rint(volume.array[start : start + 4].mean(0))
        for k in range(start, start + 4):
            np.testing.assert_array_equal(slices[k], expected)


def test_a_shift_has_the_stated_length():
    volume, labels = phantom(OBLIQUE)
    moved = np.clip(perturbed("Shift", 6, volume, labels)[0].array, 0, None)
    way = centroid(moved, OBLIQUE) - centroid(volume.array, OBLIQUE)
    np.testing.assert_allclose(way, np.full(3, 6 / np.sqrt(3)), atol=0.02)


def test_a_rotation_by_a_right_angle_is_numpys():
    volume, labels = phantom()
    image, turned = perturbed("Rotation", 90, volume, labels)
    np.testing.assert_array_equal(turned.array, np.rot90(labels.array, -1, (1, 2)))
    inner = (slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_array_equal(image.array[inner], np.rot90(volume.array, -1, (1, 2))[inner])


def test_a_smaller_field_of_view_leaves_the_rest_in_place():
    volume, labels = phantom()
    image, cropped = perturbed("Field of view", 50, volume, labels)
    assert image.array.shape == (20, 61, 61)
    np.testing.assert_array_equal(image.array, volume.array[10:30])
    np.testing.assert_array_equal(cropped.ijk_to_ras, image.ijk_to_ras)
    np.testing.assert_allclose(
        centroid(cropped.array, cropped.ijk_to_ras), centroid(labels.array, labels.ijk_to_ras), atol=1e-9
    )


def test_metal_darkens_what_lies_between_the_rods():
    water = Volume(np.zeros((60, 130, 130), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    spread = []
    for radius in BY_NAME["Metal rods"].levels:
        image = BY_NAME["Metal rods"].volume(water, radius, np.random.default_rng(0)).array
        k, j, i = (n // 2 for n in image.shape)
        rods = image[k] == 3071
        assert rods[j, i - 20] and rods[j, i + 20]
        assert image[k, j - 2 : j + 3, i - 5 : i + 6].min(0).mean() < -100
        assert not image[: k - 17].any() and not image[k + 17 :].any(), "only slices with metal change"
        spread.append(image[k][~rods].std())
    assert spread == sorted(spread)


def test_what_a_model_loses():
    """A threshold loses nothing by motion and cropping, and by noise as the normal distribution says."""
    volume, labels = phantom()
    chosen = [BY_NAME[name] for name in ("Noise", "Shift", "Field of view")]
    seen = []
    scores = stress_test(volume, labels, bright, perturbations=chosen, progress=lambda *event: seen.append(event[1]))
    drops = {(row["perturbation"], row["level"]): row["drop"] for row in mean_drops(scores)}
    inside = labels.array.sum()
    for sd in BY_NAME["Noise"].levels:
        wrong = norm.sf(150 / sd)
        found, invented = inside * (1 - wrong), (labels.array.size - inside) * wrong
        expected = 2 * found / (found + invented + inside)
        assert drops["Noise", sd] == pytest.approx(1 - expected, abs=0.01)
    assert all(drops["Field of view", level] == 0 for level in (75, 50, 25))
    # Values are interpolated, labels are not: borders may differ by half a voxel of a radius of nine.
    assert all(abs(drops["Shift", level]) < 3 * 0.5 / 9 / 2 for level in BY_NAME["Shift"].levels)
    assert seen == sorted(seen) and seen[-1] == 1


def test_a_structure_that_is_cropped_away_does_not_count(tmp_path):
    volume, labels = phantom(centre=(0, 34, 26))
    scores = stress_test(volume, labels, bright, perturbations=[BY_NAME["Field of view"]])
    assert [row["level"] for row in mean_drops(scores)] == [75]
    write_stress(scores, tmp_path / "stress.csv")
    rows = list(csv.DictReader((tmp_path / "stress.csv").read_text("utf-8").splitlines()))
    assert [row["dice"] for row in rows if row["level"] in ("50", "25")] == ["", ""]


def test_a_reference_on_another_grid_is_refused():
    volume, labels = phantom()
    with pytest.raises(InputError, match="not on the grid"):
        stress_test(volume, replace(labels, array=labels.array[1:]), bright)


def test_a_reference_whose_slices_run_the_other_way_is_cropped_alike():
    array = np.zeros((21, 12, 12), np.uint8)
    array[6:15, 3:9, 3:9] = 1
    liver = [Structure(1, "liver", "Liver")]
    flipped = np.diag([1.0, 1, -1, 1])
    flipped[2, 3] = len(array) - 1
    crops = [p for p in PERTURBATIONS if p.crops]
    scores = stress_test(
        Volume(np.where(array, 40, -1000).astype(np.int16), np.eye(4)),
        LabelMap(np.ascontiguousarray(array[::-1]), flipped, liver),
        lambda ct: LabelMap((ct.array > 0).astype(np.uint8), ct.ijk_to_ras, liver),
        perturbations=crops,
    )
    assert [score.dice for score in scores] == [1.0, 1.0, 1.0]
