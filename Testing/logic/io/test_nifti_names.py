"""Names in the header of NIfTI label maps: ours read by others, TotalSegmentator's read by us, and damaged ones."""

import json
import struct
import subprocess
import sys
import time
from xml.etree import ElementTree

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.io import read_label_map, write_label_map
from DeepSegLogic.io.nifti_names import read_names

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


def test_the_same_label_map_gives_the_same_file_at_any_time(tmp_path, monkeypatch):
    write_label_map(label_map(), tmp_path / "a.nii.gz")
    first = (tmp_path / "a.nii.gz").read_bytes()
    monkeypatch.setattr(time, "time", lambda: 1e9)
    write_label_map(label_map(), tmp_path / "a.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == first


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


@pytest.fixture
def table(tmp_path):
    """Makes the beginning of a NIfTI with this text in its extension."""

    def make(text):
        content = text.encode()
        head = bytearray(348)
        struct.pack_into("<i", head, 0, 348)
        struct.pack_into("<f", head, 108, 352 + 8 + len(content))
        path = tmp_path / "labels.nii"
        path.write_bytes(head + b"\1\0\0\0" + struct.pack("<2i", 8 + len(content), 0) + content)
        return path

    return make


def test_names_are_read_in_all_ways_of_writing_them(table):
    text = (
        '<LabelTable><Label Key="0" Red="0">???</Label><Label Key="1" Red="1">\n <![CDATA[spleen]]>\n</Label>'
        '<Label Red="1" Key="2">  kidney &amp; co </Label><Label Key="3"></Label></LabelTable>'
    )
    assert read_names(table(text)) == {1: "spleen", 2: "kidney & co"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["<Label>" + " " * 10**6, "<Label><![CDATA[" * 10**5, "<Label" * 10**5])
def test_a_table_made_to_take_for_ever_does_not(table, text):
    assert read_names(table(text)) == {}


def test_a_nifti_label_map_is_read_without_importing_what_reads_dicom(tmp_path):
    """That takes an eighth of the time of a process that reads one."""
    write_label_map(label_map(), tmp_path / "a.nii.gz")
    script = (
        "import sys; from DeepSegLogic.io import read_label_map\n"
        "read_label_map(sys.argv[1])\n"
        "assert not [name for name in sys.modules if name.startswith('DeepSegLogic.io.dicom')]\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "a.nii.gz")], check=True)
