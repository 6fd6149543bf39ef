"""Images from files: geometry as nibabel sees it, and a clear sentence for everything that is no CT volume."""

import gzip
import json
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.cmdline import convert

from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import read_label_map, read_volume, write_label_map, write_volume
from DeepSegLogic.util.errors import InputError

RNG = np.random.default_rng(0)
NRRD = b"NRRD0004\ntype: int16\ndimension: 3\nsizes: 7 6 5\nencoding: raw\n"
DIRECTIONS = b"space directions: (1,0,0) (0,2,0) (0,0,3)\n"
VOXELS = RNG.integers(-1000, 1500, (5, 6, 7)).astype(np.int16)


def oblique(left_handed=False):
    rotation, _ = np.linalg.qr(np.eye(3) + 0.3 * RNG.standard_normal((3, 3)))
    if (np.linalg.det(rotation) < 0) != left_handed:
        rotation[:, 0] *= -1
    matrix = np.eye(4)
    matrix[:3, :3] = rotation @ np.diag([0.8, 0.9, 2.5])
    matrix[:3, 3] = -12.5, 30, 400
    return matrix


def save(path, array=VOXELS, matrix=None):
    """With nibabel, which stores the matrix that it is given."""
    image = nibabel.Nifti1Image(array.transpose(2, 1, 0), oblique() if matrix is None else matrix)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "mit Leerzeichen und Ümlaut 数.nii.gz"])
def test_nifti_grid_equals_nibabel(tmp_path, name, left_handed):
    path = save(tmp_path / name, matrix=oblique(left_handed))
    volume = read_volume(path)
    np.testing.assert_allclose(volume.ijk_to_ras, nibabel.load(path).affine, atol=1e-4)
    np.testing.assert_array_equal(volume.array, VOXELS)
    assert volume.array.dtype == np.int16
    assert volume.array.flags.c_contiguous


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize("scale", [(1, 0), (0, 0), (0, 7), (1, 7), (2.5, -3)])
def test_voxels_of_all_types_and_scales_equal_nibabel(tmp_path, order, kind, scale):
    info = np.iinfo if kind[0] in "iu" else np.finfo
    low, high = max(info(kind).min, -3000), min(info(kind).max, 30000)
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(order + kind))
    array = np.linspace(low, high, 7 * 6 * 5).reshape(7, 6, 5).astype(kind)
    raw = bytearray(nibabel.Nifti1Image(array, oblique(), header).to_bytes())
    raw[112:120] = np.array(scale, f"{order}f4").tobytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(raw))
    volume, reference = read_volume(tmp_path / "a.nii.gz"), nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(volume.array, reference.get_fdata().T, rtol=1e-6)
    assert volume.array.flags.writeable


def test_voxels_are_read_once(tmp_path, monkeypatch):
    def again(_reader):
        raise AssertionError("ITK reads what was read for the check")

    monkeypatch.setattr(sitk.ImageFileReader, "Execute", again)
    np.testing.assert_array_equal(read_volume(save(tmp_path / "a.nii.gz")).array, VOXELS)
    assert read_label_map(save(tmp_path / "b.nii.gz", (VOXELS > 0).astype(np.uint8))).array.any()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("left_handed", [False, True])
def test_what_was_written_comes_back(tmp_path, suffix, left_handed):
    volume = Volume(VOXELS, oblique(left_handed))
    write_volume(volume, tmp_path / f"v{suffix}")
    back = read_volume(tmp_path / f"v{suffix}")
    np.testing.assert_array_equal(back.array, VOXELS)
    np.testing.assert_allclose(back.ijk_to_ras, volume.ijk_to_ras, atol=1e-4)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (VOXELS.astype(np.int32), np.int16),
        (VOXELS.astype(np.float64), np.int16),
        (VOXELS.astype(np.int32) * 100, np.float32),
        (VOXELS + 0.25, np.float32),
        (np.abs(VOXELS).astype(np.uint16), np.int16),
    ],
)
def test_voxels_keep_their_values_in_a_small_type(tmp_path, array, dtype):
    volume = read_volume(save(tmp_path / "a.nii.gz", array))
    assert volume.array.dtype == dtype
    np.testing.assert_allclose(volume.array, array, rtol=1e-6)


