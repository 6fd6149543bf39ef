"""What is said of a volume before a run."""

import subprocess
import sys
import textwrap

import numpy as np

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.models import find_model
from DeepSegLogic.session.preflight import WayOut, preflight
from DeepSegLogic.util.errors import ResourceError


def ct(shape=(40, 50, 60), spacing=(1.5, 1.5, 3.0), **options):
    array = np.random.default_rng(0).integers(-1000, 1000, shape).astype(np.int16)
    return Volume(array, np.diag([*spacing, 1.0]), modality="CT", **options)


def test_facts():
    found = preflight(ct(), find_model("ct_demo"))
    assert found.facts == "CT · 60×50×40 voxels of 1.5 × 1.5 × 3 mm · RAS · 9 × 8 × 12 cm"
    assert found.ready and found.notes == ()
    assert not preflight(None).ready


def test_what_blocks():
    card = find_model("ct_demo")
    mr = ct()
    mr.modality = "MR"
    nothing = Volume(np.zeros((4, 4, 4), np.int16), np.eye(4))
    hole = Volume(np.full((4, 4, 4), np.nan, np.float32), np.eye(4))
    for volume, word in ((mr, "MR"), (nothing, "empty"), (hole, "NaN or infinite")):
        found = preflight(volume, card)
        assert not found.ready
        assert word in found.notes[0].text and found.notes[0].remedy


def test_what_is_doubtful():
    card = find_model("ct_demo")

    def texts(volume):
        found = preflight(volume, card)
        assert found.ready
        return " ".join(note.text for note in found.notes)

    assert "thick" in texts(ct(spacing=(1, 1, 8.0)))
    assert "7 mm thick" in texts(ct((7, 90, 90), (1, 1, 1)))
    turned = ct()
    angle = np.radians(25)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned.ijk_to_ras[:3, :3] = rotation @ turned.ijk_to_ras[:3, :3]
    assert "25°" in texts(turned)
    assert "Two slices are missing." in texts(ct(warnings=["Two slices are missing."]))


def test_ways_out():
    card = find_model("ct_demo")
    assert preflight(ct(), card).ways_out == []
    assert preflight(ct(spacing=(1, 1, 8.0)), card).ways_out == [WayOut.RESAMPLE]
    patient = np.full((40, 90, 90), -1000, np.int16)
    patient[:, 30:60, 30:60] = 40
    found = preflight(Volume(patient, np.diag([3, 3, 3, 1.0])), card)
    assert found.ways_out == [WayOut.CROP] and "fills" in found.notes[0].text
    assert WayOut.CROP.apply(Volume(patient, np.diag([3, 3, 3, 1.0]))).array.size < patient.size / 2


def test_when_memory_is_short():
    card, shortage = find_model("ct_demo"), ResourceError("Too little memory.", "Close other programs.")
    fine, usual = ct(spacing=(0.5, 0.5, 0.5), shape=(80, 80, 80)), ct()
    assert preflight(fine, card, shortage).ways_out == [WayOut.RESAMPLE]
    note = preflight(usual, card, shortage).notes[0]
    assert (note.text, note.remedy, note.way_out) == ("Too little memory.", "Close other programs.", None)


def test_an_expected_volume_is_checked_without_importing_libraries_first():
    """They take longer than the checks, and meanwhile the page answers nothing."""
    code = """
        import sys, threading
        import numpy as np
        from DeepSegLogic import Volume
        from DeepSegLogic.session import Session
        session = Session()
        session.jobs.submit = lambda *_, **__: 1
        session.choices.expect_volume()
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join()
        before = {name.split(".")[0] for name in sys.modules}
        session.choices.set_volume(Volume(np.arange(8000, dtype=np.int16).reshape(20, 20, 20), np.eye(4)))
        print("scipy" in before, {name.split(".")[0] for name in sys.modules} - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, encoding="utf-8")
    assert (done.stdout.strip(), done.stderr) == ("True set()", "")
