"""``deepseg refine`` from files to a file."""

import json

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.cli import main
from DeepSegLogic.io import read_label_map, write_label_map, write_volume
from DeepSegLogic.io.writing import sitk_image


@pytest.fixture
def files(phantom, tmp_path):
    """Image, label map with a bite in the liver, and one click into it."""
    array = phantom.truth.copy()
    k, j, i = np.ogrid[:40, :48, :56]
    array[(array == 5) & ((k - 20) ** 2 + (j - 22) ** 2 + (i - 9) ** 2 < 49)] = 0
    write_volume(phantom.volume, tmp_path / "ct.nii.gz")
    sitk.WriteImage(sitk_image(array.astype(np.int32), phantom.matrix()), str(tmp_path / "labels.nii.gz"))
    write_label_map(phantom.labels(array), tmp_path / "labels.seg.nrrd")
    click = {"structure": "Liver", "type": "point", "positive": True, "ras": phantom.ras(20, 22, 10)}
    (tmp_path / "prompts.json").write_text(json.dumps({"prompts": [click]}))
    return tmp_path


def refine(folder, labels, output, *more):
    paths = ["--image", folder / "ct.nii.gz", "--prompts", folder / "prompts.json", "-o", folder / output]
    return main(["refine", str(folder / labels), *map(str, paths), *more])


def test_a_nifti_keeps_grid_and_voxel_type(files, phantom):
    assert refine(files, "labels.nii.gz", "fixed.nii.gz") == 0
    before, after = nibabel.load(files / "labels.nii.gz"), nibabel.load(files / "fixed.nii.gz")
    np.testing.assert_array_equal(before.affine, after.affine)
    assert before.get_data_dtype() == after.get_data_dtype() == np.int32
    changed = np.asarray(before.dataobj) != np.asarray(after.dataobj)
    assert changed.any() and (np.asarray(after.dataobj)[changed] == 5).all()
    kept = np.isin(np.asarray(before.dataobj), (1, 2))
    np.testing.assert_array_equal(np.asarray(after.dataobj)[kept], np.asarray(before.dataobj)[kept])


def test_a_seg_nrrd_keeps_its_segments_and_may_be_replaced(files):
    before = read_label_map(files / "labels.seg.nrrd")
    assert refine(files, "labels.seg.nrrd", "labels.seg.nrrd") == 0
    after = read_label_map(files / "labels.seg.nrrd")
    assert after.structures == before.structures and after.array.dtype == before.array.dtype
    assert after.volume_ml("liver") > before.volume_ml("liver") and after.volume_ml("spleen") == before.volume_ml(
        "spleen"
    )
    assert not [p for p in files.iterdir() if p.name.startswith(".deepseg")]


def test_satisfied_prompts_leave_the_file_equal(files, capsys):
    assert refine(files, "labels.nii.gz", "fixed.nii.gz") == 0
    once = (files / "fixed.nii.gz").read_bytes()
    assert refine(files, "fixed.nii.gz", "again.nii.gz") == 0
    assert "Nothing changed" in capsys.readouterr().out
    first, second = nibabel.load(files / "fixed.nii.gz"), nibabel.load(files / "again.nii.gz")
    assert np.asarray(first.dataobj).tobytes() == np.asarray(second.dataobj).tobytes()
    assert refine(files, "fixed.nii.gz", "fixed.nii.gz") == 0
    assert len((files / "fixed.nii.gz").read_bytes()) == pytest.approx(len(once), rel=0.01)


def test_json_tells_what_changed(files, capsys):
    assert refine(files, "labels.nii.gz", "fixed.nii.gz", "--json") == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["event"] == "result" and list(result["changes_ml"]) == ["liver"] and result["skipped"] == {}


@pytest.mark.parametrize(
    ("prompts", "code", "says"),
    [
        ({"prompts": [{"structure": "livr", "type": "point", "ras": [0, 0, 0]}]}, 2, "liver"),
        ({"prompts": [{"structure": "liver", "type": "point", "ras": [0, 0, 9000]}]}, 3, "outside the volume"),
        ({"prompts": []}, 3, "prompts"),
    ],
)
def test_errors_leave_what_was_there(files, capsys, prompts, code, says):
    (files / "prompts.json").write_text(json.dumps(prompts))
    before = (files / "labels.nii.gz").read_bytes()
    assert refine(files, "labels.nii.gz", "labels.nii.gz") == code
    assert says in capsys.readouterr().err
    assert (files / "labels.nii.gz").read_bytes() == before


def test_an_unknown_suffix_is_refused(files):
    assert refine(files, "labels.nii.gz", "fixed.txt") == 2


def test_without_an_image(files, capsys):
    assert main(["refine", str(files / "labels.nii.gz"), "-p", str(files / "prompts.json"), "-o", "x.nii.gz"]) == 2
    assert "--image" in capsys.readouterr().err
