"""What all commands have in common, and ``deepseg doctor``."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from DeepSegLogic.cli import main
from DeepSegLogic.cli.console import Console, as_typed
from DeepSegLogic.models.find import find_model


def test_errors_are_events_for_programs(tmp_path, capfd):
    assert main(["segment", str(tmp_path / "no.nii"), "-o", str(tmp_path), "--json"]) == 3
    event = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (event["event"], event["code"], event["exit_code"]) == ("error", "input.missing", 3)
    assert event["remedy"]


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_long_message_does_not_hide_the_bar(monkeypatch, capfd, width):
    monkeypatch.setenv("COLUMNS", str(width))
    console = Console()
    with console.working():
        console.progress("cohort", 0.5, ", ".join(f"patient {n}/ct: inference {n}%" for n in range(20)))
    last = capfd.readouterr().err.splitlines()[-1]
    end, line = ("…\ufffd", "━╸-") if sys.platform == "win32" else ("…", "━╸")  # a pipe lacks them there
    assert last.startswith("cohort ") and "  50% 0:00:0" in last and last.rstrip()[-1] in end
    bar = sum(map(last.count, line))
    assert width / 8 - 2 < bar <= width / 8 + 1, "half of a bar of a quarter of the line"


@pytest.mark.skipif(sys.platform == "win32", reason="asks a POSIX shell")
@pytest.mark.parametrize("name", ["model", "lab é", "it's $HOME; a\"b"])
def test_a_path_as_typed_is_one_word_of_the_shell(name):
    done = subprocess.run(["sh", "-c", f"printf %s {as_typed(Path(name))}"], capture_output=True, encoding="utf-8")
    assert done.stdout == name


def test_a_name_longer_than_a_disk_takes_is_told(tmp_path, capfd):
    (tmp_path / "ct.nrrd").write_bytes(b"looked at later")
    long = "x" * 280
    for arguments in (
        ["segment", str(tmp_path / "ct.nrrd"), "-o", str(tmp_path / long)],
        ["segment", str(tmp_path / long / "ct.nrrd"), "-o", str(tmp_path)],
        ["surfaces", str(tmp_path / "ct.nrrd"), "-o", str(tmp_path / "models" / long)],
        ["measure", str(tmp_path / long)],
    ):
        assert main(arguments) in (2, 3, 5), arguments
        assert "Unexpected" not in capfd.readouterr().err, arguments
    windows = sys.platform == "win32"  # which only says that it found no such folder
    assert main(["segment", str(tmp_path / "ct.nrrd"), "-o", str(tmp_path / long)]) == (5 if windows else 2)
    assert ("a shorter path" if windows else "too long: it has 280 bytes") in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), 6, "The computer is out of memory. Close other programs"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory."), 6, "The GPU is out of memory."),
        (RuntimeError("CUDA error: unspecified launch failure"), 6, "The GPU stopped working"),
        (KeyError("x"), 1, "Unexpected error (KeyError: 'x'). Run again with --debug"),
    ],
)
def test_what_runs_short_is_told_as_in_panel_and_page(monkeypatch, capfd, error, code, words):
    def fails(*_results):
        raise error

    monkeypatch.setattr("DeepSegLogic.session.doctor.examine", fails)
    assert main(["doctor"]) == code
    assert words in capfd.readouterr().err


def test_debug_shows_where_it_came_from(tmp_path, capfd):
    assert main(["segment", str(tmp_path / "no.nii"), "-o", str(tmp_path), "--debug"]) == 3
    assert "Traceback" in capfd.readouterr().err


def test_doctor_reports_without_torch_or_models_missing(capfd):
    code = main(["doctor", "--json"])
    findings = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    topics = {f["topic"] for f in findings}
    assert {"DeepSeg", "Python", "torch", "Device", "Memory", "Models"} <= topics
    assert code == (1 if any(f["remedy"] for f in findings) else 0)


def test_a_model_in_a_folder_is_imported_not_downloaded(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "400")
    there = find_model("ct_demo").folder
    folder = shutil.copytree(there, tmp_path / "of mine")
    monkeypatch.chdir(there.parent)
    for model in (str(folder), "ct_demo", f"./{there.name}"):
        assert main(["models", "show", model]) == 0
    own, *installed = re.findall(r"installed +(.*\S)", capfd.readouterr().out)
    assert own == f"no; `deepseg models import {as_typed(folder)}`" and installed == [str(there)] * 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--help"], "segment"),
        (["segment", "--help"], "--model"),
        (["models", "list"], "ct_demo"),
        (["models", "show", "ct_demo"], "licence"),
    ],
)
def test_what_only_tells_loads_no_library_of_arrays(arguments, told):
    code = (
        f"import sys; from DeepSegLogic.cli import main; main({arguments});"
        "print(sorted({'torch', 'vtkmodules', 'numpy', 'scipy', 'SimpleITK'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
    assert told in done.stdout


def test_the_end_of_a_command_goes_through_no_objects_of_libraries():
    """Python's end collects garbage several times, and torch alone has hundreds of thousands of objects."""
    code = (
        "import atexit, gc, sys; atexit.register(lambda: print(len(gc.get_objects())));"
        "sys.argv = ['deepseg', '--version']; from DeepSegLogic.cli import run; run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert int(done.stdout.splitlines()[-1]) < 100
    assert done.returncode == 0


def test_import_loads_nothing_heavy():
    code = (
        "import sys, DeepSegLogic; print([m for m in ('torch','vtk','SimpleITK','scipy','monai') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_wrong_command_line_is_a_usage_error(capfd):
    assert main(["segment"]) == 2
    assert main(["segmnt"]) == 2
    assert main(["segment", "a", "-o", "b", "--frobnicate"]) == 2
    text = capfd.readouterr().err
    assert "--frobnicate" in text
    assert "Unexpected" not in text
    assert main(["--version"]) == 0
