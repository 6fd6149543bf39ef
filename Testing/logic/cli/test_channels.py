"""``--channel`` of the command line."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.cli import main
from DeepSegLogic.io import read_label_map

KINDS = Path(__file__).parents[2] / "data" / "nnunet_kinds"
BOTH = ["--channel", f"PET={KINDS / 'image_1.nii.gz'}", "--channel", f"2={KINDS / 'image_2.nii.gz'}"]


def deepseg(command, *options, model=KINDS / "channels"):
    return main([command, str(KINDS / "image.nii.gz"), "--model", str(model), *map(str, options)])


def test_each_channel_has_its_file(tmp_path):
    assert deepseg("segment", *BOTH, "-o", tmp_path, "--surfaces", "", "--device", "cpu") == 0
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(KINDS / "channels" / "labels.nii.gz")))
    ours = read_label_map(tmp_path / "segmentation.nii.gz").array
    assert np.count_nonzero(ours != theirs) <= 1e-3 * np.count_nonzero(theirs)


def test_the_estimate_takes_them_too(capsys):
    assert deepseg("estimate", *BOTH, "--device", "cpu") == 0
    assert "windows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "Add --channel PET=FILE."),
        (BOTH[:2], "Add --channel T1=FILE."),
        ([*BOTH, "--channel", "T1=b.nii"], "T1 is given twice"),
        ([*BOTH, "--channel", "SUV=b.nii"], "has no channel SUV"),
        ([*BOTH[:2], "--channel", "T1"], "--channel T1 does not name a channel and a file"),
        ([*BOTH[:2], "--channel", "T1=not_there.nii"], "There is no file"),
    ],
)
def test_what_is_wrong_is_told(options, told, tmp_path, capsys):
    assert deepseg("segment", *options, "-o", tmp_path / "out") != 0
    assert told in " ".join(capsys.readouterr().err.split())
    assert not list((tmp_path / "out").glob("*"))


def test_a_time_series_is_no_channel(tmp_path, capsys):
    frame = sitk.ReadImage(str(KINDS / "image_1.nii.gz"))
    sitk.WriteImage(sitk.JoinSeries([frame, frame + 1]), str(tmp_path / "frames.nii.gz"))
    options = ["--channel", f"PET={tmp_path / 'frames.nii.gz'}", *BOTH[2:]]
    assert deepseg("segment", *options, "-o", tmp_path / "out") == 3
    told = " ".join(capsys.readouterr().err.split())
    assert "frames.nii.gz" in told and "4" in told


def test_models_of_one_image_take_no_channel(demo_model, tmp_path, capsys):
    assert deepseg("segment", *BOTH, "-o", tmp_path / "out", model=demo_model) == 2
    assert "takes one volume" in capsys.readouterr().err


def test_a_cohort_has_one_volume_per_case(tmp_path, capsys):
    assert deepseg("cohort", "-o", tmp_path / "out") == 2
    assert "Segment the cases one by one" in " ".join(capsys.readouterr().err.split())