def test_scale_and_intercept_are_applied(tmp_path):
    path = save(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([2.0, -1024.0], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)
    np.testing.assert_allclose(read_volume(path).array, VOXELS * 2.0 - 1024)


def test_a_fourth_axis_of_one_frame_is_a_volume(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS[None], isVector=False), str(tmp_path / "a.nrrd"))
    volume = read_volume(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(volume.array, VOXELS)
    assert "fourth axis" in volume.warnings[0]


def test_a_nifti_in_two_files(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(VOXELS.T, oblique()), tmp_path / "a.img")
    for name in ("a.img", "a.hdr"):
        np.testing.assert_array_equal(read_volume(tmp_path / name).array, VOXELS)
    truncate(tmp_path / "a.img")
    with pytest.raises(InputError, match="truncated"):
        read_volume(tmp_path / "a.hdr")


@pytest.mark.parametrize("unit", [("meter", 0.001), ("micron", 1000)])
def test_other_units_than_mm(tmp_path, unit):
    image = nibabel.Nifti1Image(VOXELS.T, np.diag([unit[1]] * 3 + [1]) @ oblique())
    image.header.set_xyzt_units(unit[0])
    nibabel.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_allclose(volume.ijk_to_ras, np.diag([1 / unit[1]] * 3 + [1]) @ image.affine, atol=1e-3)
    assert volume.warnings == []


def test_a_nifti_beside_its_unpacked_namesake(tmp_path):
    for name, shift in (("a.nii", 0), ("a.nii.gz", 7)):
        nibabel.save(nibabel.Nifti1Image(VOXELS.T + np.int16(shift), oblique()), tmp_path / name)
    packed, plain = read_volume(tmp_path / "a.nii.gz"), read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(packed.array, plain.array + 7)
    assert packed.name == "a"


def test_a_nifti_that_says_two_things_or_nothing(tmp_path):
    place = oblique()
    shifted = place.copy()
    shifted[:3, 3] += 5
    image = nibabel.Nifti1Image(VOXELS.T, place)
    said = {}
    for sform, qform in ((1, 1), (1, 0), (0, 1), (2, 1), (1, 2), (0, 0)):
        image.set_sform(place, sform)
        image.set_qform(shifted if sform + qform == 3 else place, qform)
        nibabel.save(image, tmp_path / "a.nii")
        volume = read_volume(tmp_path / "a.nii")
        used = nibabel.load(tmp_path / "a.nii").affine if (sform, qform) != (2, 1) else shifted
        if sform or qform:
            np.testing.assert_allclose(volume.ijk_to_ras, used, atol=1e-4)
        said[sform, qform] = volume.warnings
    assert {key: w[0] for key, w in said.items() if w} == {
        (2, 1): "The file states two positions. As in 3D Slicer, its qform is used; other programs use its sform.",
        (1, 2): "The file states two positions. As in 3D Slicer, its sform is used; its qform states another.",
        (0, 0): "The file does not state the patient's orientation: left and right may be swapped.",
    }


def patched(path, offset, *numbers):
    """A NIfTI with other floats at this place of its header."""
    content = bytearray(path.read_bytes())
    content[offset : offset + 4 * len(numbers)] = np.array(numbers, "<f4").tobytes()
    path.write_bytes(bytes(content))


def test_a_nifti_without_voxel_sizes_has_those_of_its_sform(tmp_path):
    place = oblique()
    image = nibabel.Nifti1Image(VOXELS.T, place)
    image.set_sform(place, 1)
    image.set_qform(None, 0)
    nibabel.save(image, tmp_path / "a.nii")
    patched(tmp_path / "a.nii", 80, 0, 0, 0)
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_allclose(volume.ijk_to_ras, place, atol=1e-4)
    assert "two voxel sizes" in volume.warnings[0]
    patched(tmp_path / "a.nii", 292, np.nan)  # the sform's shift along x
    with pytest.raises(InputError, match="not numbers"):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.nrrd", b"NRRD0004\ntype: uint8\ndimension: 3\nspacings: 1 2 3\n", ["left and right"]),
        ("a.nrrd", b"NRRD0004\ntype: uint8\ndimension: 3\n", ["no voxel size", "left and right"]),
        ("a.nrrd", b"NRRD0004\ntype: uint8\ndimension: 3\nspace: scanner-xyz\n" + DIRECTIONS, ["left and right"]),
        ("a.nrrd", b"NRRD0004\ntype: uint8\ndimension: 3\nspace: left-anterior-superior\n" + DIRECTIONS, []),
        ("a.nrrd", b"NRRD0004\ntype: uint8\ndimension: 3\nspace: LPS\n" + DIRECTIONS, []),
        ("a.mha", b"NDims = 3\nElementSpacing = 1 2 3\nElementType = MET_UCHAR\n", ["left and right"]),
        ("a.mha", b"NDims = 3\nElementType = MET_UCHAR\n", ["no voxel size", "left and right"]),
        (
            "a.mha",
            b"NDims = 3\nElementSpacing = 1 2 3\nElementType = MET_UCHAR\nElementToIntensityFunctionOffset = -1024\n",
            ["offset (-1024)", "left and right"],
        ),
    ],
)
def test_what_a_header_leaves_open_is_said(tmp_path, name, content, said):
    ends = {"a.nrrd": b"encoding: raw\nsizes: 2 3 4\n\n", "a.mha": b"DimSize = 2 3 4\nElementDataFile = LOCAL\n"}
    (tmp_path / name).write_bytes(content + ends[name] + bytes(range(24)))
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.array.ravel(), range(24))
    assert len(volume.warnings) == len(said)
    assert all(s in w for s, w in zip(said, volume.warnings, strict=True))


