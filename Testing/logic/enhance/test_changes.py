"""The check of an enhancement, with changes that are known."""

import re
from dataclasses import replace

import numpy as np
import pytest

from DeepSegLogic import Enhanced, InputError, LabelMap, Structure, Volume
from DeepSegLogic.enhance.changes import changes
from DeepSegLogic.enhance.degradations import thickened

MATRIX = np.diag([1.5, 1.5, 2.0, 1.0])
MATRIX[:3, 3] = -10, 20, 5


@pytest.fixture
def ct():
    rng = np.random.default_rng(0)
    return Volume((rng.normal(40, 15, (24, 50, 60))).astype(np.float32), MATRIX, "ct", "CT")


@pytest.fixture
def organs():
    array = np.zeros((24, 50, 60), np.uint8)
    array[4:12, 5:25, 5:25], array[14:22, 25:45, 30:55] = 1, 2
    return LabelMap(array, MATRIX, [Structure(1, "liver", "Liver"), Structure(2, "spleen", "Spleen")])


def with_values(ct, array):
    return Enhanced(replace(ct, array=array.astype(np.float32)), "denoise")


def test_an_unchanged_volume_raises_nothing(ct, organs):
    found = changes(ct, with_values(ct, ct.array), organs)
    assert found.warnings == [] and not found.places and not found.difference.any()
    assert [d.hu for d in found.drifts] == [0, 0] and found.noise_before == found.noise_after


def test_drift_of_an_organ_is_its_change_of_mean_and_5_hu_are_too_much(ct, organs):
    changed = ct.array + 4.0 * (organs.array == 1) - 7.0 * (organs.array == 2)
    found = changes(ct, with_values(ct, changed), organs)
    assert [(d.structure, round(d.hu, 2)) for d in found.drifts] == [("spleen", -7.0), ("liver", 4.0)]
    assert len(found.warnings) == 1
    assert "1 structure by" in found.warnings[0] and "Spleen −7 HU" in found.warnings[0]


@pytest.mark.parametrize(("hu", "word"), [(90, "added"), (-90, "removed")])
def test_a_structure_that_comes_or_goes_is_found_at_its_place(ct, hu, word):
    k, j, i = np.mgrid[:24, :50, :60]
    ball = ((k - 12) * 2.0) ** 2 + ((j - 20) * 1.5) ** 2 + ((i - 30) * 1.5) ** 2 < 6.0**2
    found = changes(ct, with_values(ct, ct.array + hu * ball))
    (place,) = found.places
    assert np.sign(place.hu) == np.sign(hu)
    assert place.ml == pytest.approx(ball.sum() * ct.voxel_ml, rel=0.35)
    assert place.ras == pytest.approx((-10 + 45, 20 + 30, 5 + 24), abs=0.5)
    told = re.search(r" at R ([\d.]+) A ([\d.]+) S ([\d.]+) mm\.$", found.warnings[0])
    assert word in found.warnings[0] and [float(x) for x in told.groups()] == pytest.approx((35, 50, 29), abs=0.5)


def test_removed_noise_is_no_structure(ct):
    from scipy.ndimage import gaussian_filter

    found = changes(ct, with_values(ct, gaussian_filter(ct.array, (0, 1, 1))))
    assert found.warnings == [] and found.noise_after < 0.5 * found.noise_before


def test_padding_does_not_count(ct):
    padded = ct.array.copy()
    padded[:, :5] = -3024
    after = padded.copy()
    after[:, :5] = -1000
    assert changes(replace(ct, array=padded), with_values(ct, after)).warnings == []


def test_thin_slices_are_compared_as_the_scanner_would_see_them(ct):
    fine = replace(ct, array=np.repeat(ct.array[:, :20, :20], 2, 0)[:-1])
    thick = replace(fine, array=thickened(fine.array, 3, 0))
    assert not changes(thick, Enhanced(fine, "slices", 0, 3)).difference.any()


def test_other_grids_are_refused(ct, organs):
    with pytest.raises(InputError, match="same grid"):
        changes(ct, with_values(ct, ct.array[1:]))
    with pytest.raises(InputError, match="same grid"):
        changes(ct, with_values(ct, ct.array), replace(organs, array=organs.array[1:]))
