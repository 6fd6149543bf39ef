"""What `DeepSegLogic` offers the Python user: the same names at run time and to mypy, with examples that run."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import DeepSegLogic
from DeepSegLogic import LabelMap, Structure, Volume, write_label_map, write_volume
from DeepSegLogic.data.probabilities import TopProbabilities

STUB = Path(DeepSegLogic.__file__).with_suffix(".pyi")
FUNCTIONS = [n for n in DeepSegLogic.__all__ if inspect.isfunction(getattr(DeepSegLogic, n))]


def test_the_stub_and_the_package_offer_the_same_names():
    imports = [node for node in ast.parse(STUB.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)]
    stubbed = {alias.asname: (node.module, alias.name) for node in imports for alias in node.names}
    assert stubbed.keys() == set(DeepSegLogic.__all__)
    for name, (module, original) in stubbed.items():
        assert name == original
        home = importlib.import_module(f".{module}", "DeepSegLogic")
        assert getattr(home, name) is getattr(DeepSegLogic, name)


def test_no_module_hides_a_public_name():
    """`import DeepSegLogic.refine` would replace the function `DeepSegLogic.refine` by a module."""
    modules = {module.name for module in pkgutil.iter_modules(DeepSegLogic.__path__)}
    assert not modules & set(DeepSegLogic.__all__)
    for module in modules:
        importlib.import_module(f"DeepSegLogic.{module}")
    for name in ("segment", "estimate", "refine", "measure", "make_surfaces", "write_surfaces", "read_volume"):
        assert inspect.isfunction(getattr(DeepSegLogic, name)), name


def test_importing_loads_nothing_heavy():
    code = "import sys, DeepSegLogic; print([m for m in ('torch', 'numpy', 'vtk', 'SimpleITK') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.fixture(scope="module")
def examples_folder(chest_ct, chest_segmentation, tmp_path_factory):
    """The files that the examples read: a chest CT around the left lung, in large voxels, and Slicer's segmentation."""
    folder = tmp_path_factory.mktemp("examples")
    ct, organs = DeepSegLogic.read_volume(chest_ct), DeepSegLogic.read_label_map(chest_segmentation)
    box = (slice(10, 25), slice(44, 92, 2), slice(16, 68, 2))
    matrix = ct.ijk_to_ras @ np.diag([2.0, 2.0, 1.0, 1.0])
    matrix[:3, 3] = (ct.ijk_to_ras @ [16, 44, 10, 1])[:3]
    write_volume(Volume(np.ascontiguousarray(ct.array[box]), matrix), folder / "ct.nrrd")
    labels = LabelMap(np.ascontiguousarray(organs.array[box]), matrix, organs.structures)
    write_label_map(labels, folder / "organs.seg.nrrd")
    return folder


@pytest.mark.parametrize("name", [n for n in DeepSegLogic.__all__ if inspect.getmodule(getattr(DeepSegLogic, n))])
def test_examples(name, examples_folder, tmp_path, monkeypatch):
    item = getattr(DeepSegLogic, name)
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(item) or "", {}, name, None, None)
    if name in FUNCTIONS:
        assert test.examples, f"{name} has no example"
    for file in examples_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    said = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(test, out=said.append)
    assert not said, "".join(said)


RIGHT = """
from pathlib import Path
from DeepSegLogic import LabelMap, Result, SurfaceSet, Volume, make_surfaces, read_volume, segment, write_surfaces

ct: Volume = read_volume("ct.nrrd")
result: Result = segment(ct, "ct_demo", structures=["liver"], progress=lambda stage, fraction, message: None)
organs: LabelMap = result.label_map
ml: float = organs.volume_ml("liver")
surfaces: SurfaceSet = make_surfaces(organs)
files: list[Path] = write_surfaces(organs, Path("surfaces"), ["stl"]).files
model: str = result.provenance["model"]["id"]
seconds: float = result.timings["inference"]
"""
WRONG = """
from DeepSegLogic import Volume, read_volume, segment

segment(1, 2, bogus=4)
read_volume(3)
segment(read_volume("ct.nrrd"), "ct_demo").label_map.volume_ml(5)
Volume("no array", 3)
segment(read_volume("ct.nrrd"), "ct_demo").timings["training"]
from DeepSegLogic import segmnt
"""


