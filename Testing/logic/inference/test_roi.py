"""A region of interest: inside of it the labels of the whole volume, with fewer windows; outside nothing."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic import follow_up, read_time_point
from DeepSegLogic.cli import main
from DeepSegLogic.cli.segment_inputs import region
from DeepSegLogic.data.affine import ijk_to_ras_points, reorient
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.inference.roi import cut_by
from DeepSegLogic.io import read_volume, write_label_map
from DeepSegLogic.models.plan import Resampling
from DeepSegLogic.segmentation import estimate, segment
from DeepSegLogic.util.errors import InputError, UsageError

from .tiny import model, volume

BOX = (20, 30, 40, 60, 65, 75)  # RAS mm


def inside(the_volume, box):
    """By the coordinates of every voxel."""
    ijk = np.stack(np.meshgrid(*map(np.arange, the_volume.shape_kji), indexing="ij"), -1)[..., ::-1].reshape(-1, 3)
    ras = ijk_to_ras_points(ijk, the_volume.ijk_to_ras)
    return ((ras >= box[:3]) & (ras <= box[3:])).all(1).reshape(the_volume.shape_kji)


def counted(the_model):
    calls = []
    the_model.networks[0].register_forward_hook(lambda *_: calls.append(1))
    return calls


PLANS = {
    "plain": {},
    "no resampling": {"spacing": (2.5, 1.5, 1.5)},
    "slow axis on its own": {"spacing": (7.0, 1.5, 1.5)},
    "padded": {"patch_size": (48, 32, 16)},
    "transposed": {"transpose": (1, 2, 0), "patch_size": (16, 24, 16)},
    "torch": {"logit_resampling": Resampling("torch", 1, 0, False)},
    "cubic logits": {"logit_resampling": Resampling("spline", 3, 0)},
}


@pytest.mark.parametrize("changes", PLANS.values(), ids=PLANS.keys())
def test_labels_in_a_box_are_those_of_the_whole_volume(changes):
    source, the_model = volume(), model(**changes)
    calls = counted(the_model)
    whole = segment(source, the_model).label_map.array
    windows = len(calls)
    assert len(np.unique(whole)) == 4
    part = segment(source, the_model, roi=BOX).label_map.array
    assert len(calls) - windows <= windows
    np.testing.assert_array_equal(part, np.where(inside(source, BOX), whole, 0))


def test_fewer_windows_are_run_and_told_before():
    source, the_model = volume(), model()
    calls = counted(the_model)
    segment(source, the_model, roi=BOX)
    run = len(calls) - 1  # the first call was the estimate's
    assert run < estimate(source, the_model).windows
    assert estimate(source, the_model, roi=BOX).windows == run


@pytest.mark.parametrize("quality", ["draft", "fast", "standard"])
@pytest.mark.parametrize("changes", PLANS.values(), ids=PLANS.keys())
def test_the_estimate_and_the_run_plan_the_same_windows(changes, quality):
    source, the_model = volume((33, 47, 61), (1.3, 1.7, 2.3)), model(**changes)
    calls = counted(the_model)
    roi = (20, 20, 20, 55, 60, 50)
    segment(source, the_model, roi=roi, quality=quality, device="cpu")
    run = len(calls) - 1  # the first call was the estimate's
    assert estimate(source, the_model, roi=roi, quality=quality, device="cpu").windows == run


def test_what_the_region_cuts_is_told():
    mask = np.zeros((6, 8, 8), bool)
    mask[:3, 2:6, 2:6] = True  # ends with the volume on one side
    labels = np.zeros(mask.shape, np.uint8)
    labels[0, 3, 3], labels[2, 4, 4], labels[1, 3, 5], labels[1, 4, 3] = 1, 2, 3, 4
    assert cut_by(mask, labels) == {2, 3}
    the_volume, the_model = volume((16, 16, 16), (2.0, 2.0, 2.0)), model(spacing=(2.0, 2.0, 2.0))
    mask = np.zeros(the_volume.shape_kji, bool)
    mask[4:12, 4:12, 4:12] = True
    result = segment(the_volume, the_model, roi=mask)
    assert any("region of interest ends in" in sentence for sentence in result.warnings), result.warnings
    at_border = result.label_map.array.copy()
    at_border[5:11, 5:11, 5:11] = 0
    reach = [s.name for s in result.label_map.structures if (at_border == s.value).any()]
    assert result.cut == reach != [] and not segment(the_volume, the_model).cut
    assert not any("region of interest" in sentence for sentence in segment(the_volume, the_model).warnings)


def test_an_oblique_grid_in_any_order():
    source, the_model = volume(), model()
    turn = np.eye(4)
    turn[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    array, matrix = reorient(source.array, turn @ source.ijk_to_ras, "SPL")
    turned = Volume(np.ascontiguousarray(array), matrix)
    box = (-20, 30, 20, 30, 70, 70)
    whole = segment(turned, the_model).label_map.array
    part = segment(turned, the_model, roi=(30, 70, 20, -20, 30, 70)).label_map.array
    np.testing.assert_array_equal(part, np.where(inside(turned, box), whole, 0))


def test_a_mask_of_any_form():
    source, the_model = volume(), model()
    mask = np.zeros(source.shape_kji, np.uint8)
    mask[5:9, 10:30, 20:30] = 3
    mask[20:22, 12:14, 60:] = 1
    whole = segment(source, the_model).label_map.array
    result = segment(source, the_model, roi=mask, uncertainty=True)
    np.testing.assert_array_equal(result.label_map.array, np.where(mask, whole, 0))
    assert not result.uncertainty[mask == 0].any()


def test_regions_that_cannot_be():
    source, the_model = volume(), model()
    with pytest.raises(InputError, match="holds no voxel"):
        segment(source, the_model, roi=(500, 500, 500, 600, 600, 600))
    with pytest.raises(UsageError, match="does not fit"):
        segment(source, the_model, roi=(1, 2, 3))
    with pytest.raises(UsageError, match="does not fit"):
        segment(source, the_model, roi=np.ones((3, 3, 3)))
    source.array[:, :, 40:] = -1000
    with pytest.raises(InputError, match="nothing of volume in the region"):  # in the air that "fast" leaves out
        segment(source, the_model, roi=(95, 0, 0, 120, 100, 100), quality="fast")


def test_command_line(demo_model, chest_ct, tmp_path, capfd):
    """On the real CT: a box and a mask that say the same; what is wrong with them."""
    source = read_volume(chest_ct)
    box = (-60, -60, -200, 20, 20, -120)
    common = ["segment", str(chest_ct), "-o", str(tmp_path / "out"), "--surfaces", "", "--quiet"]
    assert main([*common, "--roi", ",".join(map(str, box)), "--uncertainty"]) == 0
    by_box = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "segmentation.nii.gz")))
    settings = json.loads((tmp_path / "out" / "provenance.json").read_text("utf-8"))["settings"]
    assert settings["roi"] == list(box)
    assert settings["uncertainty"] is True
    uncertain = sitk.ReadImage(str(tmp_path / "out" / "uncertainty.nii.gz"))
    assert uncertain.GetPixelID() == sitk.sitkUInt8
    assert uncertain.GetSize() == sitk.ReadImage(str(chest_ct)).GetSize()
    assert by_box.any()
    mask = inside(source, box)
    assert not by_box[~mask].any()
    write_label_map(LabelMap(mask.astype(np.uint8), source.ijk_to_ras, []), tmp_path / "mask.nii.gz")
    by_mask = segment(source, demo_model, roi=region(source, chest_ct, "", tmp_path / "mask.nii.gz"))
    np.testing.assert_array_equal(by_mask.label_map.array, by_box)

    assert main([*common, "--roi", "1,2,three"]) == 2
    assert main([*common, "--roi", "1,2,3,4,5,6", "--roi-mask", "x.nii"]) == 2
    write_label_map(LabelMap(mask[:-1].astype(np.uint8), source.ijk_to_ras, []), tmp_path / "other.nii.gz")
    assert main([*common, "--roi-mask", str(tmp_path / "other.nii.gz")]) == 3
    assert "not on the grid" in capfd.readouterr().err


def test_what_the_region_cuts_is_a_lower_bound_in_every_table(demo_model, chest_ct, tmp_path, capfd):
    """A box through the left lung: in the follow-up its change is unknown."""
    command = ["segment", str(chest_ct), "--surfaces", "", "-s", "lung_left,lung_right"]
    assert main([*command, "-o", str(tmp_path / "whole"), "-q"]) == 0
    whole = {row.name: row for row in read_time_point(tmp_path / "whole").measured()}
    low, high = np.array(whole["lung_right"].box_min) - 5, np.array(whole["lung_right"].box_max) + 5
    low[0] = np.mean([whole["lung_left"].box_min[0], whole["lung_left"].box_max[0]])
    capfd.readouterr()
    assert main([*command, "-o", str(tmp_path / "part"), "--roi", ",".join(map(str, (*low, *high)))]) == 0
    assert "region of interest; the volume is a lower bound" in " ".join(capfd.readouterr().out.split())
    with (tmp_path / "part" / "measurements.csv").open(encoding="utf-8") as file:
        assert {row["name"]: row["cut"] for row in csv.DictReader(file)}["lung_left"] == "yes"
    found = follow_up(*(read_time_point(tmp_path / name) for name in ("whole", "part")))
    (left,) = (change for change in found.changes if change.name == "lung_left")
    assert left.cut_after and left.change_ml is None
