"""What is there, and what only looks like it."""

import sys
from types import ModuleType

import pytest

from DeepSegLogic.session import doctor
from DeepSegLogic.util.packages import can_import


@pytest.fixture
def left_over(tmp_path, monkeypatch):
    """A folder without modules on Python's path, as an uninstalled package leaves it: a namespace for Python."""
    (tmp_path / "deepseg_left_over" / "sub" / "__pycache__").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "deepseg_left_over"


def test_a_left_over_folder_is_no_package(left_over):
    assert not can_import(left_over.name)
    assert doctor._package(left_over.name).fact == "missing"
    __import__(left_over.name)
    assert not can_import(left_over.name)
    del sys.modules[left_over.name]
    (left_over / "__init__.py").touch()
    assert can_import(left_over.name)
    assert doctor._package(left_over.name).fact == "present"  # without metadata, as in Slicer


def test_what_is_not_there_or_has_no_file(monkeypatch):
    assert not can_import("no_such_package")
    assert can_import("json") and can_import("numpy")
    monkeypatch.setitem(sys.modules, "json", ModuleType("json"))
    assert not can_import("json")


def test_the_device_of_a_left_over_torch_is_unknown(monkeypatch):
    monkeypatch.setattr(doctor, "can_import", lambda name: False)
    assert doctor._device().fact == "unknown without torch"
