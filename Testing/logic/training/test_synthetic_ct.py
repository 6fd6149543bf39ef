"""Synthetic CT: every tissue in its range of HU, whatever the draw."""

import numpy as np
import pytest
import torch

from DeepSegLogic.training.cases import BACKGROUND, Case, depth_positions
from DeepSegLogic.training.fields import linear
from DeepSegLogic.training.synthetic_ct import kind_of, paint, scanned

NAMES = ["nothing", "liver", "lung_upper_lobe_left", "vertebrae_L1", "aorta", "urinary_bladder", "colon"]
RANGES = {  # of the mean, HU
    "liver": (-15, 160),
    "lung_upper_lobe_left": (-920, -450),
    "vertebrae_L1": (60, 900),
    "aorta": (15, 440),
    "urinary_bladder": (-25, 420),
}


@pytest.fixture(scope="module")
def case():
    """Six blocks in the middle of 200 mm of nothing."""
    labels = torch.zeros(40, 50, 50, dtype=torch.uint8)
    for value in range(1, 7):
        labels[8:32, 15:35, 6 * value + 2 : 6 * value + 8] = value
    classes = [frozenset({BACKGROUND}), *(frozenset({n}) for n in NAMES[1:])]
    return Case("blocks", labels, NAMES, classes, (4.0, 4.0, 4.0), body=False)


def depth_of(case):
    grid = torch.meshgrid(*(torch.arange(n) * 4.0 for n in case.labels.shape), indexing="ij")
    return linear(case.depth, depth_positions(torch.stack(grid)))


@pytest.mark.parametrize("seed", range(12))
def test_tissues_have_their_hu(case, seed):
    before = case.labels.clone()
    image = paint(case.labels, NAMES, depth_of(case), 4.0, np.random.default_rng(seed))
    assert torch.equal(case.labels, before) and image.shape == before.shape and image.dtype == torch.float32
    for value, name in enumerate(NAMES):
        if name in RANGES:
            lowest, highest = RANGES[name]
            assert lowest < float(image[case.labels == value].mean()) < highest, name


@pytest.mark.parametrize("seed", range(12))
def test_a_body_surrounds_the_organs_and_air_the_body(case, seed):
    depth = depth_of(case)
    image = paint(case.labels, NAMES, depth, 4.0, np.random.default_rng(seed))
    inside = (case.labels == 0) & (depth < 0)
    assert image[inside].numel() == 0 or -130 < float(image[inside].mean()) < 120
    around = (depth > 0) & (depth < 4)
    assert -150 < float(image[around].mean()) < 120
    assert float(image[depth > 110].median()) < -600 if (depth > 110).any() else True


def test_the_seed_decides(case):
    def made(seed):
        rng = np.random.default_rng(seed)
        return scanned(paint(case.labels, NAMES, depth_of(case), 4.0, rng), 4.0, rng)

    assert torch.equal(made(1), made(1)) and not torch.equal(made(1), made(2))


def test_contrast_phases_differ(case):
    aorta = [
        float(paint(case.labels, NAMES, None, 4.0, np.random.default_rng(s))[case.labels == 4].mean())
        for s in range(30)
    ]
    assert min(aorta) < 60 and max(aorta) > 180


def test_scanned_stays_within_ct(case):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        image = scanned(paint(case.labels, NAMES, None, 4.0, rng), 4.0, rng)
        assert float(image.min()) >= -1024 and float(image.max()) <= 3071 and torch.isfinite(image).all()


def test_kinds_follow_names():
    expected = {"rib_left_3": "rib", "vertebrae_S1": "bone", "iliac_vena_left": "vein", "kidney_cyst_left": "fluid"}
    expected |= {"portal_vein_and_splenic_vein": "portal", "adrenal_gland_left": "soft", "pulmonary_vein": "heart"}
    assert {name: kind_of(name) for name in expected} == expected
