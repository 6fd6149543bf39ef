"""Names in the header of NIfTI label maps: ours read by others, TotalSegmentator's read by us, and damaged ones."""

import json
from xml.etree import ElementTree

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.io import read_label_map, write_label_map
from DeepSegLogic.labels import LabelMap
from DeepSegLogic.terminology import structure_for

MATRIX = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -7], [0, 0, -3, 40], [0, 0, 0, 1]])


def label_map():
    array = np.random.default_rng(0).choice([0, 1, 29], (5, 6, 7)).astype(np.uint8)
    return LabelMap(array, MATRIX, [structure_for("lung_left", 1), structure_for("a < b & c", 29)])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_what_we_write_others_read(tmp_path, name):
    write_label_map(label_map(), tmp_path / name)
    image = nibabel.load(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(image.dataobj), label_map().array.T)
    np.testing.assert_allclose(image.affine, MATRIX, atol=1e-5)
    (extension,) = image.header.extensions
    table = ElementTree.fromstring(extension.get_content().decode())
    assert {int(e.get("Key")): e.text for e in table.iter("Label")} == {1: "lung_left", 29: "a < b & c"}
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name))), label_map().array)
    found = read_label_map(tmp_path / name)
    assert [(s.value, s.name, s.title) for s in found.structures] == [
        (1, "lung_left", "Left lung"),
        (29, "a_b_c", "A b c"),
    ]
    assert found.warnings == []


def test_names_that_totalsegmentator_wrote(shared_data):
    found = read_label_map(shared_data / "abdomen_ct" / "labels.nii.gz")
    names = json.loads((shared_data / "totalsegmentator_total_labels.json").read_text("utf-8"))
    assert len(found.structures) == 61 and found.warnings == []
    assert all(names[str(s.value)] == s.name for s in found.structures)


def with_table(path, text, offset=None):
    image = nibabel.Nifti1Image(label_map().array.T, MATRIX)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, text.encode()))
    nibabel.save(image, path)
    return path


def test_names_that_lead_elsewhere_or_are_double(tmp_path):
    text = (
        '<Label Red="0" Key="1"><![CDATA[../../x]]></Label><Label Key="29"> ..&#47;x </Label><Label Key="0">a</Label>'
    )
    found = read_label_map(with_table(tmp_path / "a.nii.gz", text))
    assert [s.name for s in found.structures] == ["x", "x_2"]


@pytest.mark.parametrize(
    "text", ["", "<CaretExtension>", '<Label Key="x">a</Label>', '<Label Key="1"></Label>', "\xff" * 50]
)
def test_tables_that_name_nothing(tmp_path, text):
    found = read_label_map(with_table(tmp_path / "a.nii", text))
    assert [s.name for s in found.structures] == ["spleen", "vertebrae_L3"]
    assert "does not name" in found.warnings[0]
