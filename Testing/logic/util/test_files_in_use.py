"""On Windows, nobody can move, replace or delete what another program has open."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from DeepSegLogic.util import staging
from DeepSegLogic.util.atomic_write import atomic_folder, atomic_path, cannot_write
from DeepSegLogic.util.errors import OutputError


@pytest.fixture
def windows(monkeypatch):
    """The paths that are open in other programs, and until when."""
    held: dict[Path, float] = {}
    replace = Path.replace

    def replace_closed(origin, goal):
        for path, until in held.items():
            if path in (origin, Path(goal)) and time.monotonic() < until:
                error = PermissionError(13, "The process cannot access the file", str(origin))
                error.winerror = 32
                raise error
        return replace(origin, goal)

    monkeypatch.setattr(Path, "replace", replace_closed)
    monkeypatch.setattr(staging, "os", SimpleNamespace(**{**vars(os), "name": "nt"}))
    monkeypatch.setattr(staging, "_PATIENCE_S", 0.3)
    return held


def test_a_file_that_a_virus_scanner_holds_for_a_moment_is_replaced(tmp_path, windows):
    table = tmp_path / "table.csv"
    table.write_text("old", "utf-8")
    windows[table] = time.monotonic() + 0.1
    with atomic_path(table) as temporary:
        temporary.write_text("new", "utf-8")
    assert table.read_text("utf-8") == "new"


def test_a_folder_is_undone_although_a_moved_file_is_looked_at(tmp_path, windows, monkeypatch):
    """The second file is open in a program, and just then a virus scanner looks at the first."""
    for name in ("a", "b"):
        (tmp_path / name).write_text("old", "utf-8")
    windows[tmp_path / "b"] = time.monotonic() + 1e3
    replace = Path.replace

    def replace_and_scan(origin, goal):
        if Path(goal) == tmp_path / "a" and windows.keys() == {tmp_path / "b"}:
            done = replace(origin, goal)
            windows[tmp_path / "a"] = time.monotonic() + 0.4  # also when b is given up
            return done
        return replace(origin, goal)

    monkeypatch.setattr(Path, "replace", replace_and_scan)
    with pytest.raises(OutputError), atomic_folder(tmp_path) as temporary:
        for name in ("a", "b"):
            (temporary / name).write_text("new", "utf-8")
    assert {p.name: p.read_text("utf-8") for p in tmp_path.iterdir()} == {"a": "old", "b": "old"}


def test_a_table_that_is_open_is_named_with_what_to_do(tmp_path, windows):
    table = tmp_path / "table.csv"
    table.write_text("old", "utf-8")
    windows[table] = time.monotonic() + 1e3
    with pytest.raises(OutputError) as caught, atomic_folder(tmp_path) as temporary:
        (temporary / "table.csv").write_text("new", "utf-8")
    assert f"have {table} open" in caught.value.remedy
    assert table.read_text("utf-8") == "old"


def test_a_path_that_is_too_long_for_windows_is_told(monkeypatch):
    """There, it is a folder that was not found."""
    error = FileNotFoundError(2, "The system cannot find the path specified")
    monkeypatch.setattr("DeepSegLogic.util.atomic_write.sys", SimpleNamespace(platform="win32"))
    assert "a shorter path" in cannot_write(Path("x" * 100, "y" * 100), error).remedy
    assert "permission" in cannot_write(Path("y"), error).remedy
    denied = PermissionError(13, "Permission denied")
    assert "permission" in cannot_write(Path("x" * 100, "y" * 100), denied).remedy
