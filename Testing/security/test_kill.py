"""Each command that writes, killed at random moments: what it writes is wholly old or wholly new, the next run
succeeds, and nothing is left after that. ``make kill`` kills each one many times."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import SimpleITK as sitk

from DeepSegLogic.cli import main
from DeepSegLogic.models.store import Store, verify
from DeepSegLogic.results.folder import what_is_wrong
from DeepSegLogic.util import staging
from DeepSegLogic.util.digests import file_digest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, kills groups of processes, reads /dev/shm")
FORK = "DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD"
KILLS = int(os.environ.get("DEEPSEG_KILLS", "1"))
SEED = int(os.environ.get("DEEPSEG_KILL_SEED", str(20260101)))
QUICK = ["-s", "lung_right", "--quality", "draft", "--device", "cpu", "-q"]
PROMPT = {"prompts": [{"structure": "lung_right", "type": "point", "positive": False, "ras": [60.0, -35.0, -185.0]}]}


class Starter:
    """Starts ``deepseg`` without the seconds that its libraries take to load."""

    def __init__(self, log: Path):
        self.log = log
        command = [sys.executable, str(Path(__file__).parent / "killing.py")]
        with log.open("w") as stream:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, encoding="utf-8"
            )

    def run(self, arguments, folder: Path, kill_after: float | None = None) -> tuple[int, float]:
        """Exit code (negative for a signal) and seconds of a run, which is killed after so many seconds."""
        environment = {"DEEPSEG_MODELS": str(folder / "models"), "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
        environment[FORK] = "fork"  # else the worker of a cohort loads all libraries anew, two thirds of the time
        self._process.stdin.write(json.dumps([list(map(str, arguments)), environment]) + "\n")
        self._process.stdin.flush()
        child, started = int(self._process.stdout.readline()), time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            kill_all(child)
        return int(self._process.stdout.readline()), time.monotonic() - started

    def close(self):
        self._process.communicate()


def kill_all(child: int) -> None:
    """The whole group, and what it may have started in groups of their own."""
    import psutil

    try:
        processes = [psutil.Process(child), *psutil.Process(child).children(recursive=True)]
        os.killpg(child, signal.SIGKILL)
    except (psutil.Error, ProcessLookupError):  # it has ended
        return
    for process in processes[1:]:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(processes[1:], 10)


@pytest.fixture(scope="module")
def starter(tmp_path_factory):
    made = Starter(tmp_path_factory.mktemp("starter") / "log.txt")
    yield made
    made.close()


@pytest.fixture(scope="module")
def stage(tmp_path_factory, chest_ct, demo_model):
    """Small inputs for all commands, and results of an earlier run of each."""
    folder = tmp_path_factory.mktemp("stage")
    for name in ("in", "tmp", "models"):
        (folder / name).mkdir()
    small = sitk.ReadImage(str(chest_ct))[64:104, 40:80, 10:22]
    sitk.WriteImage(small, str(folder / "ct.nrrd"))
    sitk.WriteImage(small, str(folder / "in" / "a.nrrd"))
    run(folder, "segment", folder / "ct.nrrd", "-o", folder / "result", *QUICK, "--surfaces", "stl")
    for name in ("out", "cohort/a"):
        shutil.copytree(folder / "result", folder / name)
    shutil.copy(folder / "result" / "segmentation.nii.gz", folder / "labels.nii.gz")
    (folder / "prompts.json").write_text(json.dumps(PROMPT), "utf-8")
    run(folder, "surfaces", folder / "labels.nii.gz", "-o", folder / "surfaces", "--smoothing", "none", "-q")
    (folder / "corrected.nii.gz").write_text("old", "utf-8")
    (folder / "report.html").write_text("old", "utf-8")
    (folder / "model.zip").write_text("old", "utf-8")
    run(folder, "models", "export", "ct_demo", "-o", folder / "brought.zip", "-q")
    run(folder, *IMPORT, "--title", "old")
    return folder


def run(folder, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPSEG_MODELS", str(folder / "models"))
        arguments = [str(a).replace("FOLDER", str(folder)) for a in arguments]
        assert main(arguments) == 0


IMPORT = ["models", "import", "FOLDER/brought.zip", "--id", "mine", "--replace", "-q"]
PROMPTS = ["-p", "FOLDER/prompts.json"]
COMMANDS = {
    "segment": ["segment", "FOLDER/ct.nrrd", "-o", "FOLDER/out", *QUICK, "--surfaces", "stl,glb", "--uncertainty"],
    "refine": ["refine", "FOLDER/labels.nii.gz", "-i", "FOLDER/ct.nrrd", *PROMPTS, "-o", "FOLDER/corrected.nii.gz"],
    "surfaces": ["surfaces", "FOLDER/labels.nii.gz", "-o", "FOLDER/surfaces", "-f", "stl,obj,glb", "-q"],
    "report": ["report", "FOLDER/result", "-o", "FOLDER/report.html"],
    "export": ["models", "export", "ct_demo", "-o", "FOLDER/model.zip", "-q"],
    "import": [*IMPORT, "--title", "new"],
    "cohort": ["cohort", "FOLDER/in", "-o", "FOLDER/cohort", *QUICK, "--surfaces", "stl,glb"],
}


def facts_of(folder):
    """What is told of a result, if it is whole."""
    facts = json.loads((folder / "provenance.json").read_text("utf-8"))
    assert what_is_wrong(folder, facts) == ""
    return facts


def is_new(command: str, folder: Path) -> bool:
    """Whether what the command writes is new, as a whole; it fails where that is half old and half new."""
    if command == "segment":
        facts = facts_of(folder / "out")
        return "uncertainty.nii.gz" in facts["files"]
    if command == "cohort":
        return "surfaces/organs.glb" in facts_of(folder / "cohort" / "a")["files"]
    if command == "surfaces":
        names = {p.name: file_digest(p) for p in (folder / "surfaces").iterdir()}
        assert names in (OLD_SURFACES, NEW_SURFACES)
        return names == NEW_SURFACES
    if command == "import":
        card = Store(folder / "models").find("mine")
        assert verify(card) == []
        return card.title == "new"
    name = {"refine": "corrected.nii.gz", "report": "report.html", "export": "model.zip"}[command]
    if (folder / name).read_bytes() == b"old":
        return False
    if command == "export":
        assert zipfile.ZipFile(folder / name).testzip() is None
    elif command == "refine":
        assert sitk.ReadImage(str(folder / name)).GetSize() == (40, 40, 12)
    else:
        assert (folder / name).read_text("utf-8").rstrip().endswith("</html>")
    return True


OLD_SURFACES, NEW_SURFACES = {}, {}


def left_in(folder: Path) -> set[str]:
    """What no command should leave; dask clears its own with its next start."""
    hidden = {str(p) for p in folder.rglob(".*") if p.name.startswith((".deepseg-", ".stop-"))}
    staged = {str(p) for p in (folder / "models" / ".staging").glob("*")}
    temporary = {str(p) for p in (folder / "tmp").iterdir() if not p.name.startswith("dask")}
    shared, end = blocks(), time.monotonic() + 10
    while shared and time.monotonic() < end:  # what tests beside these kill is gone by then
        time.sleep(0.1)
        shared &= blocks()
    return hidden | staged | temporary | shared


def blocks() -> set[str]:
    """Shared memory that is new since these tests began, and whose sender has ended: until then it is locked."""
    found = {}
    for path in Path("/dev/shm").glob("deepseg_*"):
        with suppress(FileNotFoundError):  # gone meanwhile
            told = path.stat()
            if told.st_mtime > STARTED:
                found[f"{os.major(told.st_dev):02x}:{os.minor(told.st_dev):02x}:{told.st_ino}"] = str(path)
    locked = Path("/proc/locks").read_text("ascii").split()
    return {path for place, path in found.items() if place not in locked}


STARTED = time.time()


@pytest.mark.timeout(900 + 30 * KILLS)  # two runs for each; those of a cohort start a cluster
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_any_moment(command, starter, stage, tmp_path):
    if command == "cohort":
        pytest.importorskip("distributed")

    def copied(name):
        folder = Path(shutil.copytree(stage, tmp_path / name))
        return folder, [a.replace("FOLDER", str(folder)) for a in COMMANDS[command]]

    whole, arguments = copied("whole")
    OLD_SURFACES.update({p.name: file_digest(p) for p in (whole / "surfaces").iterdir()})
    code, life = starter.run(arguments, whole)
    assert code == 0, starter.log.read_text()
    NEW_SURFACES.update({p.name: file_digest(p) for p in (whole / "surfaces").iterdir()})
    assert is_new(command, whole)
    assert left_in(whole) == set()
    chance, killed = random.Random(f"{SEED} {command}"), 0
    for number in range(KILLS):
        folder, arguments = copied(str(number))
        moment = life * chance.uniform(0.0 if number % 2 else 0.6, 1.0)  # the second half writes
        killed += starter.run(arguments, folder, moment)[0] == -signal.SIGKILL
        for place in [p for p in folder.rglob("*") if p.is_dir()]:
            staging.sweep(place)
        before = is_new(command, folder)
        code, _ = starter.run(arguments, folder)
        assert code == 0, (moment, before, starter.log.read_text())
        assert is_new(command, folder), moment
        assert left_in(folder) == set(), moment
        shutil.rmtree(folder)
    assert killed or KILLS < 10