def test_mypy_knows_right_use_from_wrong(tmp_path, pytestconfig):
    pytest.importorskip("mypy")
    for name, code in (("right", RIGHT), ("wrong", WRONG)):
        (tmp_path / f"{name}.py").write_text(code, "utf-8")
    command = [sys.executable, "-m", "mypy", "--no-error-summary", tmp_path / "right.py", tmp_path / "wrong.py"]
    # With the project's settings and what `make types` keeps in the project's cache, it takes seconds.
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=pytestconfig.rootpath, timeout=800)
    said = done.stdout.splitlines()
    assert not [line for line in said if "right.py:" in line], done.stdout
    wrong = {int(n) for n in re.findall(r"wrong\.py:(\d+): error:", done.stdout)}
    assert wrong == {4, 5, 6, 7, 8, 9}, done.stdout + done.stderr
    assert 'Unexpected keyword argument "bogus"' in done.stdout


def records():
    """Two equal ones of each kind, and one that differs in a voxel."""
    structures = [Structure(n, f"s{n}") for n in range(1, 40)]

    def made(voxel):
        array = np.zeros((6, 70, 80), np.int16)
        array[0, 0, 0] = voxel
        label_map = LabelMap((array > 0).astype(np.uint8), np.eye(4), structures)
        surface = DeepSegLogic.Surface(structures[0], np.full((500, 3), float(voxel)), np.zeros((900, 3), np.int64))
        return [
            Volume(array, np.eye(4), "chest"),
            label_map,
            DeepSegLogic.Result(label_map, {"s1": 0.5}, uncertainty=array.astype(np.uint8)),
            TopProbabilities(array[None].astype(np.uint8), array[None].astype(np.uint8), np.eye(4)),
            surface,
            DeepSegLogic.SurfaceSet([surface]),
            DeepSegLogic.Refinement(label_map, None, {}),
        ]

    return list(zip(made(1), made(1), made(0), strict=True))


@pytest.mark.parametrize(("one", "same", "other"), records(), ids=lambda record: type(record).__name__)
def test_records_compare_and_show_themselves(one, same, other):
    assert (one == one) is True and (one == same) is True and (one != same) is False
    assert (one == other) is False and (one == 3) is False and (one != None) is True  # noqa: E711
    shown = repr(one)
    assert shown.startswith(type(one).__name__) and len(shown) < 400 and "[[" not in shown and "array(" not in shown


def test_nan_is_equal_to_nan():
    array = np.full((2, 3, 4), np.nan, np.float32)
    assert Volume(array, np.eye(4)) == Volume(array.copy(), np.eye(4))
    assert Volume(array, np.eye(4)) != Volume(array[:1], np.eye(4))


def test_the_repr_names_both_axis_orders():
    volume = Volume(np.zeros((3, 4, 5), np.int16), np.diag([0.5, 0.75, 2.0, 1.0]), "thorax")
    assert repr(volume) == (
        "Volume(name='thorax', dtype='int16', shape_kji=(3, 4, 5), spacing_ijk=(0.5, 0.75, 2.0), orientation='RAS')"
    )
    np.testing.assert_array_equal(volume.spacing_kji, volume.spacing_ijk[::-1])
    assert volume.shape_kji == volume.array.shape


def of_files(function):
    """The parameters of a function that are read from files, and what reads them."""
    readers = {
        "Volume": "read_volume",
        "LabelMap": "read_label_map",
        "TimePoint": "read_time_point",
        "Plan": "read_plan",
    }
    return {
        name: readers[word]
        for name, told in getattr(function, "__annotations__", {}).items()
        for word in re.findall(r"\w+", str(told))
        if word in readers and name != "return" and not {"Path", "Callable"} & set(re.findall(r"\w+", str(told)))
    }


TAKERS = {name: getattr(DeepSegLogic, name) for name in FUNCTIONS} | {
    "Organ": DeepSegLogic.Organ.__init__,
    "CorrectedCases.add": DeepSegLogic.CorrectedCases.add,
    **{f"Server.{name}": getattr(DeepSegLogic.Server, name) for name in ("segment", "refine", "surfaces")},
}


@pytest.mark.parametrize(
    ("name", "parameter", "reader"),
    [(name, parameter, reader) for name, one in TAKERS.items() for parameter, reader in of_files(one).items()],
)
def test_a_path_instead_of_what_is_in_the_file_is_told(name, parameter, reader):
    for path in ("ct.nrrd", Path("ct.nrrd")):
        given = {"PET": path} if parameter == "channels" else path
        with pytest.raises(DeepSegLogic.UsageError, match="is a path") as told:
            TAKERS[name](**{parameter: given})
        assert told.value.remedy == f"Give {reader}('ct.nrrd')."