def truncate(path, keep=0.6):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    return path


def noise(tmp_path, name, use_compression=False):
    """A larger file, so that a part is missing and not only its end."""
    image = sitk.GetImageFromArray(RNG.integers(-1000, 1000, (30, 40, 50)).astype(np.int16))
    sitk.WriteImage(image, str(tmp_path / name), useCompression=use_compression)
    return tmp_path / name


def bad_files(tmp_path):
    """Name of the case, its file, and what the sentence must say."""

    def write(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    def image(name, array, vector=False, spacing=None):
        picture = sitk.GetImageFromArray(array, isVector=vector)
        if spacing:
            picture.SetSpacing(spacing)
        sitk.WriteImage(picture, str(tmp_path / name))
        return tmp_path / name

    def with_header(name, offset, value):
        path = save(tmp_path / name)
        content = bytearray(path.read_bytes())
        content[offset : offset + len(value)] = value
        return write(name, bytes(content))

    def sheared(name):
        matrix = oblique()
        matrix[:3, 2] += 0.4 * matrix[:3, 1]
        return save(tmp_path / name, matrix=matrix)

    nan, inf = VOXELS.astype(np.float32), VOXELS.astype(np.float32)
    nan[1, 2, 3], inf[0, 0, :2] = np.nan, np.inf
    yield "missing", tmp_path / "nowhere.nii", "no file"
    yield "empty file", write("empty.nii.gz", b""), "empty"
    yield "text", write("notes.nii.gz", b"this is not an image"), "not a"
    yield "text without suffix", write("notes", b"this is not an image"), "not an image"
    yield "pdf named nrrd", write("report.nrrd", b"%PDF-1.4 ..."), "not an image"
    yield "truncated .nii", truncate(noise(tmp_path, "t.nii")), "truncated"
    yield "truncated .nii.gz", truncate(noise(tmp_path, "t.nii.gz")), "truncated"
    yield "truncated .nrrd", truncate(noise(tmp_path, "t.nrrd")), "truncated"
    yield "truncated gzipped .nrrd", truncate(noise(tmp_path, "tz.nrrd", True)), "truncated"
    yield "truncated .mha", truncate(noise(tmp_path, "t.mha")), "truncated"
    yield "truncated compressed .mha", truncate(noise(tmp_path, "tz.mha", True)), "truncated"
    noise(tmp_path, "lost.mhd").with_suffix(".raw").unlink()
    yield "missing .raw", tmp_path / "lost.mhd", "lost.raw"
    yield "2D", image("2d.png", VOXELS[0].astype(np.uint8)), "2D"
    yield "one slice", image("slice.nrrd", VOXELS[:1]), "single slice"
    yield "NaN in NIfTI, which ITK makes 0", save(tmp_path / "nan.nii.gz", nan), "1 voxel whose value is NaN"
    yield "compressed, but named .nii", Path(shutil.copy(save(tmp_path / "z.nii.gz"), tmp_path / "z.nii")), "its name"
    yield "NIfTI without suffix", Path(shutil.copy(save(tmp_path / "n.nii"), tmp_path / "n")), "its name"
    nibabel.save(nibabel.Nifti2Image(VOXELS, oblique()), tmp_path / "two.nii")
    yield "NIfTI-2", tmp_path / "two.nii", "NIfTI-2"
    nibabel.save(nibabel.Nifti2Image(VOXELS, oblique()), tmp_path / "two.nii.gz")
    yield "NIfTI-2, compressed", tmp_path / "two.nii.gz", "NIfTI-2"
    swapped = nibabel.Nifti2Image(VOXELS, oblique(), nibabel.Nifti2Header(endianness=">"))
    nibabel.save(swapped, tmp_path / "swapped.nii")
    yield "NIfTI-2, the other order of bytes", tmp_path / "swapped.nii", "NIfTI-2"
    nibabel.save(nibabel.Nifti2Pair(VOXELS, oblique()), tmp_path / "pair.hdr")
    yield "NIfTI-2, a pair", tmp_path / "pair.img", "NIfTI-2"
    nibabel.save(nibabel.Nifti1Image(np.stack([VOXELS, VOXELS], -1)[..., None, :], oblique()), tmp_path / "5d.nii")
    yield "5D", tmp_path / "5d.nii", "5 axes"
    yield (
        "a number that is none",
        write("number.nrrd", NRRD + b"space directions: (1,0,0) (0,!,0) (0,0,1)\n"),
        "damaged",
    )
    yield "detached, without its data", write("d.nhdr", NRRD + b"data file: d.raw\n"), "d.raw, which is not beside"
    yield "in cm", write("cm.nrrd", NRRD + b'space: LPS\nspace units: "cm" "cm" "cm"\n' + DIRECTIONS), "in cm"
    yield "in cm, per axis", write("axes.nrrd", NRRD + b'spacings: 1 1 1\nunits: "mm" "mm" "cm"\n'), "in cm"
    meta = b"NDims = 3\nDimSize = 4 5 6\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\nDistanceUnits = um\n"
    yield "MetaImage in um", write("um.mha", meta + b"ElementDataFile = LOCAL\n" + bytes(120)), "in um"
    directions = b"space: LPS\nspace directions: (1,0,0) (0,1,0) none\nspace origin: (0,0,0)\n"
    yield "an axis without direction", write("none.nrrd", NRRD + directions), "direction for each axis"
    yield "an axis without spacing", write("spacing.nrrd", NRRD + b"spacings: 1 nan 1\n"), "voxel size"
    yield "Slicer's segmentation", write("b.seg.nrrd", NRRD), "is a segmentation"
    yield "4D", image("4d.nrrd", np.stack([VOXELS, VOXELS])), "4D"
    yield "RGB", image("rgb.nrrd", RNG.integers(0, 255, (4, 5, 6, 3)).astype(np.uint8), vector=True), "RGB"
    yield "complex", image("complex.nrrd", VOXELS.astype(np.complex64)), "not a scalar"
    yield "NaN", image("nan.nrrd", nan), "1 voxel whose value is NaN"
    yield "infinite", image("inf.nrrd", inf), "2 voxels"
    yield "constant", image("constant.nrrd", np.full((4, 5, 6), -1000, np.int16)), "-1000"
    for case, offset, size in (("zero", 80, 0.0), ("negative", 84, -2.0), ("NaN", 80, np.nan)):
        content = bytearray(with_header(f"{case}.nii", offset, np.array([size], "<f4").tobytes()).read_bytes())
        content[254:256] = bytes(2)  # no sform, which would state other sizes
        yield f"{case} spacing", write(f"{case}.nii", bytes(content)), "voxel size"
    yield "sheared", sheared("sheared.nii.gz"), "sheared"
    (tmp_path / "nothing").mkdir()
    yield "empty folder", tmp_path / "nothing", "empty"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "readme.txt").write_text("no images here", "utf-8")
    yield "folder without DICOM", tmp_path / "other", "no DICOM series"


