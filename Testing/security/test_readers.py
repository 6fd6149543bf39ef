"""Files that lead elsewhere, or break their reader: they are refused in words before a library sees them."""

import gzip
import os
import shutil
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.cohort.cases import find_cases
from DeepSegLogic.io import read_label_map, read_volume
from DeepSegLogic.io.probabilities import read_probabilities
from DeepSegLogic.io.read import voxel_type
from DeepSegLogic.io.slicer_scene import read_slicer_scene
from DeepSegLogic.refinement import read_prompts
from DeepSegLogic.util import free_memory
from DeepSegLogic.util.errors import DeepSegError, InputError, ResourceError

VOXELS = (np.arange(120, dtype=np.int16) % 7).reshape(4, 5, 6)
NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\nendian: little\nencoding: raw\n"
META = "ObjectType = Image\nNDims = {}\nDimSize = 6 5 4\nElementSpacing = 1 1 1\nElementType = MET_SHORT\n"
READERS = (read_volume, read_label_map, voxel_type)
SCENE = '<MRML><Volume id="v" name="CT" references="storage:s;"/><VolumeArchetypeStorage id="s" fileName="{}"/></MRML>'
LEADS_ELSEWHERE = "leads to other files|is not an image|damaged header|not beside|no field"


@pytest.fixture
def secret(tmp_path):
    """A file of just as many bytes as the volumes here have, in a folder that they are not in."""
    (tmp_path / "private").mkdir()
    path = tmp_path / "private" / "secret.raw"
    path.write_bytes(VOXELS.tobytes())
    return path


@pytest.fixture
def given(tmp_path):
    """The folder that the files come in."""
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


def written(path, text, voxels=b""):
    path.write_bytes(text.encode() + voxels)
    return path


def refused(path, said, readers=READERS):
    for read in readers:
        with pytest.raises(InputError, match=said):
            read(path)


def test_what_is_sound_is_read(given):
    """Else the tests here would prove nothing."""
    sound = [
        written(given / "a.nrrd", NRRD + "\n", VOXELS.tobytes()),
        written(given / "b.mha", META.format(3) + "ElementDataFile = LOCAL\n", VOXELS.tobytes()),
        written(given / "c.nhdr", NRRD + "data file: voxels.raw\n\n"),
        written(given / "d.mhd", META.format(3) + "ElementDataFile = voxels.raw\n"),
    ]
    (given / "voxels.raw").write_bytes(VOXELS.tobytes())
    for path in sound:
        np.testing.assert_array_equal(read_volume(path).array, VOXELS)
        np.testing.assert_array_equal(read_label_map(path).array, VOXELS)
        assert voxel_type(path) == np.int16


def test_stimulate_under_another_name(given, secret):
    header = f"numDim: 3\ndim: 6 5 4\ndataType: WORD\nfidName: x\nstimFileName: {secret}\norigin: 0 0 0\nfov: 6 5 4\n"
    for name in ("a.nrrd", "a.nhdr", "a.nii", "a.mha", "a.sdt", "a.spr", "a"):
        refused(written(given / name, header), "is not an? (image|NIfTI)")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (bytes(512) + b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"CDF\x01", "NetCDF or MINC"),
        (b"# vtk DataFile Version 3.0\nx\nBINARY\nDATASET STRUCTURED_POINTS\n", "VTK"),
        (b'<?xml version="1.0"?><VTKFile type="ImageData"/>', "XML"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"II+\0", "TIFF"),
        (bytes(208) + b"MAP ", "MRC"),
        (bytes(252) + struct.pack(">I", 719555000), "GIPL"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\3\4", "ZIP"),
        (b"\x93NUMPY", "NumPy"),
    ],
)
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.nii", "a.nii.gz", "a.h5", "a"])
def test_other_formats_are_refused_by_name(given, content, named, name):
    content += bytes(2000)
    path = given / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    refused(path, f"not an image that can be read, but an? {named}|is not a NIfTI")


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("vtk", ".vtk"),
        ("mrc", ".mrc"),
        ("gipl", ".gipl"),
        ("tif", ".tif"),
        ("hdf5", ".h5"),
        ("mnc", ".mnc"),
        ("lsm", ".lsm"),
    ],
)
def test_what_itk_itself_writes_in_other_formats_is_refused(given, kind, suffix):
    path = given / f"made{suffix}"
    try:
        sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path))
    except RuntimeError:
        pytest.skip(f"this SimpleITK writes no {kind}")
    refused(path, "not an image that can be read")
    for name in ("a.nrrd", "a.mha"):
        shutil.copy(path, given / name)
        refused(given / name, "not an image that can be read")


def elsewhere(secret, given):
    """Names of a secret file, as headers may write them."""
    (given / "link.raw").symlink_to(secret)
    (given / "many").symlink_to(secret.parent)
    return (
        str(secret),
        f"../private/{secret.name}",
        "link.raw",
        "many/secret.raw",
        f"..\\private\\{secret.name}",
        f"./../private/{secret.name}",
        f"LIST\n{secret}",
        f"LIST 2\n{secret}",
        f"{secret.parent}/secret%s.raw 1 1 1",
        "%d.raw 1 1 1",
        "/etc/passwd",
        "/dev/zero",
        "~/secret.raw",
    )


