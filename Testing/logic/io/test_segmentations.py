"""Segmentations by other programs and by old versions of 3D Slicer, small and made here."""

import gzip

import numpy as np
import pytest

from DeepSegLogic import LabelMap, Structure, Volume, measure
from DeepSegLogic.data.label_map import Code
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.io import read_label_map, read_volume, write_label_map
from DeepSegLogic.surfaces import write_surfaces
from DeepSegLogic.util.errors import InputError

LIVER = np.zeros((9, 10, 11), np.uint8)
LIVER[2:7, 2:8, 2:8] = 1
TUMOR, BODY = np.zeros_like(LIVER), np.zeros_like(LIVER)
TUMOR[4:6, 4:6, 4:6] = 1
BODY[1:8, 1:9, 1:9] = 1


def written(path, layers, segments, geometry="space: left-posterior-superior", axis=0, kind="unsigned char", more=()):
    """Layers (K, J, I); with several, the axis of the list is ``axis`` of the file's axes."""
    several = len(layers) > 1
    voxels = np.stack(layers) if several else layers[0]
    sizes, directions = (
        list(voxels.shape[:0:-1] if several else voxels.shape[::-1]),
        ["(1,0,0)", "(0,1.5,0)", "(0,0,2)"],
    )
    if several:
        voxels = np.moveaxis(voxels, 0, 3 - axis)
        sizes.insert(axis, len(layers))
        directions.insert(axis, "none")
    lines = ["NRRD0004", f"type: {kind}", f"dimension: {3 + several}", *geometry.splitlines()]
    if "space:" in geometry:
        lines += [f"space directions: {' '.join(directions)}", "space origin: (-10,-20,30)"]
    lines += [f"sizes: {' '.join(map(str, sizes))}", "endian: little", "encoding: gzip"]
    for k, segment in enumerate(segments):
        lines += [f"Segment{k}_{key}:={value}" for key, value in segment.items()]
    path.write_bytes(
        "\n".join([*lines, *more, "", ""]).encode() + gzip.compress(np.ascontiguousarray(voxels).tobytes())
    )
    return path


def named(name, value=1, layer=0, **more):
    return {"ID": name, "Name": name, "LabelValue": value, "Layer": layer} | more


def volumes(label_map):
    return {s.name: round(label_map.volume_ml(s.name) / 0.003) for s in label_map.structures}  # voxels of 3 mm³


THREE = [named("body", layer=0), named("liver", layer=1), named("tumor", layer=2)]
VOXELS = {"body": int(BODY.sum()), "liver": int(LIVER.sum()), "tumor": int(TUMOR.sum())}


@pytest.mark.parametrize("axis", [0, 3])
def test_overlapping_segments_stay_whole(tmp_path, axis):
    label_map = read_label_map(written(tmp_path / "a.seg.nrrd", [BODY, LIVER, TUMOR], THREE, axis=axis))
    assert volumes(label_map) == VOXELS
    assert "overlap" in label_map.warnings[0]
    surfaces = write_surfaces(label_map, tmp_path / "s", ["stl"], printable=True)
    rows = measure(
        label_map, Volume(np.random.default_rng(0).normal(size=BODY.shape).astype("f4"), label_map.ijk_to_ras)
    )
    for row in rows:
        assert row.voxels == VOXELS[row.name]
        assert surfaces.qualities[row.name].mesh_ml == pytest.approx(VOXELS[row.name] * 0.003, rel=0.02)


def test_overlapping_segments_are_written_whole_or_not_at_all(tmp_path):
    label_map = read_label_map(written(tmp_path / "a.seg.nrrd", [BODY, LIVER, TUMOR], THREE))
    write_label_map(label_map, tmp_path / "b.seg.nrrd")
    again = read_label_map(tmp_path / "b.seg.nrrd")
    assert volumes(again) == VOXELS
    np.testing.assert_allclose(again.ijk_to_ras, label_map.ijk_to_ras)
    with pytest.raises(InputError, match="overlap") as caught:
        write_label_map(label_map, tmp_path / "b.nii.gz")
    assert ".seg.nrrd" in caught.value.remedy
    assert not (tmp_path / "b.nii.gz").exists()


def test_voxels_of_no_segment_are_kept_and_told(tmp_path):
    path = written(tmp_path / "a.seg.nrrd", [LIVER + TUMOR], [named("liver")])
    label_map = read_label_map(path)
    assert volumes(label_map) == {"liver": int(LIVER.sum() - TUMOR.sum()), "label_2": int(TUMOR.sum())}
    assert label_map.warnings == [
        "a.seg.nrrd has voxels that belong to none of its segments. They are kept as label 2."
    ]


@pytest.mark.parametrize("color", ["nan 0 0", "red green blue", "1 2", "0 0.5 9"])
def test_a_color_that_is_none_is_not_used(tmp_path, color):
    (liver,) = read_label_map(written(tmp_path / "a.seg.nrrd", [LIVER], [named("liver", Color=color)])).structures
    assert liver.color == (structure_for("liver", 1).color if color != "0 0.5 9" else (0, 128, 255))