def test_bad_input_gets_one_sentence_and_a_remedy(tmp_path):
    for case, path, said in bad_files(tmp_path):
        with pytest.raises(InputError) as caught:
            read_volume(path)
        assert said in caught.value.message, (case, caught.value.message)
        assert caught.value.remedy, case
        assert "\n" not in str(caught.value), case
        assert "sitk" not in str(caught.value).lower(), (case, caught.value.message)


def test_a_nifti_2_is_read_after_what_the_error_advises(tmp_path):
    old, new, matrix = tmp_path / "two.nii.gz", tmp_path / "one.nii.gz", oblique()
    nibabel.save(nibabel.Nifti2Image(VOXELS.T, matrix), old)
    with pytest.raises(InputError) as caught:
        read_volume(old)
    kind = re.search(r"nib-convert of nibabel, image type (\w+)", caught.value.remedy)[1]
    convert.main(["--image-type", kind, str(old), str(new)])
    volume = read_volume(new)
    np.testing.assert_array_equal(volume.array, VOXELS)
    np.testing.assert_allclose(volume.ijk_to_ras, matrix, atol=1e-5)


def test_a_file_that_merely_lacks_its_suffix_is_read(tmp_path, chest_ct):
    shutil.copy(chest_ct, tmp_path / "CT")
    np.testing.assert_array_equal(read_volume(tmp_path / "CT").array, read_volume(chest_ct).array)


