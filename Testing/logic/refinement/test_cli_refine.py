"""``deepseg refine`` from files to a file."""

import json
import pickle
import zipfile
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.cli import main
from DeepSegLogic.data.itk import sitk_image
from DeepSegLogic.data.probabilities import TopProbabilities
from DeepSegLogic.data.volume import volume_digest
from DeepSegLogic.io import read_label_map, read_volume, write_label_map, write_volume
from DeepSegLogic.io.probabilities import read_probabilities, write_probabilities
from DeepSegLogic.util.errors import InputError


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
    (tmp_path / "prompts.json").write_text(json.dumps({"prompts": [click]}), "utf-8")
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


def test_a_new_label_beyond_the_voxel_type_of_the_file_is_kept(files, phantom):
    labels = phantom.truth.astype(np.int8)
    labels[0] = 127
    sitk.WriteImage(sitk_image(labels, phantom.matrix()), str(files / "full.nii.gz"))
    click = {"structure": "lesion", "type": "point", "positive": True, "ras": phantom.ras(20, 45, 50)}
    (files / "prompts.json").write_text(json.dumps({"prompts": [click], "add": ["lesion"]}), "utf-8")
    assert refine(files, "full.nii.gz", "fixed.nii.gz") == 0
    after = np.asarray(nibabel.load(files / "fixed.nii.gz").dataobj)
    assert after.max() == 128 and after.min() == 0 and after[50, 45, 20] == 128


def test_a_file_without_suffix_is_read_by_its_content(files, phantom):
    sitk.WriteImage(sitk_image(phantom.truth, phantom.matrix()), str(files / "labels.nrrd"))
    (files / "labels.nrrd").rename(files / "labels")
    assert refine(files, "labels", "fixed.nii.gz") == 0
    assert read_label_map(files / "fixed.nii.gz").array.any()


def test_a_seg_nrrd_keeps_its_segments_and_may_be_replaced(files):
    before = read_label_map(files / "labels.seg.nrrd")
    assert refine(files, "labels.seg.nrrd", "labels.seg.nrrd") == 0
    after = read_label_map(files / "labels.seg.nrrd")
    assert after.structures == before.structures and after.array.dtype == before.array.dtype
    assert after.volume_ml("liver") > before.volume_ml("liver") and after.volume_ml("spleen") == before.volume_ml(
        "spleen"
    )
    assert not [p for p in files.iterdir() if p.name.startswith(".deepseg")]


def test_a_single_voxel_is_no_change_of_zero(files, phantom, capsys):
    assert refine(files, "labels.nii.gz", "fixed.nii.gz", "--reach", "0") == 0
    voxel_ml = abs(np.linalg.det(phantom.matrix()[:3, :3])) / 1000
    assert f"Liver: +{voxel_ml:.1g} ml\n" in capsys.readouterr().out and voxel_ml < 0.05


def test_satisfied_prompts_leave_the_file_equal(files, capsys):
    assert refine(files, "labels.nii.gz", "fixed.nii.gz") == 0
    once = (files / "fixed.nii.gz").read_bytes()
    assert refine(files, "fixed.nii.gz", "again.nii.gz") == 0
    assert "Nothing changed" in capsys.readouterr().out
    first, second = nibabel.load(files / "fixed.nii.gz"), nibabel.load(files / "again.nii.gz")
    assert np.asarray(first.dataobj).tobytes() == np.asarray(second.dataobj).tobytes()
    assert refine(files, "fixed.nii.gz", "fixed.nii.gz") == 0
    assert len((files / "fixed.nii.gz").read_bytes()) == pytest.approx(len(once), rel=0.01)


def test_json_reports_what_changed(files, capsys):
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
    (files / "prompts.json").write_text(json.dumps(prompts), "utf-8")
    before = (files / "labels.nii.gz").read_bytes()
    assert refine(files, "labels.nii.gz", "labels.nii.gz") == code
    assert says in capsys.readouterr().err
    assert (files / "labels.nii.gz").read_bytes() == before


def test_an_unknown_suffix_is_refused(files):
    assert refine(files, "labels.nii.gz", "fixed.txt") == 2


