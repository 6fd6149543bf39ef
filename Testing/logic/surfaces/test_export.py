"""Surface files, read back by other libraries; and ``deepseg surfaces``."""

import json
import os
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import PureWindowsPath

import numpy as np
import pytest
import trimesh
import vtk
from lxml import etree

from DeepSegLogic.cli import main
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.io import write_label_map
from DeepSegLogic.surfaces import FORMATS, Surface, SurfaceSet, export_surfaces, make_surfaces
from DeepSegLogic.util.errors import UsageError


@pytest.fixture(scope="module")
def labels():
    array = np.zeros((20, 30, 30), np.uint8)
    array[4:14, 4:14, 4:16] = 1
    array[4:14, 14:24, 4:16] = 2
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = 100, -200, 300
    return LabelMap(array, matrix, [structure_for("liver", 1), structure_for("con", 2)])


@pytest.fixture(scope="module")
def surfaces(labels):
    return make_surfaces(labels)


def test_names_that_are_equal_on_some_disks_get_different_files(tmp_path, surfaces):
    """Names that are the same as files, on some disks, are told apart."""
    names = ["Tumor", "tumor", "a/b", "a_b", "a b"]
    one = surfaces["liver"]
    several = [
        Surface(replace(one.structure, name=name), one.points * number, one.triangles)
        for number, name in enumerate(names, start=1)
    ]
    written = export_surfaces(SurfaceSet(several), tmp_path, ["stl"])
    assert len({path.name.casefold() for path in written}) == len(names)
    sizes = [trimesh.load(path, force="mesh").volume for path in written]
    np.testing.assert_allclose(np.array(sizes) / sizes[0], np.arange(1, 6) ** 3, rtol=1e-4)
    scene = export_surfaces(SurfaceSet(several), tmp_path, ["glb"])[0]
    assert len(trimesh.load(scene).geometry) == len(names)


def test_an_unknown_surface_is_refused_with_the_known_names(surfaces):
    with pytest.raises(UsageError, match="no structure named 'livr'") as caught:
        surfaces["livr"]
    assert "liver" in caught.value.remedy


@pytest.mark.parametrize("name", ["aux", "aux.1", "COM¹", "nul.tar.gz", "lpt9.old"])
def test_no_file_is_a_device_of_windows(tmp_path, surfaces, name):
    one = surfaces["liver"]
    several = [Surface(replace(one.structure, name=name), one.points, one.triangles)]
    written = export_surfaces(SurfaceSet(several), tmp_path, ["stl"])
    assert PureWindowsPath(written[0].name).is_reserved() is False


def test_stl_is_what_trimesh_writes_but_for_the_header(tmp_path, surfaces):
    several = export_surfaces(surfaces, tmp_path / "apart", ["stl"], "RAS")
    for path, surface in zip(several, surfaces, strict=True):
        mesh = trimesh.Trimesh(surface.points, surface.triangles, process=False)
        assert path.read_bytes()[80:84] == trimesh.exchange.stl.export_stl(mesh)[80:84]
        written = np.frombuffer(path.read_bytes()[84:], trimesh.exchange.stl._stl_dtype)
        np.testing.assert_array_equal(written["vertices"], mesh.triangles.astype(np.float32))
        np.testing.assert_allclose(written["normals"], mesh.face_normals, atol=1e-6)
    joint = export_surfaces(surfaces, tmp_path / "joint", ["stl"], "RAS", joint=True)[0].read_bytes()
    assert joint[84:] == b"".join(path.read_bytes()[84:] for path in several)


@pytest.mark.parametrize("system", ["LPS", "RAS"])
@pytest.mark.parametrize("kind", ["stl", "ply", "obj"])
def test_meshes_have_the_coordinate_system_that_the_file_names(tmp_path, surfaces, kind, system):
    written = export_surfaces(surfaces, tmp_path, [kind], system)
    assert [p.name for p in written] == [f"liver.{kind}", f"con_.{kind}"]  # con is no file name on Windows
    mesh = trimesh.load(written[0], force="mesh")
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(1200 * 8, rel=2e-3)
    sign = np.array([-1, -1, 1]) if system == "LPS" else np.ones(3)
    np.testing.assert_allclose(mesh.center_mass, sign * (np.array([9.5, 8.5, 8.5]) * 2 + [100, -200, 300]), atol=0.1)
    assert f"SPACE={system}" in written[0].read_bytes()[:300].decode("latin-1")


