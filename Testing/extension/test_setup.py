"""What is installed, when, and what is not."""

import shutil
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

from DeepSegLogic.util.errors import ResourceError
from DeepSegLogic.util.version import DISTRIBUTION

for needed in ("PySide6", "slicer"):
    pytest.importorskip(needed, reason="needs PySide6-Essentials and slicer-core")

EXTENSION = Path(__file__).resolve().parents[2] / "DeepSegExtension"


def test_set_up_is_offered_with_consent(desktop, monkeypatch):
    from DeepSegLib import dependencies

    monkeypatch.setattr(dependencies, "missing", lambda: ["filelock>=3.13"])
    panel = desktop.load_module(EXTENSION / "DeepSeg.py")
    assert panel.ui.setupFrame.visible and not panel.ui.mainWidget.visible
    assert "filelock" in panel.ui.setupLabel.text
    desktop.answers["Install the packages"] = False
    panel.ui.setupButton.click()
    assert desktop.pip_requests == []
    desktop.answers["Install the packages"] = True
    panel.ui.wheelsPathLineEdit.currentPath = "wheels"
    panel.ui.setupButton.click()  # the host refuses to install: the reason is shown
    assert desktop.pip_requests == ["--no-deps --no-index --find-links wheels filelock>=3.13"]
    assert "pip download" in desktop.messages[-1].text
    desktop.errors.clear()  # Slicer shows it and prints it, too
    monkeypatch.undo()
    panel.enter()
    assert panel.ui.mainWidget.visible and panel.ui.segmentButton is not None


def test_too_old_a_package_is_missing(tmp_path, monkeypatch):
    from DeepSegLib import dependencies

    folders = ("psutil-5.8.1", "torch-2.5.1+cpu", "Typing_Extensions-4.0", "lxml-5rc1", "trimesh-4.10")
    for folder in folders:  # before the others on the path
        (tmp_path / f"{folder}.dist-info").mkdir()
        (tmp_path / f"{folder}.dist-info" / "METADATA").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert dependencies.missing() == ["psutil>=5.9", "lxml>=5", "torch>=2.6"]


def test_what_is_not_installed_is_missing(tmp_path, monkeypatch):
    from DeepSegLib import dependencies

    (tmp_path / "scipy-99.dist-info").mkdir()  # pip left it behind
    (tmp_path / "requests-2.31.egg-info").mkdir()  # installed as long ago
    (tmp_path / "requests-2.31.egg-info" / "PKG-INFO").write_text(
        "Metadata-Version: 2.1\nName: requests\nVersion: 2.31"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(p for p in sys.path if not p.endswith("site-packages"))])
    everything = [*dependencies.NEEDED, dependencies.TORCH]
    assert dependencies.missing() == [needed for needed in everything if needed != "requests>=2.31"]


def test_installed_versions_are_those_of_the_metadata():
    """As the standard library reads them, for every package that is installed here."""
    from importlib.metadata import distributions, version

    from DeepSegLib import dependencies

    found = dependencies._installed()
    names = {d.metadata["Name"] for d in distributions() if d.metadata["Name"]}
    assert len(names) > 50
    for name in names:
        assert found[dependencies._plain(name)] == version(name), name


def test_what_is_needed_is_needed_elsewhere_too():
    """The same versions as pip installs with the command line."""
    from DeepSegLib import dependencies

    told = sorted(map(Requirement, requires(DISTRIBUTION)), key=lambda r: r.marker is None)  # those of extras first
    ours = {r.name.lower(): r for r in told}
    for needed in map(Requirement, dependencies.NEEDED):
        if needed.name.lower() in ours:
            assert needed.specifier == ours[needed.name.lower()].specifier, needed.name
    torch = Requirement(dependencies.TORCH).specifier
    assert torch.contains("2.6") and not torch.contains("2.5.1")


def test_a_slicer_for_intel_macs_is_told_before_anything_is_installed(desktop, monkeypatch):
    from DeepSegLib import dependencies

    monkeypatch.setattr(dependencies, "missing", lambda: ["filelock>=3.13", "torch>=2.6"])
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(ResourceError, match="Intel Macs"):
        dependencies.install()
    assert desktop.pip_requests == []


@pytest.fixture
def failing(desktop, monkeypatch):
    """Installs packages into a Slicer in which pip fails; returns what was asked of it, and the dialogs."""
    from DeepSegLib import dependencies

    def install(missing, folder="", **offer):
        monkeypatch.setattr(dependencies, "missing", lambda: missing)
        monkeypatch.setattr(sys, "platform", "linux")
        desktop.pip.offer(**offer)
        panel = desktop.load_module(EXTENSION / "DeepSeg.py")
        desktop.answers["Install the packages"] = True
        desktop.pip_requests.clear()
        desktop.messages.clear()
        panel.ui.wheelsPathLineEdit.currentPath = folder
        panel.ui.setupButton.click()
        desktop.errors.clear()  # Slicer prints it, too
        return list(desktop.pip_requests), [m.text for m in desktop.messages if m.kind != "question"]

    return install


