"""The worker as a child process, when all goes well."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from DeepSegLogic.data.label_map import Code, LabelMap, Structure
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.util.errors import ResourceError, UsageError
from DeepSegLogic.worker import WorkerState
from DeepSegLogic.worker import shared_memory as shared
from DeepSegLogic.worker.transports import default_python

from .conftest import HERE, is_end, leftovers, run_until


def test_states_of_a_life(client):
    assert client.state is WorkerState.STOPPED
    client.start()
    events = run_until(client, lambda e: e.kind == "state" and e.message == "ready")
    assert client.hello["pid"] != os.getpid()
    job = client.submit("count", to=3)
    events += run_until(client, is_end)
    events += client.poll()
    assert not client.is_open(job)
    client.close()
    events += client.poll()
    assert [e.message for e in events if e.kind == "state"] == ["starting", "ready", "busy", "ready", "stopped"]


def test_arrays_cross_unchanged_in_both_directions(client):
    rng = np.random.default_rng(0)
    sent = {
        "volume": Volume(rng.integers(-1000, 3000, (40, 50, 60)).astype(np.int16), np.diag([1, -2, 3, 1.0]), "Bäuche"),
        "strided": rng.standard_normal((8, 9, 10))[::2, ::-1, 1:],
        "big_endian": np.arange(5, dtype=">f4"),
        "empty": np.zeros((0, 3), np.uint8),
        "scalar": np.array(7.5),
        "nested": [{"a": (1, 2.5, None, True, "ß")}, np.float32(0.5), np.int64(7)],
        "structure": Structure(5, "liver", "Liver", (1, 2, 3), type=Code("SCT", "10200004", "Liver")),
        "path": Path("/tmp/ein Ordner"),
    }
    got = client.call("echo", **sent)
    volume = got["volume"]
    assert type(volume) is Volume and volume.name == "Bäuche" and volume.array.dtype == np.int16
    assert volume.array.flags.c_contiguous and volume.array.flags.writeable
    np.testing.assert_array_equal(volume.array, sent["volume"].array)
    np.testing.assert_array_equal(volume.ijk_to_ras, sent["volume"].ijk_to_ras)
    for name in ("strided", "big_endian", "empty", "scalar"):
        assert got[name].dtype == sent[name].dtype and got[name].shape == sent[name].shape
        np.testing.assert_array_equal(got[name], sent[name])
    assert got["nested"] == sent["nested"]
    assert got["structure"] == sent["structure"] and hash(got["structure"]) == hash(sent["structure"])
    assert got["path"] == str(sent["path"])


def test_label_map_of_a_volume(client):
    array = np.random.default_rng(1).integers(-1000, 1000, (30, 31, 32)).astype(np.int16)
    label_map = client.call("threshold", volume=Volume(array, np.eye(4)))
    assert type(label_map) is LabelMap and label_map.array.dtype == np.uint8
    np.testing.assert_array_equal(label_map.array, array > 300)


def test_blocks_are_freed_while_the_worker_lives(client):
    for _ in range(5):
        client.call("echo", a=np.ones(1 << 20))
    client.call("ping")  # the receipts have come by then
    assert leftovers(client._connection.link.share) == []


def test_without_enough_shared_memory_the_pipe_carries_the_arrays(client, monkeypatch):
    def create(name, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared, "create", create)
    array = np.random.default_rng(2).standard_normal(3_000_000)
    np.testing.assert_array_equal(client.call("echo", a=array)["a"], array)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="Linux reserves shared memory beforehand")
def test_too_large_a_block_is_refused_and_leaves_nothing():
    with pytest.raises(OSError):
        shared.create(f"{shared.NAME}test", 1 << 45)
    assert leftovers(f"{shared.NAME}test") == []


def test_no_resource_tracker_is_started():
    script = """
        from multiprocessing import resource_tracker
        import numpy as np
        from DeepSegLogic.worker import WorkerClient, ProcessLink
        from functools import partial
        with WorkerClient(partial(ProcessLink, handlers="faulty_handlers")) as client:
            client.call("echo", a=np.ones(1000))
        assert resource_tracker._resource_tracker._pid is None
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_second_run_is_warm(client):
    first = client.submit("load_once")
    stages = [e.stage for e in run_until(client, lambda e: is_end(e) and e.job == first)]
    assert "load model" in stages
    second = client.submit("load_once")
    events = run_until(client, lambda e: is_end(e) and e.job == second)
    assert "load model" not in [e.stage for e in events]
    assert events[-1].value == {"pid": client.hello["pid"], "used": 2}