@pytest.mark.parametrize("end", ["\r", "\0", "\v", "\f", " \n", "\t\n", "\r \n"])
def test_what_one_parser_takes_for_the_end_of_a_line(given, secret, end):
    refused(written(given / "a.nrrd", f"{NRRD}content: x{end}data file: {secret}\n\n"), LEADS_ELSEWHERE)
    refused(written(given / "b.nrrd", f"{NRRD}{end}data file: {secret}\n\n"), LEADS_ELSEWHERE)
    refused(written(given / "c.nrrd", f"{NRRD}{end}kinds: {'a' * 1500}\n\n", VOXELS.tobytes()), LEADS_ELSEWHERE)
    refused(written(given / "d.mha", f"Name = x{end}{META.format(3)}ElementDataFile = {secret}\n"), LEADS_ELSEWHERE)


@pytest.mark.parametrize(
    "field", ["data file: ", "datafile: ", "Data File: ", "data file:\t", "data file:=", "DATAFILE:"]
)
@pytest.mark.parametrize("suffix", [".nrrd", ".nhdr", "", ".seg.nrrd", ".seg.nhdr"])
def test_nrrd_with_its_voxels_elsewhere(given, secret, field, suffix):
    readers = [read_label_map] if ".seg" in suffix else READERS
    for name in elsewhere(secret, given):
        refused(written(given / f"a{suffix}", f"{NRRD}{field}{name}\n\n"), LEADS_ELSEWHERE, readers)
        (given / f"a{suffix}").unlink()


@pytest.mark.parametrize(
    "field", ["ElementDataFile = ", "ElementDataFile: ", "ElementDataFile=", " ElementDataFile = "]
)
@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
def test_metaimage_with_its_voxels_elsewhere(given, secret, field, suffix):
    for name in elsewhere(secret, given):
        refused(written(given / f"a{suffix}", f"{META.format(3)}{field}{name}\n"), LEADS_ELSEWHERE)


def test_nifti_in_two_files_with_one_elsewhere(given, secret):
    image = sitk.GetImageFromArray(VOXELS)
    sitk.WriteImage(image, str(given / "a.hdr"))
    np.testing.assert_array_equal(read_volume(given / "a.hdr").array, VOXELS)
    (given / "a.img").unlink()
    (given / "a.img").symlink_to(secret)
    for name in ("a.hdr", "a.img"):
        refused(given / name, LEADS_ELSEWHERE)


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.nhdr", "ct.mha", "ct.mhd", "ct.nii"])
def test_scenes_are_read_in_the_same_way(given, secret, name):
    hostile = {
        "Stimulate": f"numDim: 3\ndim: 6 5 4\ndataType: WORD\nstimFileName: {secret}\n".encode(),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(2000),
        "NRRD": f"{NRRD}data file: {secret}\n\n".encode(),
        "MetaImage": f"{META.format(3)}ElementDataFile = {secret}\n".encode(),
    }
    for kind, content in hostile.items():
        path = given / f"{kind}.mrb"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("s/s.mrml", SCENE.format(name))
            archive.writestr(f"s/{name}", content)
        with pytest.raises(InputError, match=LEADS_ELSEWHERE + "|is not a NIfTI"):
            read_slicer_scene(path)


FIELDS = (
    "content",
    "kinds",
    "space",
    "spacings",
    "units",
    "labels",
    "space origin",
    "space directions",
    "centers",
    "measurement frame",
    "thicknesses",
    "axis mins",
    "byte skip",
    "space units",
    "endian",
    "foo",
    "sample units",
)