@pytest.mark.parametrize("packaging", [False, True])
@pytest.mark.parametrize(
    ("missing", "folder", "asked", "says"),
    [
        (["filelock>=3.13"], "", "--no-deps filelock>=3.13", "pip download --no-deps filelock>=3.13"),
        (["torch>=2.6"], "", "light-the-torch>=0.5", "press Set up again"),
        (["torch>=2.6"], "wheels", "--no-index --find-links wheels torch>=2.6", "pip download"),
        (["filelock>=3.13", "torch>=2.6"], "", "--no-deps filelock>=3.13", "proxy settings"),
    ],
)
def test_an_installation_that_fails_shows_one_dialog_with_a_remedy(failing, packaging, missing, folder, asked, says):
    """In Slicer 5.10, and from 5.12 on, whose pip_install shows a dialog of its own."""
    requests_, dialogs = failing(missing, folder, packaging=packaging, pytorch=True)
    assert requests_ == [asked]
    assert len(dialogs) == 1 and says in dialogs[0] and "could not be installed" in dialogs[0], dialogs
    assert "Traceback" not in dialogs[0] and "Command '" in dialogs[0]


@pytest.mark.parametrize("packaging", [False, True])
def test_a_torch_installer_that_fails_is_told_with_a_remedy(failing, monkeypatch, packaging):
    """The installer of the extension PyTorch is there, and raises."""
    for name in ("light_the_torch", "light_the_torch._patch"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["light_the_torch"].__file__ = sys.modules["light_the_torch"].__path__ = "here"
    requests_, dialogs = failing(["torch>=2.6"], packaging=packaging, pytorch=True)
    assert requests_ == ["light_the_torch install torch>=2.6"]
    assert len(dialogs) == 1 and "PyTorch could not be installed" in dialogs[0] and "Set up again" in dialogs[0]


def test_without_the_extension_pytorch_it_is_named(failing):
    requests_, dialogs = failing(["torch>=2.6"], packaging=True)
    assert requests_ == [] and len(dialogs) == 1 and "Extensions Manager" in dialogs[0]


@pytest.mark.parametrize("left", ["empty folder", "another version", "nothing"])
def test_the_logic_beside_the_module_is_the_one_that_runs(tmp_path, left):
    """And not what an older version left behind, or what pip installed."""
    old = tmp_path / "old" / "DeepSegLogic"
    if left != "nothing":
        (old / "util" / "__pycache__").mkdir(parents=True)
    if left == "another version":
        (old / "__init__.py").write_text("raise ImportError('the wrong one')\n")
    place = tmp_path / "extension" / "qt-scripted-modules"  # as Slicer's package has it, all in one folder
    shutil.copytree(EXTENSION.parent / "DeepSegLogic", place / "DeepSegLogic", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copytree(EXTENSION / "DeepSegLib", place / "DeepSegLib", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(EXTENSION / "DeepSeg.py", place)
    for module in (EXTENSION, place):
        folders = [str(EXTENSION.parent / "Testing"), str(tmp_path / "old"), str(module)]
        code = (
            f"import sys; sys.path[:] = [p for p in sys.path if p != {str(EXTENSION.parent)!r}]; "
            "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]; "
            f"sys.path[:0] = {folders!r}; import host; host.start(); import DeepSeg; import DeepSegLogic.util.errors; "
            "print(DeepSegLogic.__file__)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, cwd=tmp_path
        )
        found = Path(done.stdout.splitlines()[-1]).resolve()
        assert found.parent.parent == (EXTENSION.parent if module == EXTENSION else place).resolve()


def test_too_old_a_slicer_is_told(desktop, monkeypatch):
    monkeypatch.setattr("host.application.MINOR", 8)
    panel = desktop.load_module(EXTENSION / "DeepSeg.py")
    assert "5.10 or newer" in panel.layout.itemAt(0).widget().text
    panel.enter()


def test_nothing_that_slicer_ships_would_be_installed():
    """pip gets --no-deps, so what our packages need in turn must be in the list or in Slicer."""
    from DeepSegLib import dependencies

    asked = {Requirement(r).name.lower() for r in dependencies.NEEDED}
    assert dependencies.pipArguments(["x"])[0] == "--no-deps"
    assert not asked & {name.lower() for name in dependencies.SHIPPED}
    in_slicer = {"numpy", "requests", "scipy"}
    for name in asked - in_slicer:
        needs = {Requirement(r) for r in requires(name) or []}
        needs = {r.name.lower() for r in needs if r.marker is None or r.marker.evaluate({"extra": ""})}
        assert needs <= asked | in_slicer, name


def test_importing_the_module_loads_nothing_heavy():
    code = (
        f"import sys; sys.path[:0] = [{str(EXTENSION.parent / 'Testing')!r}, {str(EXTENSION)!r}]; import host; "
        "host.start(); before = set(sys.modules); import DeepSeg; new = set(sys.modules) - before; "
        "print(sorted(n for n in new if '.' not in n))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines()[-1] == "['DeepSeg']"
