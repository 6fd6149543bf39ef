"""How the command line ends: told to stop, with streams closed, with names and places that libraries do not bear."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import SimpleITK as sitk

from DeepSegLogic.cli import main

COMMAND = [sys.executable, "-c", "from DeepSegLogic.cli import run; run()"]
posix = pytest.mark.skipif(os.name == "nt", reason="signals and closed streams as POSIX has them")


@pytest.fixture(scope="module")
def small_ct(chest_ct, tmp_path_factory):
    """A part of the chest, for quick runs."""
    path = tmp_path_factory.mktemp("ct") / "small.nrrd"
    sitk.WriteImage(sitk.ReadImage(str(chest_ct))[64:112, 40:88, 10:26], str(path))
    return path


def started(*arguments, **options):
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    return subprocess.Popen([*COMMAND, *map(str, arguments)], **streams | options)


def test_events_are_json_in_any_code_page(tmp_path):
    """Pipes of Windows have the code page of the country, which may lack letters of a name."""
    name = "größe ≥ 😀.nii"
    environment = {**os.environ, "PYTHONIOENCODING": "cp437:strict", "PYTHONUTF8": "0"}
    process = started("estimate", tmp_path / name, "--json", env=environment, errors="replace")
    out, errors = process.communicate(timeout=60)
    assert name in json.loads(out)["message"]
    assert "Traceback" not in errors


def test_signs_that_an_encoding_lacks_are_spelled_out(tmp_path, small_ct):
    """A pipe on Windows has neither ≥ nor −; escapes in a table of volumes and HU would be riddles."""
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    process = started("segment", small_ct, "-o", tmp_path, "-s", "lung_left", env=environment, encoding="cp1252")
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert re.search(r"Left lung +\W *>= \d+\.\d +\W +-8\d\d ", out)
    assert "\\u22" not in out


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_told_to_end_cleans_up_as_after_ctrl_c(tmp_path, chest_ct, name):
    (tmp_path / "segmentation.nii.gz").write_text("an earlier result", "utf-8")
    asked = ["segment", chest_ct, "-o", tmp_path, "-s", "lung_left,vertebrae", "--quality", "best", "--json"]
    number = getattr(signal, name)
    # under nohup it is ignored, which a program inherits and DeepSeg keeps
    process = started(*asked, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    for line in process.stdout:
        if '"inference"' in line:
            break
    for _ in range(3):  # some tell it more than once
        process.send_signal(number)
    rest, errors = process.communicate(timeout=120)
    assert (process.returncode, errors.strip()) == (130, "Cancelled.")
    assert json.loads(rest.splitlines()[-1])["code"] == "cancelled"
    assert [p.name for p in tmp_path.iterdir()] == ["segmentation.nii.gz"]


@posix
@pytest.mark.parametrize("moment", ['"read"', '"inference"'])
def test_ctrl_c_leaves_no_folder_that_is_empty(tmp_path, small_ct, moment):
    asked = ["segment", small_ct, "-o", tmp_path / "new" / "out", "--quality", "best", "--json"]
    # it is ignored where tests run in the background of a shell
    process = started(*asked, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert any(moment in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has a disk that is always full")
@pytest.mark.parametrize("asked", [["--version"], ["--help"], ["estimate"], ["estimate", "--json"]])
@pytest.mark.parametrize("buffered", ["", "1"])
def test_standard_output_on_a_full_disk_is_told(small_ct, asked, buffered):
    with Path("/dev/full").open("w") as full:
        image = [small_ct] if asked[0] == "estimate" else []
        process = started(*asked, *image, stdout=full, env=os.environ | {"PYTHONUNBUFFERED": buffered})
        errors = process.communicate(timeout=120)[1]
    assert process.returncode == 5
    said = [line for line in errors.splitlines() if not line.startswith("Warning")]
    assert said == [
        "Error: Standard output cannot be written (No space left on device). Free some space, or send it elsewhere. "
        "Files that were written are complete."
    ]


@posix
@pytest.mark.parametrize("asked", [["--version"], ["estimate"], ["estimate", "--json"]])
def test_a_reader_that_has_gone_is_no_error(small_ct, asked):
    process = started(*asked, *([small_ct] if asked[0] == "estimate" else []))
    process.stdout.close()
    assert process.wait(120) == 130
    assert all(line.startswith("Warning") for line in process.stderr)


def test_a_reader_that_has_gone_is_no_error_on_windows_either():
    """There, Python calls it an invalid argument."""
    script = """
        import errno, os, types
        from DeepSegLogic import cli
        cli.os = types.SimpleNamespace(**{**vars(os), "name": "nt"})
        raise SystemExit(cli._without_output(OSError(errno.EINVAL, "Invalid argument")))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (130, "")


def test_ctrl_c_where_nothing_listens_is_told_too(monkeypatch, capfd):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("DeepSegLogic.session.doctor.examine", interrupted)
    assert main(["doctor", "--json"]) == 130
    out, errors = capfd.readouterr()
    assert (json.loads(out)["code"], errors.strip()) == ("cancelled", "Cancelled.")


@posix
def test_a_reader_that_goes_away(tmp_path, small_ct):
    process = started("segment", small_ct, "-o", tmp_path, "-s", "lung_left", "--json")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 130
    assert process.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []


@posix
def test_streams_that_are_closed():
    def run(command, **options):
        line = " ".join(["exec", '"$@"', command])
        return subprocess.run(["sh", "-c", line, "sh", *COMMAND], capture_output=True, encoding="utf-8", **options)

    assert run("models list >&-").stderr == ""
    done = run("models download total_fast <&-")
    assert done.returncode == 4 and "is not on this machine" in done.stderr


def test_a_wrong_command_line_is_an_event_too(capfd):
    assert main(["segment", "--json"]) == 2
    event = json.loads(capfd.readouterr().out)
    assert (event["event"], event["code"], event["exit_code"]) == ("error", "usage", 2)
    assert "IMAGE" in event["message"] and event["remedy"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_not_unicode(tmp_path, small_ct):
    odd = tmp_path / os.fsdecode(b"\xff.nrrd")
    odd.write_bytes(small_ct.read_bytes())
    for arguments, code in (([odd, "-o", tmp_path / "out"], 3), ([small_ct, "-o", odd.with_suffix("")], 5)):
        process = started("segment", *arguments)
        assert "is not Unicode" in process.communicate(timeout=120)[1]
        assert process.returncode == code


@posix
def test_a_pipe_and_a_folder_that_changes_are_no_volumes(tmp_path, capfd):
    os.mkfifo(tmp_path / "pipe")
    assert main(["estimate", str(tmp_path / "pipe")]) == 3
    assert "neither a file nor a folder" in capfd.readouterr().err
    (tmp_path / "closed").symlink_to(tmp_path / "closed")
    assert main(["estimate", str(tmp_path)]) == 3
    assert "no DICOM series" in capfd.readouterr().err


@pytest.mark.parametrize("box", ["1,2,3", "nan,0,0,1,1,1", "a,b,c,d,e,f"])
def test_a_region_of_other_than_six_numbers(small_ct, capfd, box):
    assert main(["estimate", str(small_ct), "--roi", box]) == 2
    assert "is not six numbers" in capfd.readouterr().err


def test_commas_alone_name_no_structure(small_ct, capfd):
    assert main(["estimate", str(small_ct), "-s", ","]) == 2
    assert "The list of structures is empty" in capfd.readouterr().err