def test_jobs_run_in_order_and_tell_about_themselves(client):
    jobs = [client.submit("count", to=3), client.submit("ping"), client.submit("count", to=1)]
    events = run_until(client, lambda e: is_end(e) and e.job == jobs[-1])
    told = [e for e in events if e.job]
    assert [e.job for e in told] == sorted(e.job for e in told)
    for job in jobs:
        kinds = [e.kind for e in told if e.job == job]
        assert kinds[0] == "started" and kinds[-1] == "result" and kinds.count("result") == 1
    first = next(e for e in told if e.kind == "progress")
    assert (first.stage, first.fraction, first.message) == ("inference", 0.0, "window 0 of 3")


def test_chatter_of_libraries_goes_to_the_log(client, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    assert client.call("chatter") == "said enough"
    client.call("ping")
    client.close()  # the log is complete
    log = "\n".join(client.log)
    for words in ('"forged"', "bytes", "from C", "from a child", "EOFError"):
        assert words in log
    assert max(map(len, client.log)) <= 4096


@pytest.mark.parametrize(
    "request_, params, words",
    [("nonsense", {}, "nonsense"), ("threshold", {}, "volume"), ("ping", {"x": 1}, "'x'")],
)
def test_wrong_requests_are_refused_and_the_worker_lives(client, request_, params, words):
    with pytest.raises(UsageError, match=words):
        client.call(request_, **params)
    assert client.call("ping")["pid"] == client.hello["pid"]


@pytest.mark.parametrize("value", [object(), {1: 2}, np.array([None]), {"$": "array"}, {"a": {1, 2}}])
def test_what_cannot_be_sent_is_refused_at_once(client, value):
    with pytest.raises(UsageError, match="cannot be sent"):
        client.submit("echo", value=value)
    assert client.call("echo", fine=1) == {"fine": 1}


@pytest.mark.skipif(os.name == "nt", reason="a folder of Python through a link")
def test_paths_with_spaces_and_other_letters(new_client, tmp_path):
    """The data, the interpreter and the package itself in such folders."""
    home = tmp_path / "Programme für Ärzte ② [x]"
    shutil.copytree(Path(shared.__file__).parents[1], home / "DeepSegLogic", ignore=shutil.ignore_patterns("*.pyc"))
    (home / "venv").symlink_to(Path(sys.executable).parents[1])
    script = """
        import sys
        from functools import partial
        from DeepSegLogic.worker import WorkerClient, ProcessLink
        with WorkerClient(partial(ProcessLink, sys.executable, "faulty_handlers")) as client:
            got = client.call("where", folder=sys.argv[1])
        print(ascii([got["names"], got["package"], got["python"]]))
    """
    python = home / "venv" / "bin" / "python"
    done = subprocess.run(
        [python, "-c", textwrap.dedent(script), home],
        env={**os.environ, "PYTHONPATH": f"{home}{os.pathsep}{HERE}"},
        capture_output=True,
        encoding="utf-8",
        cwd=home,
        check=False,
    )
    assert done.stderr == ""
    expected = [["DeepSegLogic", "venv"], str(home / "DeepSegLogic" / "__init__.py"), str(python)]
    assert done.stdout.strip() == ascii(expected)


def test_the_current_folder_is_not_imported_from(client, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')", "utf-8")
    monkeypatch.chdir(tmp_path)
    if sys.version_info < (3, 11):
        pytest.skip("Python 3.10 has no PYTHONSAFEPATH")
    assert client.call("ping")["pid"]


def test_inside_slicer_the_interpreter_is_pythonslicer(tmp_path, monkeypatch):
    python_slicer = tmp_path / ("PythonSlicer.exe" if os.name == "nt" else "PythonSlicer")
    python_slicer.touch(0o755)
    monkeypatch.setattr(sys, "executable", "/opt/Slicer/bin/SlicerApp-real")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Path(default_python()) == python_slicer  # whose letters Windows compares without case
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ResourceError, match="interpreter"):
        default_python()


def test_receiving_a_result_loads_nothing_heavy():
    """The client lives in Slicer, beside other extensions; torch belongs into the worker."""
    script = """
        import importlib, sys
        from DeepSegLogic.worker.serialization import WIRE_TYPES
        for name, module in WIRE_TYPES.items():
            getattr(importlib.import_module(f"DeepSegLogic.{module}"), name)
        print({"torch", "monai", "vtk", "vtkmodules", "scipy", "skimage"} & set(sys.modules))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.stdout, done.stderr) == ("set()\n", "")