@pytest.mark.parametrize(
    ("array", "said"),
    [(VOXELS + 0.5, "whole numbers"), (VOXELS, "range from"), (VOXELS.astype(np.int32) + 90_000, "range from")],
)
def test_what_is_no_label_map_is_refused(tmp_path, array, said):
    with pytest.raises(InputError, match=said):
        read_label_map(save(tmp_path / "a.nii.gz", array))


def test_plain_label_maps_take_the_standard_names(tmp_path):
    array = np.zeros((4, 5, 6), np.int32)
    array[0, 0, :3] = 1, 5, 300
    label_map = read_label_map(save(tmp_path / "labels.nii.gz", array))
    assert [(s.value, s.name) for s in label_map.structures] == [(1, "spleen"), (5, "liver"), (300, "label_300")]
    assert label_map.array.dtype == np.uint16
    assert "does not name its structures" in label_map.warnings[0]


@pytest.mark.parametrize("place", [".", "labelsTr"])
def test_the_dataset_json_of_nnunet_names_label_maps(tmp_path, place):
    """nnU-Net writes it beside its predictions, and has it above its label maps."""
    (tmp_path / place).mkdir(exist_ok=True)
    array = np.zeros((4, 5, 6), np.uint8)
    array[0, 0, :3] = 1, 2, 2
    labels = {"background": 0, "liver": 1, "Tumor of it": 2, "spleen": 3, "ignore": 4}
    table = tmp_path / "dataset.json"
    table.write_text(json.dumps({"labels": labels}))
    label_map = read_label_map(path := save(tmp_path / place / "a.nii.gz", array))
    named = [(1, "liver"), (2, "tumor_of_it"), (3, "spleen")]
    assert [(s.value, s.name) for s in label_map.structures] == named and not label_map.warnings
    for other in ({"liver": 1}, {"all": [1, 2], "tumor": 2}, {"liver": 1, "tumor": "2"}, [1, 2]):
        table.write_text(json.dumps({"labels": other}))  # those of another data set, regions, and damaged ones
        assert "does not name its structures" in read_label_map(path).warnings[0]
    table.write_text(json.dumps({"labels": labels}))
    named_itself = LabelMap(label_map.array, label_map.ijk_to_ras, [Structure(1, "heart"), Structure(2, "aorta")])
    write_label_map(named_itself, path)
    assert [s.name for s in read_label_map(path).structures] == ["heart", "aorta"]


