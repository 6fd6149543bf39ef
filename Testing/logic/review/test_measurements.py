"""Measures against SimpleITK's statistics and the corners of voxels themselves."""

import csv
import itertools
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic import InputError
from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.review.measurements import hu_text, measure, write_measurements

MATRIX = np.array([[-1.4, 0.3, 0.2, 12], [0.35, 1.2, -0.4, -70], [0.1, 0.5, 2.6, 900], [0, 0, 0, 1]])  # left-handed


@pytest.fixture(params=[np.uint8, np.uint16])
def rows(request):
    rng = np.random.default_rng(0)
    labels = np.zeros((9, 10, 11), request.param)
    labels[1:4, 2:7, 3:9] = rng.integers(0, 2, (3, 5, 6)) * 2
    labels[5:8, 1:9, 2:10][rng.random((3, 8, 8)) < 0.3] = 5
    image = rng.integers(-1000, 1000, labels.shape).astype(np.int16)
    structures = [structure_for(n, v) for n, v in (("kidney_right", 2), ("liver", 5), ("spleen", 9))]
    found = measure(LabelMap(labels, MATRIX, structures), Volume(image, MATRIX), {"liver": 0.75}, {"liver": 0.5})
    return labels, image, found


def test_numbers_and_boxes(rows):
    labels, image, found = rows
    statistics = sitk.LabelStatisticsImageFilter()
    statistics.Execute(sitk.GetImageFromArray(image), sitk.GetImageFromArray(labels))
    for row, value in zip(found, (2, 5), strict=False):
        assert row.voxels == statistics.GetCount(value)
        assert row.volume_ml == pytest.approx(row.voxels * abs(np.linalg.det(MATRIX)) / 1000)
        assert row.mean_hu == pytest.approx(statistics.GetMean(value))
        assert row.sd_hu == pytest.approx(image[labels == value].std())
        ijk = np.argwhere(labels == value)[:, ::-1]
        ends = np.concatenate([ijk + np.array(c) for c in itertools.product((-0.5, 0.5), repeat=3)])
        ras = ends @ MATRIX[:3, :3].T + MATRIX[:3, 3]
        np.testing.assert_allclose([row.box_min, row.box_max], [ras.min(0), ras.max(0)])
    assert found[1].confidence == 0.75 and found[1].boundary_margin == 0.5 and found[0].confidence is None
    empty = found[2]
    assert (empty.voxels, empty.volume_ml, empty.mean_hu, empty.box_min) == (0, 0.0, None, None)


def test_a_label_map_of_another_place_is_refused_and_one_without_margins_is_not(rows):
    labels, image, found = rows
    structures, volume = [structure_for("kidney_right", 2), structure_for("liver", 5)], Volume(image, MATRIX)
    elsewhere = MATRIX.copy()
    elsewhere[:3, 3] += 50
    for matrix, array in ((elsewhere, labels), (MATRIX @ np.diag([2, 1, 1, 1]), labels[:3])):
        with pytest.raises(InputError, match="does not have the voxels of volume"):
            measure(LabelMap(array, matrix, structures), volume)
    cropped = MATRIX.copy()
    cropped[:3, 3] += MATRIX[:3, :3] @ [2, 1, 1]
    rows = measure(LabelMap(labels[1:8, 1:9, 2:10], cropped, structures), volume)
    assert [(r.voxels, r.mean_hu, r.box_max) for r in rows] == [(r.voxels, r.mean_hu, r.box_max) for r in found[:2]]


def test_axes_in_another_order_are_taken_only_with_their_matrix(rows):
    labels, image, found = rows
    structures, volume = [structure_for("kidney_right", 2), structure_for("liver", 5)], Volume(image, MATRIX)
    turned, order = labels.transpose(2, 1, 0), [2, 1, 0, 3]
    assert [row.mean_hu for row in measure(LabelMap(turned, MATRIX[:, order], structures), volume)] == [
        pytest.approx(row.mean_hu) for row in found[:2]
    ]
    with pytest.raises(InputError, match="does not have the voxels"):
        measure(LabelMap(turned, MATRIX, structures), volume)


