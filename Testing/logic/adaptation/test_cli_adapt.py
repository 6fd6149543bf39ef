"""``deepseg adapt``: from a corrected folder of results to a new version, and back."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from DeepSegLogic.cli import main
from DeepSegLogic.data.affine import reorient
from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.io import read_label_map, write_label_map, write_volume
from DeepSegLogic.io.patients import patient_key
from DeepSegLogic.models import find_model
from DeepSegLogic.training import dataset
from DeepSegLogic.util.digests import text_digest
from DeepSegLogic.util.tables import read_table

from ..training import phantom
from .conftest import add_case


def events(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def corrected(lab, tmp_path):
    """Two results of `deepseg segment`; in the first one, a spleen was added by hand."""
    for seed in (10, 11):
        volume, labels = phantom.case(seed)
        image, folder = tmp_path / "results" / f"c{seed}.nii.gz", tmp_path / "results" / f"c{seed}"
        write_volume(volume, image)
        assert main(["segment", str(image), "-o", str(folder), "-m", "lab", "--surfaces", "", "-q"]) == 0
        file = folder / "segmentation.seg.nrrd"
        now = read_label_map(file)
        now.array[labels == 2] = 2
        now.structures.append(Structure(2, "spleen", "Spleen"))
        if seed == 10:
            write_label_map(now, file)
    return tmp_path / "results"


def test_from_a_corrected_folder_to_a_new_version_and_back(corrected, lab, capsys):
    capsys.readouterr()
    assert main(["adapt", "add", str(corrected / "c10")]) == 130 and not lab.all(), "nobody agreed"
    capsys.readouterr()
    assert main(["adapt", "add", str(corrected / "c10"), "--yes", "--json"]) == 0
    assert "spleen" in events(capsys)[-1]["structures"], "it differs from the copy in NIfTI"
    image = ["--image", str(corrected / "c10.nii.gz")]
    assert main(["adapt", "add", str(corrected / "c11"), "--yes", *image]) == 3, "not its image"
    assert "is not the image" in capsys.readouterr().err
    assert main(["adapt", "add", str(corrected), "--yes", *image]) == 3, "several results"
    assert main(["adapt", "add", str(corrected / "c11"), "--yes", "--structures", "pancreas"]) == 2
    (corrected / "c11" / "segmentation.seg.nrrd").unlink()  # the NIfTI does, too
    line = ["adapt", "add", str(corrected / "c11"), "--yes", "--structures", "Liver", "--patient", "P 7"]
    assert main(line) == 0
    capsys.readouterr()
    assert main(["adapt", "list", "--json"]) == 0
    listed = [e for e in events(capsys) if e["event"] == "case"]
    assert [e["model"] for e in listed] == ["lab", "lab"] and listed[1]["structures"] == ["liver"]
    assert [e["patient"] for e in listed] == ["", text_digest("P 7")]
    assert main(["adapt", "list"]) == 0 and "c10" in capsys.readouterr().out

    command = ["adapt", "run", "lab", "--device", "cpu"]
    assert main([*command, "--steps", "1", "--minutes", "1"]) == 2
    assert main([*command, "--steps", "1"]) == 0
    assert "Before" in (shown := capsys.readouterr().out) and "deepseg adapt accept lab" in shown
    assert "The patient of 1 corrected case is not known" in shown
    assert main(["adapt", "accept", "lab"]) == 0 and find_model("lab_adapted").version == "1"
    assert main(["adapt", "accept", "lab"]) == 4, "there is no other offer"
    capsys.readouterr()
    assert main(["adapt", "run", "lab_adapted", "--device", "cpu", "--steps", "1", "--yes", "--json"]) == 0
    assert events(capsys)[-1] == {"event": "version", "id": "lab_adapted", "version": "2"}
    assert main(["adapt", "back", "lab_adapted"]) == 0 and find_model("lab_adapted").version == "1"
    assert main(["adapt", "back", "lab_adapted"]) == 0 and "Use the model lab" in capsys.readouterr().out
    assert main(["adapt", "back", "lab_adapted", "--to", "2"]) == 0 and find_model("lab_adapted").version == "2"
    assert main(["adapt", "back", "ct_demo"]) == 4
    assert main(["adapt", "remove", "lab", *(e["digest"] for e in listed)]) == 0 and not lab.all()
    assert main(["adapt", "run", "lab"]) == 3
    assert "deepseg adapt add" in capsys.readouterr().err
    assert main(["adapt", "discard", "lab"]) == 0
    assert capsys.readouterr().out == "lab has nothing to discard.\n"


@pytest.mark.parametrize(
    ("folders", "more", "table", "codes"),
    [
        (["."], [], "c10,P 1\nc11,P 1", ["P 1", "P 1"]),
        (["c10", "c11"], [], "c10,P 1\nc11,P 1", ["P 1", "P 1"]),
        (["c10"], [], "c11,P 2\nc10,", [""]),
        (["c10"], ["--patient", "P 3"], "c10,P 1", ["P 3"]),
        (["c10"], ["--image", "c10.nii.gz"], "c10,P 1", ["P 1"]),
    ],
)
def test_patients_of_a_table_beside_the_results_are_held_out_together(
    corrected, lab, monkeypatch, folders, more, table, codes
):
    (corrected / "patients.csv").write_text(f"case,patient\n{table}\n", "utf-8")
    monkeypatch.chdir(corrected)
    for folder in folders:
        assert main(["adapt", "add", folder, "--yes", "-q", *more]) == 0
    assert [case.patient for case in lab.all()] == [patient_key(code) for code in codes]


def test_a_table_that_gives_a_case_two_patients_is_refused(corrected, lab, capfd):
    (corrected / "patients.csv").write_text("case,patient\nc10,P 1\nc10,P 2\n", "utf-8")
    assert main(["adapt", "add", str(corrected / "c10"), "--yes"]) == 3
    assert "gives the case c10 two patients" in capfd.readouterr().err and not lab.all()


def test_a_table_beside_the_results_is_read_once_and_not_for_a_given_patient(corrected, lab, monkeypatch):
    read = []
    monkeypatch.setattr(dataset, "read_table", lambda path: read.append(path) or read_table(path))
    (corrected / "patients.csv").write_text("case,patient\n", "utf-8")
    assert main(["adapt", "add", str(corrected), "--yes", "-q"]) == 0
    assert read == [corrected / "patients.csv"]
    (corrected / "patients.csv").write_text("Praxis;Telefon\n", "utf-8")
    one, image = str(corrected / "c10"), str(corrected / "c10.nii.gz")
    for line in ([str(corrected)], [one], [one, "-i", image]):
        assert main(["adapt", "add", *line, "--yes", "-q"]) == 3
        assert main(["adapt", "add", *line, "--yes", "-q", "--patient", "P 5"]) == 0
    assert [case.patient for case in lab.all()] == [patient_key("P 5")] * 2


@pytest.mark.parametrize("orientation", ["RPI", "SRA"])
def test_labels_whose_axes_run_otherwise_are_placed_on_the_image(corrected, lab, capsys, orientation):
    """Reoriented, as another program may write them, every voxel lies where it was."""
    file = corrected / "c10" / "segmentation.seg.nrrd"
    expected = read_label_map(file)
    array, matrix = reorient(expected.array, expected.ijk_to_ras, orientation)
    told = []
    for labels in (expected, LabelMap(array.copy(), matrix, expected.structures)):
        write_label_map(labels, file)
        capsys.readouterr()
        assert main(["adapt", "add", str(corrected / "c10"), "--yes", "--json"]) == 0
        told.append(set(events(capsys)[-1]["structures"]))
    assert told[0] == told[1] >= {"spleen"}
    [case] = lab.all()
    kept = read_label_map(case.files.labels)
    for structure in kept.structures:
        [of_hand] = [s.value for s in expected.structures if s.name == structure.name]
        assert np.array_equal(kept.array == structure.value, expected.array == of_hand)


def test_a_killed_run_loses_neither_cases_nor_model(lab):
    case = add_case(lab, 10)
    code = "from DeepSegLogic.cli import run; run()"
    command = ["adapt", "run", "lab", "--device", "cpu", "--steps", "100000", "--json"]
    with subprocess.Popen([sys.executable, "-c", code, *command], stdout=subprocess.PIPE, encoding="utf-8") as process:
        while '"train"' not in (line := process.stdout.readline()):
            assert line, "it ended before it learnt"
        assert main(["adapt", "run", "lab", "--device", "cpu"]) == 2, "one at a time"
        assert main(["adapt", "remove", "lab", case.digest]) == 2
        process.kill()
    assert lab.all() == [case] and find_model("lab").version == "7"
    assert main(["adapt", "accept", "lab"]) == 4, "nothing is offered"
    deadline = time.monotonic() + 30  # until the process that made samples has noticed, and with it the lock is gone
    while main(["adapt", "discard", "lab"]) != 0:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert not list(lab.folder.glob("next*"))