def test_a_missing_image_is_refused(files, capsys):
    assert main(["refine", str(files / "labels.nii.gz"), "-p", str(files / "prompts.json"), "-o", "x.nii.gz"]) == 2
    assert "--image" in capsys.readouterr().err


def believed(volume, value=40):
    """A network that believed in the structures of the phantom a little more than their labels tell."""
    labels = np.stack([np.full(volume.shape_kji, 5, np.uint8), np.zeros(volume.shape_kji, np.uint8)])
    values = np.stack([np.full(volume.shape_kji, value, np.uint8), np.full(volume.shape_kji, 255 - value, np.uint8)])
    return TopProbabilities(labels, values, volume.ijk_to_ras, volume_digest(volume))


def test_probabilities_are_used_when_they_are_given(files):
    write_probabilities(believed(read_volume(files / "ct.nii.gz")), files / "probabilities.npz")
    assert refine(files, "labels.nii.gz", "without.nii.gz") == 0
    assert refine(files, "labels.nii.gz", "with.nii.gz", "--probabilities", str(files / "probabilities.npz")) == 0
    without, with_them = (read_label_map(files / n).array for n in ("without.nii.gz", "with.nii.gz"))
    assert (without != with_them).any()


def test_probabilities_of_another_volume_are_refused(files, phantom, capsys):
    other = replace(phantom.volume, array=phantom.volume.array + np.int16(1))
    write_probabilities(believed(other), files / "probabilities.npz")
    assert refine(files, "labels.nii.gz", "x.nii.gz", "--probabilities", str(files / "probabilities.npz")) == 3
    assert "belong to another volume" in capsys.readouterr().err
    assert not (files / "x.nii.gz").exists()


def test_probabilities_come_back_as_they_were(phantom, tmp_path):
    top = believed(phantom.volume)
    write_probabilities(top, tmp_path / "p.npz")
    again = read_probabilities(tmp_path / "p.npz")
    for name in ("labels", "values", "ijk_to_ras"):
        np.testing.assert_array_equal(getattr(again, name), getattr(top, name))
    assert again.volume_digest == top.volume_digest


@pytest.mark.parametrize(
    "content",
    [
        b"nothing of the kind",
        b"PK\x03\x04 cut off",
        pickle.dumps({"labels": 1}),
        {"labels": np.zeros((1, 2, 2, 2), np.uint8)},
        {"labels": np.zeros((1, 2, 2, 2), np.uint8), "values": np.zeros((1, 2, 2, 3), np.uint8)},
        {"labels": np.array([{"a": 1}], dtype=object), "values": np.zeros(1)},
    ],
)
def test_files_that_hold_no_probabilities_are_refused(tmp_path, content):
    path = tmp_path / "p.npz"
    if isinstance(content, dict):
        np.savez(path, ijk_to_ras=np.eye(4), volume_digest="", **content)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match="not a file of kept probabilities"):
        read_probabilities(path)
    with pytest.raises(InputError, match="There is no file"):
        read_probabilities(tmp_path / "none.npz")


def test_probabilities_that_claim_to_be_immense_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive, archive.open("labels.npy", "w") as file:
        facts = {"descr": "|u1", "fortran_order": False, "shape": (1, 10**5, 10**5, 10**5)}
        np.lib.format.write_array_header_1_0(file, facts)
    with pytest.raises(InputError, match="not a file of kept probabilities"):
        read_probabilities(tmp_path / "p.npz")


def test_the_reach_says_how_much_changes(files):
    before = read_label_map(files / "labels.nii.gz").array
    gained = {}
    for reach in ("0", "0.5", "1", "2"):
        assert refine(files, "labels.nii.gz", "fixed.nii.gz", "--reach", reach) == 0
        gained[reach] = int((read_label_map(files / "fixed.nii.gz").array != before).sum())
    assert gained["0"] == 1
    assert gained["0.5"] == pytest.approx(gained["1"] / 2, rel=0.02)
    assert gained["2"] > gained["1"]
    assert refine(files, "labels.nii.gz", "other.nii.gz", "--reach", "-1") == 2
    assert not (files / "other.nii.gz").exists()