def test_labels_beside_the_volume_are_no_structures_of_zero_ml(rows):
    labels, image, _ = rows
    beside = MATRIX.copy()
    beside[:3, 3] -= MATRIX[:3, 0] * 50
    with pytest.raises(InputError, match="lies outside"):
        measure(LabelMap(labels, beside, [structure_for("liver", 5)]), Volume(image[:, :, :8], MATRIX))


def test_csv_has_a_row_for_each(rows, tmp_path):
    write_measurements(rows[2], tmp_path / "m.csv")
    read = list(csv.DictReader((tmp_path / "m.csv").read_text("utf-8").splitlines()))
    assert [r["name"] for r in read] == ["kidney_right", "liver", "spleen"]
    assert [int(r["voxels"]) for r in read] == [r.voxels for r in rows[2]]
    assert float(read[1]["max_S_mm"]) == pytest.approx(rows[2][1].box_max[2], abs=0.01)
    assert (read[2]["mean_hu"], read[2]["min_R_mm"], read[2]["confidence"]) == ("", "", "")


def test_tables_show_the_same_whether_they_come_from_the_file_or_not(rows, tmp_path):
    halfway = [replace(rows[2][0], mean_hu=mean) for mean in (221.4748, -0.04, None)]
    write_measurements(halfway, tmp_path / "measurements.csv")
    with (tmp_path / "measurements.csv").open(encoding="utf-8") as file:
        read = [hu_text(float(row["mean_hu"])) if row["mean_hu"] else "" for row in csv.DictReader(file)]
    assert read == [hu_text(row.mean_hu) for row in halfway] == ["222", "0", ""]


def test_what_the_field_of_view_cuts_is_told(tmp_path):
    labels = np.zeros((12, 40, 40), np.uint8)
    labels[3:9, 18:22, 18:22] = 1  # whole
    labels[9:, 10:14, 20:24] = 2  # reaches the last slice
    labels[4:6, 19:21, 30:34] = 3  # reaches the padding around a round field of view
    labels[4:6, 28:30, 18:22] = 4  # beside an artifact that is as dark as padding
    structures = [structure_for(n, v) for v, n in enumerate(("spleen", "liver", "kidney_left", "kidney_right"), 1)]
    image = np.zeros(labels.shape, np.int16)
    j, i = np.indices(image.shape[1:])
    image[:, np.hypot(j - 19.5, i - 19.5) > 14.2] = -3024
    image[4, 27, 18] = -2500
    rows = measure(LabelMap(labels, np.eye(4), structures), Volume(image, np.eye(4)))
    assert [row.cut for row in rows] == [False, True, True, False]
    assert (rows[0].volume_text, rows[1].volume_text) == ("0.1", "≥ 0.0")
    write_measurements(rows, tmp_path / "m.csv")
    read = list(csv.DictReader((tmp_path / "m.csv").read_text("utf-8").splitlines()))
    assert [r["cut"] for r in read] == ["", "yes", "yes", ""]
    assert not measure(LabelMap(labels, np.eye(4), structures), Volume(image * 0, np.eye(4)))[2].cut


def test_an_empty_structure_beside_overlapping_ones_has_its_row():
    """It is in no layer."""
    names = [Structure(1, "liver", "Liver"), Structure(2, "tumor", "Tumor"), Structure(3, "cyst", "Cyst")]
    both = np.ones((2, 2, 2), np.uint8)
    layers = [LabelMap(both * n, np.eye(4), [s]) for n, s in enumerate(names[:2], 1)]
    found = measure(LabelMap(both, np.eye(4), names, layers=layers), Volume(both.astype(np.int16), np.eye(4)))
    assert [(row.name, row.voxels) for row in found] == [("liver", 8), ("tumor", 8), ("cyst", 0)]
