"""Features against the published values of IBSI's digital phantom, and closed formulas."""

import csv

import numpy as np
import pytest

from DeepSegLogic import InputError, LabelMap, Structure, Volume
from DeepSegLogic.review.features import features, write_features

_ = 0  # outside the region
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [_, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, _, _], [1, 1, 1, 1, 1], [1, 1, _, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, _, _], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ],
    np.int16,
)
IBSI = {  # of the reference manual: three significant digits
    "volume_ml": 0.592,
    "mesh_volume_ml": 0.556,
    "surface_mm2": 388,
    "surface_to_volume": 0.698,
    "sphericity": 0.843,
    "max_diameter_mm": 13.1,
    "major_axis_mm": 11.4,
    "minor_axis_mm": 9.31,
    "least_axis_mm": 8.54,
    "elongation": 0.816,
    "flatness": 0.749,
    "mean": 2.15,
    "variance": 3.05,
    "skewness": 1.08,
    "kurtosis": -0.355,
    "median": 1,
    "minimum": 1,
    "percentile_10": 1,
    "percentile_90": 4,
    "maximum": 6,
    "interquartile_range": 3,
    "value_range": 5,
    "mad": 1.55,
    "robust_mad": 1.11,
    "energy": 567,
    "rms": 2.77,
    "entropy": 1.27,
    "uniformity": 0.512,
}


@pytest.fixture(scope="module")
def found():
    image = np.pad(PHANTOM, 1)
    label_map = LabelMap((image > 0).astype(np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]), [Structure(1, "phantom")])
    return features(label_map, Volume(image, label_map.ijk_to_ras), bin_hu=1)[0]


@pytest.mark.parametrize("name", IBSI)
def test_the_digital_phantom(found, name):
    assert float(f"{getattr(found, name):.3g}") == pytest.approx(IBSI[name], rel=1e-9)


def test_a_ball_and_a_cut_one(tmp_path):
    spacing = np.array([0.8, 1.0, 1.5])  # I, J, K
    k, j, i = np.indices((40, 60, 75))
    near = (((np.stack([i, j, k], -1) - [37, 30, 20]) * spacing) ** 2).sum(-1)
    labels = (near <= 20**2).astype(np.uint8)
    labels[0, 5:9, 5:9] = 2
    structures = [Structure(1, "ball"), Structure(2, "cut"), Structure(3, "absent")]
    grid = np.diag([*spacing, 1])
    rows = features(LabelMap(labels, grid, structures), Volume(np.full(labels.shape, 7, np.int16), grid))
    ball, cut = rows
    assert ball.mesh_volume_ml == pytest.approx(4 / 3 * np.pi * 8, rel=0.01)
    assert ball.max_diameter_mm == pytest.approx(40, abs=1.5)
    for axis in (ball.major_axis_mm, ball.minor_axis_mm, ball.least_axis_mm):
        assert axis == pytest.approx(4 * 20 / np.sqrt(5), rel=0.01)  # of a ball: 4 r / √5
    assert 0.85 < ball.sphericity < 1
    assert (ball.mean, ball.variance, ball.skewness, ball.entropy, ball.uniformity) == (7, 0, 0, 0, 1)
    assert (ball.cut, cut.cut) == (False, True)
    write_features(rows, tmp_path / "f.csv")
    read = list(csv.DictReader((tmp_path / "f.csv").read_text("utf-8").splitlines()))
    assert [r["cut"] for r in read] == ["", "yes"] and float(read[0]["mean"]) == 7


def test_one_voxel_and_another_grid():
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[2, 2, 2] = 1
    label_map = LabelMap(labels, np.eye(4), [Structure(1, "dot")])
    one = features(label_map, Volume(np.full(labels.shape, -50, np.int16), np.eye(4)))[0]
    assert (one.voxels, one.mean, one.major_axis_mm, one.elongation) == (1, -50, 0, 0)
    assert np.isfinite([v for v in vars(one).values() if isinstance(v, float)]).all()
    with pytest.raises(InputError, match="grid"):
        features(label_map, Volume(np.zeros((4, 5, 5), np.int16), np.eye(4)))