@pytest.mark.parametrize("kind", ["ply", "obj"])
def test_meshes_have_colours(tmp_path, surfaces, kind):
    visual = trimesh.load(export_surfaces(surfaces, tmp_path, [kind])[0], force="mesh").visual
    shown = visual.vertex_colors if kind == "ply" else np.atleast_2d(visual.material.diffuse)
    np.testing.assert_allclose(shown[:, :3], np.broadcast_to(structure_for("liver", 1).color, (len(shown), 3)), atol=1)


def test_glb_has_names_colours_metres_and_stands_upright(tmp_path, surfaces):
    scene = trimesh.load(export_surfaces(surfaces, tmp_path, ["glb"])[0])
    assert set(scene.geometry) == {"liver", "con"}  # names as everywhere, unlike those of files
    liver = scene.geometry["liver"]
    light = liver.visual.material.baseColorFactor[:3] / 255  # glTF: linear; screens show it by the curve of sRGB
    shown = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(shown, structure_for("liver", 1).color, atol=2)
    assert liver.volume == pytest.approx(1200 * 8e-9, rel=2e-3)
    assert liver.centroid[1] == pytest.approx(0.317, abs=1e-3)  # superior is up


VALIDATE = """
const read = require('fs').readFileSync, validate = require('gltf-validator').validateBytes;
validate(new Uint8Array(read(process.argv[1]))).then((found) => console.log(JSON.stringify(found.issues)));
"""


def issues_of_glb(path):
    """What Khronos' own validator finds, by severity; hints are about speed."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("needs node and npm")
    modules = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, timeout=60).stdout.strip()
    environment = {**os.environ, "NODE_PATH": modules}
    command = ["node", "-e", VALIDATE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    if "Cannot find module 'gltf-validator'" in done.stderr:
        pytest.skip("needs gltf-validator (npm install -g gltf-validator)")
    return json.loads(done.stdout)


def test_the_validator_of_gltf_finds_nothing(tmp_path, surfaces):
    path = export_surfaces(surfaces, tmp_path, ["glb"])[0]
    found = issues_of_glb(path)
    assert (found["numErrors"], found["numWarnings"], found["numInfos"]) == (0, 0, 0), found["messages"]
    content = bytearray(path.read_bytes())
    content[-40:] = b"\xff" * 40  # not a number, where vertices are
    path.write_bytes(content)
    assert issues_of_glb(path)["numErrors"] > 0


def test_3mf_is_in_millimetres(tmp_path, surfaces):
    path = export_surfaces(surfaces, tmp_path, ["3mf"])[0]
    with zipfile.ZipFile(path) as archive:
        model = archive.read("3D/3dmodel.model").decode()
    assert 'unit="millimeter"' in model
    scene = trimesh.load(path)
    assert set(scene.geometry) == {"liver", "con"}
    assert scene.geometry["liver"].volume == pytest.approx(1200 * 8, rel=2e-3)


def test_3mf_has_names_and_colors(tmp_path, surfaces):
    """As its core specification has them: an object refers to a base material."""
    odd = replace(surfaces["liver"].structure, name='<a & "b">')
    several = SurfaceSet([*surfaces, Surface(odd, surfaces["liver"].points, surfaces["liver"].triangles)])
    with zipfile.ZipFile(export_surfaces(several, tmp_path, ["3mf"])[0]) as archive:
        model = etree.fromstring(archive.read("3D/3dmodel.model"))
    core = {"c": "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"}
    (materials,) = model.iterfind("c:resources/c:basematerials", core)
    bases = [(base.get("name"), base.get("displaycolor")) for base in materials]
    objects = model.findall("c:resources/c:object", core)
    ids = [materials.get("id"), *(o.get("id") for o in objects)]
    assert len({*ids}) == len(ids) and {o.get("pid") for o in objects} == {materials.get("id")}
    found = {o.get("name"): bases[int(o.get("pindex"))] for o in objects}
    shown = {name: "#{:02X}{:02X}{:02X}".format(*structure_for(name, 1).color) for name in ("liver", "con")}
    assert {name: found[name] for name in shown} == {name: (name, color) for name, color in shown.items()}
    assert list(found.values())[2] == ('<a & "b">', shown["liver"])
    assert [item.get("objectid") for item in model.iterfind("c:build/c:item", core)] == ids[1:]


@pytest.mark.parametrize("system", ["LPS", "RAS"])
@pytest.mark.parametrize("kind", ["stl", "ply", "obj", "vtp"])
def test_slicer_puts_a_mesh_where_the_structure_is(tmp_path, surfaces, kind, system):
    """Slicer's own reader of models turns what it reads to RAS."""
    slicer = pytest.importorskip("slicer", reason="needs slicer-core (extra `test`)")
    scene, model = slicer.vtkMRMLScene(), slicer.vtkMRMLModelNode()
    scene.AddNode(model)
    model.AddDefaultStorageNode(str(export_surfaces(surfaces, tmp_path, [kind], system)[0]))
    assert model.GetStorageNode().ReadData(model)
    bounds = np.array(model.GetPolyData().GetBounds()).reshape(3, 2)
    np.testing.assert_allclose(bounds.mean(1), np.array([9.5, 8.5, 8.5]) * 2 + [100, -200, 300], atol=0.3)


