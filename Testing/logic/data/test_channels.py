"""Several input channels: which volume is which, and all of them on the grid of the first."""

from dataclasses import replace

import numpy as np
import pytest

from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.data.channels import by_number, modality_of, on_grid_of
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.util.errors import InputError, UsageError

NAMES = ["CT", "PET", "T1"]


def test_channels_are_found_by_name_in_any_case_or_by_number():
    assert by_number(NAMES, [("t1", "b"), ("1", "a")], "m") == {1: "a", 2: "b"}
    assert by_number([], [], "m") == {} and by_number(["CT"], [], "m") == {}


@pytest.mark.parametrize(
    ("names", "given", "told"),
    [
        (NAMES, ["PET"], "also needs a volume for the channel T1"),
        (NAMES, ["PET", "T1", "SUV"], "has no channel SUV"),
        (NAMES, ["PET", "T1", "3"], "has no channel 3"),
        (NAMES, ["PET", "T1", "-1"], "has no channel -1"),
        (NAMES, ["PET", "T1", "1"], "PET is given twice"),
        (NAMES, ["CT", "PET", "T1"], "CT is given twice: it is the volume itself"),
        ([], ["PET"], "takes one volume"),
        (["CT"], ["PET"], "takes one volume"),
    ],
)
def test_what_does_not_fit_is_told(names, given, told):
    with pytest.raises(UsageError, match=told) as caught:
        by_number(names, [(name, None) for name in given], "petct")
    assert caught.value.code == "usage.channel" and caught.value.remedy and "petct" in f"petct {caught.value}"


def test_a_missing_channel_is_named_for_the_faces():
    with pytest.raises(UsageError) as caught:
        by_number(NAMES, [("PET", None)], "petct")
    assert (caught.value.action, caught.value.details) == ("give_channel", {"channel": "T1"})


def turned(degrees):
    angle = np.radians(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


def ramp(shape, matrix, dtype=np.float32):
    """A volume whose voxels are a linear function of their place in RAS, which linear interpolation must give back."""
    k, j, i = np.indices(shape)
    r, a, s = ijk_to_ras_points(np.stack([i, j, k], -1).reshape(-1, 3), matrix).T
    return Volume((2 * r - 3 * a + 5 * s + 700).reshape(shape).astype(dtype), matrix, "pet")


@pytest.mark.parametrize("degrees", [0, 25])
@pytest.mark.parametrize("mirror", [1, -1])
def test_a_channel_is_interpolated_in_space(degrees, mirror):
    """Oblique, coarser and left-handed grids: within the other volume, the ramp; outside, its lowest value."""
    first = ramp((20, 30, 24), np.diag([2.0, 2.0, 3.0, 1.0]))
    other = np.diag([4.1 * mirror, 4.1, 5.0, 1.0])
    other[:3, 3] = 8 if mirror > 0 else 36, 6, 5
    channel = ramp((9, 9, 8), turned(degrees) @ other)
    array, _ = on_grid_of(first, channel, "PET")
    k, j, i = np.indices(first.shape_kji)
    points = ijk_to_ras_points(np.stack([i, j, k], -1).reshape(-1, 3), first.ijk_to_ras)
    inverse = np.linalg.inv(channel.ijk_to_ras)
    there = (points @ inverse[:3, :3].T + inverse[:3, 3]).reshape(*first.shape_kji, 3)
    last = np.array(channel.shape_ijk) - 1
    inside = ((there >= 0) & (there <= last)).all(-1)
    outside = ((there < -0.51) | (there > last + 0.51)).any(-1)
    assert inside.sum() > 500 and outside.sum() > 500
    np.testing.assert_allclose(array[inside], first.array[inside], atol=0.01)
    assert (array[outside] == channel.array.min()).all()
    assert array.shape == first.shape_kji and array.dtype == np.float32


def test_the_outermost_half_voxel_belongs_to_a_channel():
    """Slices of 6 mm beside slices of 2 mm over the same length: the first and last of these lie in the outer half."""
    first = Volume(np.ones((9, 4, 4), np.int16), np.diag([1.0, 1.0, 2.0, 1.0]))
    matrix = np.diag([1.0, 1.0, 6.0, 1.0])
    matrix[2, 3] = 2
    channel = Volume(np.arange(100, 400, 100, dtype=np.int16)[:, None, None].repeat(4, 1).repeat(4, 2), matrix)
    array, _ = on_grid_of(first, channel, "PET")
    np.testing.assert_allclose(array[:, 1, 1], [100, 100, 133.333, 166.667, 200, 233.333, 266.667, 300, 300], atol=0.01)


def test_the_same_grid_is_taken_as_it_is():
    first = ramp((5, 6, 7), turned(10))
    array, warnings = on_grid_of(first, replace(first), "PET")
    assert array is first.array and warnings == []


def test_a_channel_elsewhere_is_refused_and_one_that_covers_little_is_told():
    first = ramp((20, 30, 24), np.diag([2.0, 2.0, 3.0, 1.0]))
    matrix = first.ijk_to_ras.copy()
    matrix[0, 3] = 36
    array, warnings = on_grid_of(first, ramp((20, 30, 24), matrix), "PET")
    assert len(warnings) == 1 and "covers only 25% of" in warnings[0] and "lowest value" in warnings[0]
    assert (array[:, :, :17] == array.min()).all()
    matrix[0, 3] = 1000
    with pytest.raises(InputError, match="does not overlap") as caught:
        on_grid_of(first, ramp((20, 30, 24), matrix), "PET")
    assert caught.value.code == "input.overlap" and caught.value.remedy


def test_names_of_channels_tell_the_modality():
    told = {name: modality_of(name) for name in ("CT", "pet", "SUV", "T1ce", "flair", "MR", "noise")}
    assert told == {"CT": "CT", "pet": "PT", "SUV": "PT", "T1ce": "MR", "flair": "MR", "MR": "MR", "noise": None}