KIDNEY = {"labels": {"kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}, "regions_class_order": [1, 3, 2]}
PARTS = {"labels": {"background": 0, "organs": [1, 2, 3], "tumor": [3]}, "regions_class_order": [1, 3]}


@pytest.mark.parametrize(
    "table, values, named",
    [
        (KIDNEY, [1, 2, 3], {1: "kidney_without_masses", 3: "masses_without_tumor", 2: "tumor"}),
        (KIDNEY, [2], {1: "kidney_without_masses", 3: "masses_without_tumor", 2: "tumor"}),
        (PARTS, [1, 3], {1: "organs_without_tumor", 3: "tumor"}),
        (PARTS, [1, 2, 3], {1: "organs_without_tumor_1", 2: "organs_without_tumor_2", 3: "tumor"}),
        (PARTS, [4], None),
        (KIDNEY | {"regions_class_order": [1, 2]}, [1], None),
        (KIDNEY | {"regions_class_order": [3, 1, 2]}, [1], None),
        (KIDNEY | {"regions_class_order": "132"}, [1], None),
        ({"labels": {"tumor": 2, "kidney": [1, 2]}, "regions_class_order": [2, 1]}, [1], None),
    ],
)
def test_the_regions_of_nnunet_name_label_maps(tmp_path, table, values, named):
    """Names are those of a result by such a model, with which a label map is compared."""
    array = np.zeros((4, 5, 6), np.uint8)
    array[0, 0, : len(values)] = values
    (tmp_path / "dataset.json").write_text(json.dumps(table))
    label_map = read_label_map(save(tmp_path / "a.nii.gz", array))
    if named is None:
        assert "does not name its structures" in label_map.warnings[0]
    else:
        assert {s.value: s.name for s in label_map.structures} == named and not label_map.warnings


def test_region_names_follow_nnunets_own_label_map(tmp_path):
    """Written one after the other, each region leaves what its label is named after."""
    regions = {name: np.isin(np.arange(4), own) for name, own in KIDNEY["labels"].items()}
    written = np.zeros(4, np.uint8)
    for value, region in zip(KIDNEY["regions_class_order"], regions.values(), strict=True):
        written[region] = value
    assert written.tolist() == [0, 1, 2, 3]
    (tmp_path / "dataset.json").write_text(json.dumps(KIDNEY))
    label_map = read_label_map(save(tmp_path / "a.nii.gz", np.tile(written, (2, 2, 1))))
    for value, name in ((s.value, s.name) for s in label_map.structures):
        whole, _, without = name.partition("_without_")
        left = regions[whole] & ~regions[without] if without else regions[whole]
        assert np.array_equal(written == value, left)


def test_gzip_with_garbage_behind_it_is_not_taken_for_whole(tmp_path):
    path = save(tmp_path / "a.nii.gz")
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:-50]))  # a whole gzip stream of a short file
    with pytest.raises(InputError, match="truncated"):
        read_volume(path)