def test_vtp_opens_in_vtk(tmp_path, surfaces):
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(export_surfaces(surfaces, tmp_path, ["vtp"])[0]))
    reader.Update()
    mass = vtk.vtkMassProperties()
    mass.SetInputConnection(reader.GetOutputPort())
    assert mass.GetVolume() == pytest.approx(1200 * 8, rel=2e-3)


def test_a_joint_file_contains_all_structures(tmp_path, surfaces):
    path = export_surfaces(surfaces, tmp_path, ["stl"], joint=True)[0]
    assert trimesh.load(path, force="mesh", process=False).volume == pytest.approx(2 * 1200 * 8, rel=2e-3)


def test_the_command_writes_files_and_a_report_of_the_checks(tmp_path, labels, capfd):
    write_label_map(labels, tmp_path / "labels.seg.nrrd")
    out = tmp_path / "models"
    assert main(["surfaces", str(tmp_path / "labels.seg.nrrd"), "-o", str(out), "-f", "stl,glb", "--quiet"]) == 0
    assert capfd.readouterr().out == ""
    quality = json.loads((out / "surfaces.json").read_text("utf-8"))
    assert all(q["sound"] and abs(q["drift_percent"]) < 0.5 for q in quality.values())
    assert (out / "liver.stl").exists()


@pytest.mark.parametrize("joint", [False, True])
def test_no_surfaces_make_no_files(tmp_path, joint):
    assert export_surfaces(SurfaceSet([]), tmp_path, list(FORMATS), joint=joint) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-s", "left_ear"], 2, "no structure named"),
        (["-f", "dwg"], 2, "dwg"),
        (["--max-error-mm", "1", "--triangles", "9"], 2, "Give one of them"),
        (["--coordinates", "xyz"], 2, "coordinate system"),
        (["--smoothing", "silky"], 2, "silky"),
    ],
)
def test_bad_settings_are_refused_and_nothing_is_written(tmp_path, labels, capfd, arguments, code, said):
    write_label_map(labels, tmp_path / "labels.nrrd")
    assert main(["surfaces", str(tmp_path / "labels.nrrd"), "-o", str(tmp_path / "out"), *arguments]) == code
    assert said in capfd.readouterr().err
    assert not any((tmp_path / "out").rglob("*.stl"))


def test_an_empty_label_map_is_refused(tmp_path, labels, capfd):
    empty = LabelMap(np.zeros_like(labels.array), labels.ijk_to_ras, [])
    write_label_map(empty, tmp_path / "labels.nii.gz")
    assert main(["surfaces", str(tmp_path / "labels.nii.gz"), "-o", str(tmp_path / "out")]) == 3
    assert "no labelled voxel" in capfd.readouterr().err


def test_structures_are_found_by_title_and_written_once(tmp_path, labels, capfd):
    write_label_map(labels, tmp_path / "labels.nrrd")  # which cannot name them: 1 is taken for the spleen
    arguments = ["surfaces", str(tmp_path / "labels.nrrd"), "-o", str(tmp_path / "out"), "--json"]
    assert main([*arguments, "-s", "SPLEEN, spleen"]) == 0
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert events[-1]["files"] == ["spleen.stl", "surfaces.json"]
    assert any(e["event"] == "warning" and "does not name its structures" in e["message"] for e in events)
