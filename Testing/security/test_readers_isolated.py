"""A file at which a library crashes costs a sentence: whoever asked for it lives on, and nothing is left."""

import os
import secrets
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest

from DeepSegLogic import io
from DeepSegLogic.cli import run
from DeepSegLogic.util.errors import Cancelled, InputError
from DeepSegLogic.worker import isolated

READER = """
import os, sys, time
from DeepSegLogic.worker.isolated_reader import *
from DeepSegLogic.worker.isolated_reader import _limit

def act(job, *, path, scratch, source=""):
    _limit(scratch)
    tempfile.mkdtemp()
    {}

HANDLERS = {{"read_volume": act, "read_label_map": act, "read_slicer_scene": act}}
"""


@pytest.fixture
def broken_reader(tmp_path, monkeypatch):
    """Makes the reader process do something else than to read."""

    def breaks(what):
        (tmp_path / "broken_reader.py").write_text(READER.format(what), "utf-8")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(isolated, "READER", "broken_reader")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
        (tmp_path / "temporary").mkdir(exist_ok=True)
        monkeypatch.setattr(secrets, "token_hex", lambda _: "cafe0000")  # of the names of shared memory

    yield breaks
    if (tmp_path / "temporary").exists():
        assert list((tmp_path / "temporary").iterdir()) == []
        assert list(Path("/dev/shm").glob("deepseg_cafe0000*")) == []


def test_what_is_read_is_the_same(chest_ct, chest_segmentation):
    apart, here = isolated.read_volume(chest_ct), io.read_volume(chest_ct)
    np.testing.assert_array_equal(apart.array, here.array)
    np.testing.assert_array_equal(apart.ijk_to_ras, here.ijk_to_ras)
    assert (apart.name, apart.modality, apart.warnings) == (here.name, here.modality, here.warnings)
    labels, others = isolated.read_label_map(chest_segmentation), io.read_label_map(chest_segmentation)
    np.testing.assert_array_equal(labels.array, others.array)
    assert labels.structures == others.structures
    np.testing.assert_array_equal(isolated.read_scene_or_volume(chest_ct).volume.array, here.array)


def test_one_process_reads_several_files_and_after_a_crash_another_reads_on(chest_ct, chest_segmentation, monkeypatch):
    started = []

    class Counted(isolated.ProcessLink):
        def open(self, channel):
            super().open(channel)
            started.append(self)

    monkeypatch.setattr(isolated, "ProcessLink", Counted)
    with isolated.IsolatedReader() as read:
        read.volume(chest_ct)
        read.label_map(chest_segmentation)
        assert len(started) == 1
        started[0].kill()
        with pytest.raises(InputError, match="made its reader crash"):
            read.volume(chest_ct)
        assert read.volume(chest_ct).shape_kji == io.read_volume(chest_ct).shape_kji
        assert len(started) == 2


def test_errors_are_the_same(tmp_path):
    with pytest.raises(InputError, match="There is no file") as caught:
        isolated.read_volume(tmp_path / "nowhere.nii")
    assert (caught.value.code, caught.value.remedy) == ("input.missing", "Check the path.")


@pytest.mark.parametrize("read", [isolated.read_volume, isolated.read_label_map, isolated.read_scene_or_volume])
@pytest.mark.parametrize("what", ["os.abort()", "os.kill(os.getpid(), 11)", "os._exit(3)", "os.kill(os.getpid(), 9)"])
def test_a_crash_is_a_sentence(broken_reader, chest_ct, read, what):
    broken_reader(what)
    with pytest.raises(InputError, match=r"CTChest4.nrrd made its reader crash") as caught:
        read(chest_ct)
    assert caught.value.code == "input.crash" and caught.value.remedy


def test_a_scene_that_crashes_its_reader(broken_reader, tmp_path):
    (tmp_path / "a.mrb").write_bytes(b"PK")
    broken_reader("os.abort()")
    with pytest.raises(InputError, match=r"a.mrb made its reader crash"):
        isolated.read_scene_or_volume(tmp_path / "a.mrb", tmp_path / "temporary")


@pytest.fixture
def signals():
    """The program ignores requests to end while it ends; programs that later tests start would inherit that."""
    closed = signal.SIGBREAK if os.name == "nt" else signal.SIGHUP
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, closed)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_command_line_tells_it(broken_reader, chest_ct, capsys, monkeypatch, tmp_path, signals):
    broken_reader("os.abort()")
    monkeypatch.setattr("sys.argv", ["deepseg", "segment", str(chest_ct), "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 3
    assert "made its reader crash" in capsys.readouterr().err
    assert list((tmp_path / "out").glob("*")) == []


@pytest.mark.timeout(120)
def test_a_reader_that_hangs_is_ended(broken_reader, chest_ct, monkeypatch):
    broken_reader("time.sleep(10**6)")
    monkeypatch.setattr(isolated, "PATIENCE_S", 0.5)
    with pytest.raises(InputError, match="took longer to read than"):
        isolated.read_volume(chest_ct)


@pytest.mark.timeout(120)
def test_reading_can_be_cancelled(broken_reader, chest_ct):
    broken_reader("time.sleep(10**6)")
    with pytest.raises(Cancelled):
        isolated.read_volume(chest_ct, cancel=lambda: True)


@pytest.mark.skipif(not Path("/dev/shm").exists(), reason="only Linux keeps such limits")
def test_the_reader_takes_no_more_memory_than_there_is(broken_reader, chest_ct):
    broken_reader("import numpy; return numpy.ones((os.sysconf('SC_PHYS_PAGES'), 8192))")
    with pytest.raises(Exception, match="memory") as caught:
        isolated.read_volume(chest_ct)
    assert caught.value.code == "resource.memory"
