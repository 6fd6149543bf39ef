"""On Windows, ITK opens only files with names in ASCII. Short names (8.3) stand for others, as links do elsewhere."""

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import write_series

from DeepSegLogic import InputError, OutputError, read_volume, write_volume
from DeepSegLogic.data import itk
from DeepSegLogic.data.volume import Volume

VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
FILES = ["ct.nii.gz", "größe.nii", "größe.nii.gz", "größe.nrrd", "größe.mha"]


@pytest.fixture(autouse=True)
def windows(monkeypatch):
    """ITK as on Windows."""
    if os.name == "nt":
        return

    def only_ascii(call):
        def called(it, name, *arguments, **options):
            opens = name.isascii() and not leads_to_other_letters(name)
            return call(it, name if opens else "no such folder/ct.nrrd", *arguments, **options)

        return called

    monkeypatch.setattr(itk, "_ONLY_ASCII", True)
    monkeypatch.setattr(sitk.ImageFileReader, "SetFileName", only_ascii(sitk.ImageFileReader.SetFileName))
    monkeypatch.setattr(sitk, "WriteImage", only_ascii(sitk.WriteImage))


@pytest.fixture
def short_names(monkeypatch, tmp_path_factory):
    """Names of at most eight letters, with endings of at most three."""
    if os.name == "nt":
        return
    links = tmp_path_factory.mktemp("links")

    def short_name(path):
        link = links / f"NAME~{len(list(links.iterdir()))}{path.suffix[:4].upper()}"
        link.symlink_to(path.absolute())
        return str(link)

    monkeypatch.setattr(itk, "_short_name", short_name)


@pytest.fixture
def no_short_names(monkeypatch):
    monkeypatch.setattr(itk, "_short_name", str)


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "Müller 医院"
    folder.mkdir()
    return folder


def leads_to_other_letters(name) -> bool:
    """Whether a file is a header whose voxels are in a file with other letters than ASCII."""
    return name.endswith((".mhd", ".nhdr")) and Path(name).exists() and not Path(name).read_bytes().isascii()


def write_plainly(path: Path) -> None:
    """By ITK, under another name."""
    plain = path.parents[1] / f"plain{''.join(path.suffixes)}"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(plain))
    plain.rename(path)


@pytest.mark.parametrize("name", FILES)
def test_files_with_other_letters_are_written_and_read(short_names, home, name):
    write_volume(Volume(VOXELS, np.eye(4)), home / name)
    assert sorted(p.name for p in home.iterdir()) == [name]
    assert (read_volume(home / name).array == VOXELS).all()


@pytest.mark.parametrize("header", ["plain.mhd", "plain.nhdr"])
@pytest.mark.parametrize("name", ["plain.raw", "größe.raw"])
def test_a_header_beside_its_voxels_is_read(short_names, home, header, name):
    write_plainly(home / header)
    (voxels,) = home.parent.glob("plain.raw*")
    voxels.rename(home / (name + voxels.suffix.removeprefix(".raw")))
    text = (home / header).read_text("utf-8").replace("plain.raw", name)
    (home / header).write_text(text, "utf-8")
    assert (read_volume(home / header).array == VOXELS).all()


@pytest.mark.parametrize("name", FILES)
def test_without_short_names_a_copy_is_read(no_short_names, home, name):
    write_plainly(home / name)
    assert (read_volume(home / name).array == VOXELS).all()


@pytest.mark.parametrize("name", FILES)
def test_where_there_is_no_name_at_all_it_is_told(no_short_names, home, name, monkeypatch):
    write_plainly(home / name)
    monkeypatch.setattr("tempfile.tempdir", str(home))
    with pytest.raises(InputError) as error:
        read_volume(home / name)
    assert error.value.code == "input.name" and str(home / name) in error.value.message
    with pytest.raises(OutputError, match="cannot be written"):
        write_volume(Volume(VOXELS, np.eye(4)), home / name)


def test_a_series_with_other_letters_is_read(short_names, home):
    write_series(home / "Übersicht")
    assert read_volume(home / "Übersicht").array.ndim == 3