@pytest.mark.parametrize(("value", "why"), [("one", "LabelValue of liver is 'one'"), ("", "LabelValue of liver is ''")])
def test_a_label_value_that_is_no_number_is_refused_by_name(tmp_path, value, why):
    with pytest.raises(InputError, match=why):
        read_label_map(written(tmp_path / "a.seg.nrrd", [LIVER], [named("liver", value)]))
    read_label_map(written(tmp_path / "a.seg.nrrd", [LIVER], [named("liver", "1.0")]))


def test_voxel_sizes_that_are_no_numbers_are_refused(tmp_path):
    path = written(tmp_path / "a.seg.nrrd", [LIVER], [named("liver")], "spacings: 1 nan 2")
    with pytest.raises(InputError, match="no usable voxel size"):
        read_label_map(path)


def test_names_of_old_windows_programs_are_read(tmp_path):
    path = written(tmp_path / "a.seg.nrrd", [LIVER], [named("liver", Name="Leber groesse")])
    path.write_bytes(path.read_bytes().replace(b"groesse", "größe".encode("cp1252")))
    assert read_label_map(path).structures[0].title == "Leber größe"


def test_layers_that_do_not_overlap_are_one_label_map(tmp_path):
    label_map = read_label_map(
        written(tmp_path / "a.seg.nrrd", [LIVER, BODY - LIVER], [named("body"), named("rest", layer=1)])
    )
    assert (label_map.layers, label_map.warnings) == ([], [])
    assert int((label_map.array > 0).sum()) == VOXELS["body"]


def test_segments_of_slicer_4(tmp_path):
    old = [{"ID": "Segment_1", "Name": "liver"}, {"ID": "Segment_2", "Name": "rest"}]
    label_map = read_label_map(written(tmp_path / "a.seg.nrrd", [LIVER, BODY - LIVER], old))
    assert [s.title for s in label_map.structures] == ["liver", "rest"]
    np.testing.assert_array_equal(label_map.mask("liver"), LIVER > 0)


@pytest.mark.parametrize(
    ("space", "origin"), [("LPS", [10, 20, 30]), ("RAS", [-10, -20, 30]), ("left-anterior-superior", [10, -20, 30])]
)
def test_spaces(tmp_path, space, origin):
    label_map = read_label_map(written(tmp_path / "a.seg.nrrd", [LIVER], [named("liver")], f"space: {space}"))
    np.testing.assert_allclose(label_map.ijk_to_ras[:3, 3], origin)


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        ([named("liver"), named("tumor")], "tumor in .* same label value as liver"),
        ([named("liver", layer=3)], "layer that is not there"),
    ],
)
def test_segments_whose_voxels_are_not_known_are_refused(tmp_path, segments, said):
    with pytest.raises(InputError, match=said):
        read_label_map(written(tmp_path / "a.seg.nrrd", [LIVER], segments))


@pytest.mark.parametrize("key", ["Segmentation_MasterRepresentation", "Segmentation_SourceRepresentation"])
def test_fractional_segments_are_refused(tmp_path, key):
    path = written(tmp_path / "a.seg.nrrd", [LIVER * 50], [named("liver")], more=[f"{key}:=Fractional labelmap"])
    with pytest.raises(InputError, match="fractional"):
        read_label_map(path)


def test_a_segmentation_under_another_name_keeps_its_names(tmp_path):
    path = written(tmp_path / "organs.nrrd", [LIVER], [named("heart")])
    assert [s.name for s in read_label_map(path).structures] == ["heart"]
    with pytest.raises(InputError, match="is a segmentation"):
        read_volume(path)


def test_short_terminology_and_tags_without_a_colon(tmp_path):
    tags = "checked|Reader: A:B|TerminologyEntry:List~SCT^123037004^Anatomical Structure~SCT^10200004^Liver"
    label_map = read_label_map(written(tmp_path / "a.seg.nrrd", [LIVER], [named("Leber", Tags=tags)]))
    assert label_map.structures[0].type == Code("SCT", "10200004", "Liver")


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".nii.gz"])
def test_names_of_all_alphabets_are_written_and_read(tmp_path, suffix):
    texts = Structure(1, "肝臓", "肝臓 🫀", category=Code("SCT", "1", "Körper"), type=Code("SCT", "2", "肝"))
    label_map = LabelMap(LIVER, np.eye(4), [texts])
    write_label_map(label_map, tmp_path / f"ü{suffix}")
    read = read_label_map(tmp_path / f"ü{suffix}").structures[0]
    assert read.name == "肝臓"
    assert suffix != ".seg.nrrd" or (read.title, read.category, read.type) == (texts.title, texts.category, texts.type)
