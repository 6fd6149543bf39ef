"""Body composition against the voxels themselves."""

import csv

import numpy as np
import pytest

from DeepSegLogic import InputError, LabelMap, Structure, Volume
from DeepSegLogic.data.affine import reorient
from DeepSegLogic.review.body_composition import WHOLE, body_composition, write_body_composition

NAMES = ("subcutaneous_tissue", "muscle", "abdominal_cavity", "bones")
CENTRES = {"L2": 50, "L3": 35, "L4": 20}  # slices


@pytest.fixture(scope="module")
def body():
    """A patient of nested boxes with random HU, 4 mm slices; and three vertebrae."""
    rng = np.random.default_rng(0)
    labels = np.zeros((70, 40, 40), np.uint8)
    for value, margin in ((1, 2), (2, 6), (3, 12), (4, 18)):
        labels[:, margin:-margin, margin:-margin] = value
    hu = rng.integers(-250, 250, labels.shape).astype(np.int16)
    spine = np.zeros_like(labels)
    for n, slice_ in enumerate(CENTRES.values(), 1):
        spine[slice_ - 3 : slice_ + 4, 18:22, 18:22] = n
    grid = np.diag([2.0, 2.0, 4.0, 1.0])
    regions = LabelMap(labels, grid, [Structure(n, name) for n, name in enumerate(NAMES, 1)])
    vertebrae = LabelMap(spine, grid, [Structure(n, f"vertebrae_{name}") for n, name in enumerate(CENTRES, 1)])
    return regions, Volume(hu, grid), vertebrae


def expected(body, slices):
    (regions, volume, _), ml = body, 2 * 2 * 4 / 1000
    labels, hu = regions.array[slices], volume.array[slices]
    masks = {
        "subcutaneous fat": (labels == 1) & (hu >= -190) & (hu <= -30),
        "visceral fat": (labels == 3) & (hu >= -150) & (hu <= -50),
        "intermuscular fat": (labels == 2) & (hu >= -190) & (hu <= -30),
        "muscle": (labels == 2) & (hu >= -29) & (hu <= 150),
        "bone": labels == 4,
    }
    return {name: (mask.sum() * ml, hu[mask].mean()) for name, mask in masks.items()}


@pytest.mark.parametrize("orientation", ["RAS", "LPI"])
def test_volumes_areas_and_hu(body, orientation):
    turned = []
    for one in body:
        array, matrix = reorient(one.array, one.ijk_to_ras, orientation)
        array = np.ascontiguousarray(array)
        more = (one.structures,) if isinstance(one, LabelMap) else ()
        turned.append(type(one)(array, matrix, *more))
    rows = {(r.tissue, r.level): r for r in body_composition(*turned)}
    for level, slices in {WHOLE: slice(None), "L2": slice(43, 58), "L3": slice(28, 43), "L4": slice(13, 28)}.items():
        for tissue, (ml, hu) in expected(body, slices).items():
            row = rows[tissue, level]
            assert row.volume_ml == pytest.approx(ml) and row.mean_hu == pytest.approx(hu)
            assert row.cut == (level == WHOLE)  # at both ends of the scan
            assert row.area_cm2 == (None if level == WHOLE else pytest.approx(10 * row.volume_ml / 60))


def test_what_the_sides_of_the_scan_cut(body):
    regions, volume, vertebrae = body
    wide = regions.array.copy()
    wide[30, 20, 0] = 1  # at L3
    rows = body_composition(LabelMap(wide, regions.ijk_to_ras, regions.structures), volume, vertebrae)
    assert {r.level for r in rows if r.cut and r.tissue == "subcutaneous fat"} == {WHOLE, "L3"}


def test_levels_need_neighbours_inside_the_scan(body):
    regions, volume, vertebrae = body
    one = LabelMap((vertebrae.array == 2).astype(np.uint8), vertebrae.ijk_to_ras, [Structure(1, "vertebrae_L3")])
    assert {r.level for r in body_composition(regions, volume, one)} == {WHOLE}
    assert {r.level for r in body_composition(regions, volume)} == {WHOLE}


def test_regions_that_are_not_there(body, tmp_path):
    regions, volume, vertebrae = body
    muscle = LabelMap((regions.array == 2).astype(np.uint8), regions.ijk_to_ras, [Structure(1, "muscle")])
    rows = body_composition(muscle, volume, vertebrae)
    assert {r.tissue for r in rows} == {"muscle", "intermuscular fat"}
    write_body_composition(rows, tmp_path / "b.csv")
    read = list(csv.DictReader((tmp_path / "b.csv").read_text("utf-8").splitlines()))
    assert len(read) == len(rows) and read[0]["area_cm2"] == "" and read[0]["cut"] == "yes"
    with pytest.raises(InputError, match="no region"):
        body_composition(vertebrae, volume)
    with pytest.raises(InputError, match="grid"):
        body_composition(muscle, Volume(volume.array[1:], volume.ijk_to_ras))
