"""The extension built and installed by real CMake, with a stand-in for Slicer's build system, then run in the host."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from DeepSegLogic import ModelCard

CHECKOUT = Path(__file__).resolve().parents[2]
MODULES = Path("lib/Slicer-5.10/qt-scripted-modules")

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="needs CMake")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The installed tree's folder of scripted modules."""
    build, prefix = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("installed")
    configure = ["cmake", "-S", CHECKOUT, "-B", build, f"-DSlicer_DIR={Path(__file__).parent}"]
    for command in (configure, ["cmake", "--build", build], ["cmake", "--install", build, "--prefix", prefix]):
        done = subprocess.run(list(map(str, command)), capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr
    return prefix / MODULES


def test_all_that_is_needed_and_nothing_else(installed):
    def files(root):
        found = {p.relative_to(root) for p in root.rglob("*") if p.is_file()}
        return {p for p in found if not {"__pycache__", "Screenshots"} & {*p.parts}}

    assert files(installed / "DeepSegLogic") == files(CHECKOUT / "DeepSegLogic")
    assert files(installed / "DeepSegLib") == files(CHECKOUT / "DeepSegExtension" / "DeepSegLib")
    assert files(installed / "Resources") == files(CHECKOUT / "Resources")
    assert not (installed / "Resources" / "Screenshots").exists()
    top = {p.name for p in installed.iterdir()}
    assert top == {"DeepSeg.py", "DeepSegLib", "DeepSegLogic", "Resources"}


def test_the_installed_module_runs(installed, chest_ct, demo_model, tmp_path):
    """In a process that sees the installed tree only; the worker must find it too."""
    pytest.importorskip("PySide6", reason="needs PySide6")
    code = f"""
import sys
sys.path[:0] = [{str(CHECKOUT / "Testing")!r}, {str(installed)!r}]
import host
desktop = host.start()
panel = desktop.load_module({str(installed / "DeepSeg.py")!r})
import DeepSegLogic, numpy, slicer
assert DeepSegLogic.__file__.startswith({str(installed)!r}), DeepSegLogic.__file__
from DeepSegLogic.io import read_volume
volume = read_volume({str(chest_ct)!r})
node = slicer.util.addVolumeFromArray(numpy.ascontiguousarray(volume.array[8:20, 40:90, 40:90]))
node.SetSpacing(3, 3, 10)
result = panel.logic.segment(node)
print(result.GetSegmentation().GetNumberOfSegments(), panel.logic.sceneSession.session._client.log)
desktop.reset()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) == len(ModelCard.read(demo_model).structures)


def test_a_file_that_is_not_there_is_fatal(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(
        CHECKOUT,
        source,
        ignore=shutil.ignore_patterns(".git", ".venv*", "Testing", "demo-output", "__pycache__"),
        symlinks=True,
    )
    (source / "DeepSegExtension" / "DeepSegLib" / "bridge.py").unlink()
    command = ["cmake", "-S", source, "-B", tmp_path / "build", f"-DSlicer_DIR={Path(__file__).parent}"]
    done = subprocess.run(list(map(str, command)), capture_output=True, encoding="utf-8")
    assert done.returncode != 0 and "bridge.py" in done.stderr


def test_catalogue_entry_and_icon():
    entry = json.loads((CHECKOUT / "DeepSeg.json").read_text(encoding="utf-8"))
    assert entry["category"] == "Segmentation" and entry["build_dependencies"] == ["PyTorch"]
    assert entry["scm_url"].endswith(".git") and entry["scm_revision"] == "main"
    cmake = (CHECKOUT / "CMakeLists.txt").read_text(encoding="utf-8")
    for line in re.findall(r"set\(EXTENSION_.*", cmake):
        assert re.fullmatch(r'set\(EXTENSION_[A-Z_]+ "[^"\n]+"\)', line), line  # one tight line each
    assert "find_package(Slicer REQUIRED)" in cmake
    from PIL import Image

    with Image.open(CHECKOUT / "Resources" / "Icons" / "DeepSeg.png") as icon:
        assert icon.size == (128, 128)
