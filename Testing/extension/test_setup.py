"""What is installed, when, and what is not."""

import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from DeepSegLogic.errors import ResourceError

for needed in ("PySide6", "slicer"):
    pytest.importorskip(needed, reason="needs PySide6-Essentials and slicer-core")

EXTENSION = Path(__file__).resolve().parents[2] / "DeepSegExtension"


def test_set_up_is_offered_with_consent(desktop, monkeypatch):
    from DeepSegLib import dependencies

    monkeypatch.setattr(dependencies, "missing", lambda: ["filelock>=3.13"])
    panel = desktop.load_module(EXTENSION / "DeepSeg.py")
    assert panel.ui.setupFrame.visible and not panel.ui.mainWidget.visible
    assert "filelock" in panel.ui.setupLabel.text
    desktop.answers["Install now?"] = False
    panel.ui.setupButton.click()
    assert desktop.pip_requests == []
    desktop.answers["Install now?"] = True
    panel.ui.wheelsPathLineEdit.currentPath = "wheels"
    panel.ui.setupButton.click()  # the host refuses to install: the reason is shown
    assert desktop.pip_requests == ["--no-deps --no-index --find-links wheels filelock>=3.13"]
    assert "pip download" in desktop.messages[-1].text
    desktop.errors.clear()  # Slicer shows it and prints it, too
    monkeypatch.undo()
    panel.enter()
    assert panel.ui.mainWidget.visible and panel.ui.segmentButton is not None


def test_too_old_a_package_is_missing(monkeypatch):
    from DeepSegLib import dependencies

    found = {"psutil": "5.8.1", "torch": "2.5.1"}
    monkeypatch.setattr(dependencies, "version", lambda name: found.get(name, "99"))
    assert dependencies.missing() == ["psutil>=5.9", "torch>=2.6"]


def test_what_is_needed_is_needed_elsewhere_too():
    """The same versions as pip installs with the command line."""
    from DeepSegLib import dependencies

    ours = {Requirement(r).name.lower(): Requirement(r) for r in requires("deepseg")}
    for needed in map(Requirement, dependencies.NEEDED):
        if needed.name.lower() in ours:
            assert needed.specifier == ours[needed.name.lower()].specifier, needed.name
    assert dependencies.TORCH.specifier.contains("2.6") and not dependencies.TORCH.specifier.contains("2.5.1")


def test_a_slicer_for_intel_macs_is_told_before_anything_is_installed(desktop, monkeypatch):
    from DeepSegLib import dependencies

    monkeypatch.setattr(dependencies, "missing", lambda: ["filelock>=3.13", "torch>=2.6"])
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(ResourceError, match="Intel Macs"):
        dependencies.install()
    assert desktop.pip_requests == []


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
