"""The contrast phase by the median HU of structures."""

import numpy as np
import pytest

from DeepSegLogic import LabelMap, Structure, Volume, read_label_map, read_volume
from DeepSegLogic.classify.phase_rule import median_hu, phase_from
from DeepSegLogic.data.label_grid import placed_on


@pytest.mark.parametrize(
    ("medians", "phase"),
    [
        ({"aorta": 45, "inferior_vena_cava": 42, "kidney_left": 30}, "plain"),
        ({"aorta": 320, "portal_vein_and_splenic_vein": 90, "inferior_vena_cava": 200}, "arterial"),
        ({"aorta": 150, "portal_vein_and_splenic_vein": 165}, "venous"),
        ({"aorta": 110, "inferior_vena_cava": 95, "liver": 90}, "venous"),
        ({"aorta": 300}, "arterial"),
        ({"aorta": 140, "liver": 110}, "venous"),
        ({"aorta": 140, "liver": 55}, ""),
        ({"aorta": 50, "kidney_left": 150}, ""),  # excretion: nothing is left in the vessels
        ({"aorta": 72}, ""),
        ({"aorta": 200, "portal_vein_and_splenic_vein": 145}, ""),
        ({"liver": 110}, ""),
        ({}, ""),
    ],
)
def test_rule(medians, phase):
    assert phase_from(medians) == phase


def test_medians_of_what_is_large_enough():
    array = np.zeros((10, 10, 10), np.uint8)
    array[:5], array[9, 9, :5] = 1, 2
    hu = np.random.default_rng(0).normal(130, 20, array.shape).astype(np.float32)
    label_map = LabelMap(array, np.eye(4), [Structure(1, "aorta"), Structure(2, "liver"), Structure(3, "heart")])
    assert median_hu(label_map, Volume(hu, np.eye(4))) == {"aorta": pytest.approx(np.median(hu[:5]))}


@pytest.mark.parametrize(
    ("ct", "labels", "phase"),
    [
        ("abdomen_ct/ct.nii.gz", "abdomen_ct/labels.nii.gz", "plain"),
        ("abdomen_ct_dicom/series", "abdomen_ct_dicom/labels.nii.gz", "venous"),
    ],
)
def test_real_scans(shared_data, ct, labels, phase):
    volume = read_volume(shared_data / ct)
    medians = median_hu(placed_on(volume, read_label_map(shared_data / labels)), volume)
    assert phase_from(medians) == phase
