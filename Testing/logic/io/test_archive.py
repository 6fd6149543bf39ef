"""A zip file of a study is opened like its folder, and never written outside a temporary one."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from DeepSegLogic.io import read_volume, write_volume
from DeepSegLogic.util.errors import InputError
from Testing.logic.io.test_dicom import VOXELS, write_series


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, source in files.items():
            archive.writestr(name, Path(source).read_bytes())  # `write` would drop a drive's name on Windows
    return path


@pytest.fixture
def slices(tmp_path):
    folder = write_series(tmp_path / "slices")
    return {f"study/CT/{p.name}": p for p in folder.iterdir()}


def test_a_zip_of_slices(tmp_path, slices):
    volume = read_volume(zipped(tmp_path / "Study.ZIP", slices))
    np.testing.assert_array_equal(volume.array, VOXELS.astype(int) - 1024)
    assert volume.warnings == []


def test_a_zip_of_one_image(tmp_path, slices):
    volume = read_volume(next(iter(slices.values())).parent)
    write_volume(volume, tmp_path / "ct.nii.gz")
    again = read_volume(zipped(tmp_path / "a.zip", {"ct.nii.gz": tmp_path / "ct.nii.gz", "README.txt": __file__}))
    np.testing.assert_array_equal(again.array, volume.array)
    with pytest.raises(InputError, match="2 volumes"):
        read_volume(zipped(tmp_path / "b.zip", dict.fromkeys(("a.nii.gz", "b.nii.gz"), tmp_path / "ct.nii.gz")))


@pytest.mark.parametrize("name", ["../a.dcm", "C:\\a.dcm"])
def test_a_zip_that_leads_elsewhere_is_refused(tmp_path, slices, name):
    path = zipped(tmp_path / "a.zip", slices | {name: next(iter(slices.values()))})
    with pytest.raises(InputError, match="outside its folder"):
        read_volume(path)


def test_what_is_wrong_in_a_zip_is_said_of_the_zip(tmp_path):
    for content in ({"a.txt": __file__}, {}):
        path = zipped(tmp_path / "a.zip", content)
        with pytest.raises(InputError) as caught:
            read_volume(path)
        assert str(path) in str(caught.value)
        assert "deepseg" not in str(caught.value).replace(str(path), "").lower()
    path.write_bytes(b"PK\3\4 and no more")
    with pytest.raises(InputError, match="not a complete zip file"):
        read_volume(path)
