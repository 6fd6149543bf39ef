"""Label tables of files from elsewhere."""

import struct

import pytest

from DeepSegLogic.io.nifti_names import read_names


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