def in_child(path):
    """Read a file in a process that may die of it; what it printed."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom DeepSegLogic.util.errors import DeepSegError\n"
        "from DeepSegLogic.io import read_volume\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try: read_volume(path)\n"
        "    except DeepSegError as error: print(path.name, error.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout.decode().split("\n")[:-1]


def test_fields_that_are_too_long_crash_nothing(given):
    long = {name: f"{name}: {'a' * 1500}\n" for name in FIELDS}
    long |= {"a line": "a" * 1500 + "\n", "numbers": f"spacings: {'1 ' * 3000}\n", "quoted": f'units: "{"m" * 1500}"\n'}
    for name, line in long.items():
        written(given / f"{name}.nrrd", f"{NRRD}{line}\n", VOXELS.tobytes())
    assert len(in_child(given)) == len(long)


def test_absurd_numbers_crash_nothing(given):
    for number in ("-1", "0", "11", "300", "1000000000", "99999999999999999999", "nan", "3 3", ""):
        written(given / f"dims {number}.mha", META.format(number) + "ElementDataFile = LOCAL\n", VOXELS.tobytes())
    fields = {
        "Name": "a" * 300,
        "Comment": "a" * 5000,
        "ElementSize": "1 " * 5000,
        "TransformMatrix": "1 " * 5000,
        "ElementNumberOfChannels": "-1",
        "HeaderSize": "-99",
        "CompressedDataSize": "-5",
        "x" * 3000: "1",
        "ElementType": "a" * 3000,
        "DimSize": "6 5 -4",
        "Offset": "1",
        "ObjectType": "a" * 2000,
    }
    for name, value in fields.items():
        begin = f"{name} = {value}\nCompressedData = True\n" if "Compressed" in name else f"{name} = {value}\n"
        text = begin + META.format(3) + "ElementDataFile = LOCAL\n"
        written(given / f"{name[:20]}.mha", text, VOXELS.tobytes())
    for name, line in (
        ("dimension", "1000000"),
        ("sizes", "-6 5 4"),
        ("sizes", "6 5 99999999999999999999"),
        ("byte skip", "-2"),
        ("byte skip", "99999999999"),
        ("type", "block"),
        ("encoding", "zrl"),
    ):
        lines = [x for x in NRRD.splitlines() if not x.startswith(f"{name}:")]
        written(given / f"{name} {line[-5:]}.nrrd", "\n".join([*lines, f"{name}: {line}", "", ""]), VOXELS.tobytes())
    assert len(in_child(given)) == len(list(given.iterdir()))


@pytest.mark.parametrize(("at", "value"), [(40, "<h"), (70, "<h"), (108, "<f"), (0, "<i")])
def test_absurd_numbers_in_nifti_are_refused(given, at, value):
    path = given / "a.nii"
    for number in (-1, 20000, 9):
        sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path))
        content = bytearray(path.read_bytes())
        content[at : at + struct.calcsize(value)] = struct.pack(value, -5e9 if value == "<f" else number)
        path.write_bytes(content)
        refused(path, "damaged|is not a NIfTI", [read_volume])


def test_what_is_announced_must_fit_into_memory(given, monkeypatch):
    monkeypatch.setattr(free_memory, "free_memory", lambda: 1 << 30)
    sizes = "1500 1500 1500"
    small = gzip.compress(bytes(5000))
    gz = NRRD.replace("6 5 4", sizes).replace("raw", "gzip")
    meta = META.format(3).replace("6 5 4", sizes) + "CompressedData = True\nElementDataFile = LOCAL\n"
    image = sitk.GetImageFromArray(VOXELS)
    sitk.WriteImage(image, str(given / "a.nii"))
    nifti = bytearray((given / "a.nii").read_bytes())
    nifti[42:48] = struct.pack("<3h", 1500, 1500, 1500)
    (given / "a.nii.gz").write_bytes(gzip.compress(nifti))
    written(given / "a.nrrd", gz + "\n", small)
    written(given / "a.seg.nrrd", gz + "\n", small)
    written(given / "a.mha", meta, small)
    for name in ("a.nii.gz", "a.nrrd", "a.seg.nrrd", "a.mha"):
        with pytest.raises(ResourceError, match=r"announces 6.8 GB"):
            read_label_map(given / name)
    archive = given / "a.npz"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped, zipped.open("labels.npy", "w") as member:
        for _ in range(1200):
            member.write(bytes(1 << 20))
    with pytest.raises(ResourceError, match=r"announces 1.3 GB"):
        read_probabilities(archive)


def test_what_unpacks_to_more_than_it_announces_is_refused(given):
    image = sitk.GetImageFromArray(VOXELS)
    sitk.WriteImage(image, str(given / "a.nii"))
    (given / "b.nii.gz").write_bytes(gzip.compress((given / "a.nii").read_bytes() + bytes(50 << 20)))
    refused(given / "b.nii.gz", "more voxels are in the file than it announces", [read_volume, read_label_map])
    header = NRRD.replace("raw", "gzip") + "\n"
    written(given / "a.seg.nrrd", header, gzip.compress(VOXELS.tobytes() + bytes(50 << 20)))
    refused(given / "a.seg.nrrd", "more voxels are in the file than it announces", [read_label_map])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["a.nrrd", "a.nii.gz", "a.mhd", "a.seg.nrrd", "a.mrb", "a.json", "a.npz", "a.dcm"])
def test_pipes_are_no_files(given, name):
    os.mkfifo(given / name)
    reads = {"a.mrb": read_slicer_scene, "a.json": read_prompts, "a.npz": read_probabilities}
    with pytest.raises(DeepSegError, match="neither a file nor a folder"):
        reads.get(name, read_label_map)(given / name)
    written(given / "b.nhdr", f"{NRRD}data file: {name}\n\n")
    refused(given / "b.nhdr", "leads to other files|not beside", [read_volume])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
@pytest.mark.timeout(60)
def test_a_folder_with_a_pipe_is_searched(given):
    os.mkfifo(given / "pipe")
    written(given / "a.nrrd", NRRD + "\n", VOXELS.tobytes())
    assert [case.name for case in find_cases([given])] == ["a"]


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"prompts": ' + "[" * 900 + "]" * 900 + "}",
        '{"prompts": [{"structure": "a", "type": "point", "ras": [1, 2, 1' + "0" * 400 + "]}]}",
    ],
)
def test_prompts_that_are_too_deep_or_too_large(given, content):
    with pytest.raises(InputError, match="not a list of prompts"):
        read_prompts(written(given / "a.json", content))
