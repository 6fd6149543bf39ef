"""A cohort on a real dask cluster: what is done, what is kept, and what becomes of the rest."""

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import psutil
import pytest
import SimpleITK
from free_ports import free_port

from DeepSegLogic.cli import main
from DeepSegLogic.cohort import Case, case, find_cases, run_cohort
from DeepSegLogic.cohort.engines import engine_for
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import read_label_map, read_volume, write_label_map, write_volume
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.errors import OutputError, ResourceError, UsageError

pytest.importorskip("distributed")
CODE = "from DeepSegLogic.cli import run\nif __name__ == '__main__': run()"


def outcomes(cases, settings, **options):
    return {o.case.name: o for o in run_cohort(cases, settings, **options)}


def statuses(ended):
    return {name: outcome.status for name, outcome in ended.items()}


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_cases_are_done_once_a_broken_one_stops_none_and_nobody_else_reaches_the_cluster(cohort, piece, scheduler):
    cases, settings = cohort
    environment, before, told = dict(os.environ), listening_here(), []

    def progress(stage, fraction, message):
        if "%" in message and not told:  # within a case
            told.append(fraction)
            check_that_nobody_else_reaches(listening_here() - before)

    first = outcomes(cases, settings, progress=progress)
    assert dict(os.environ) == environment
    assert told and 0 <= told[0] < 1
    assert statuses(first) == {"a": "done", "patient 2/b": "done", "broken": "failed"}
    assert first["broken"].code == "input.truncated"
    asked = {"structures": settings.structures, "quality": "draft"}
    expected = segment(read_volume(cases[0].source), "ct_demo", **asked).label_map
    out = settings.output
    for name in ("a", "patient 2/b"):
        found = read_label_map(out / name / "segmentation.seg.nrrd")
        np.testing.assert_array_equal(found.array, expected.array)
    assert [row["status"] for row in rows(out / "cohort.csv")] == ["done", "failed", "done"]
    volumes = {(row["case"], row["name"]): float(row["volume_ml"]) for row in rows(out / "measurements.csv")}
    assert len(volumes) == 4
    assert volumes["patient 2/b", "lung_left"] == pytest.approx(expected.volume_ml("lung_left"), abs=1e-3)

    before = {path: path.stat().st_mtime_ns for path in (out / "a").iterdir()}
    write_volume(piece, cases[1].source)
    write_volume(Volume(piece.array + 1, piece.ijk_to_ras), cases[2].source)
    again = outcomes(cases, settings, scheduler=scheduler)
    assert statuses(again) == {"a": "kept", "patient 2/b": "done", "broken": "done"}
    assert before == {path: path.stat().st_mtime_ns for path in (out / "a").iterdir()}
    assert len(rows(out / "measurements.csv")) == 6

    other = outcomes(cases[:1], replace(settings, structures=["lung_left"]), scheduler=scheduler)
    assert statuses(other) == {"a": "done"}


def test_a_case_that_is_not_whole_is_done_again_and_it_is_said(cohort, scheduler):
    cases, settings = cohort
    folder = settings.output / "a"
    outcomes(cases[:1], settings, scheduler=scheduler)
    whole = (folder / "segmentation.nii.gz").read_bytes()
    for spoil, said in (
        (lambda: (folder / "segmentation.nii.gz").unlink(), "segmentation.nii.gz is missing"),
        (lambda: (folder / "segmentation.nii.gz").write_bytes(whole[:-9]), "segmentation.nii.gz is damaged"),
        (lambda: (folder / "measurements.csv").write_text("structure\n", "utf-8"), "measurements.csv is damaged"),
    ):
        spoil()
        (outcome,) = outcomes(cases[:1], settings, scheduler=scheduler).values()
        assert outcome.status == "done"
        assert said in " ".join(outcome.warnings)
        assert (folder / "segmentation.nii.gz").read_bytes() == whole
    assert statuses(outcomes(cases[:1], settings, scheduler=scheduler)) == {"a": "kept"}


@pytest.mark.parametrize("name", ["segmentation.nii.gz", "segmentation.seg.nrrd"])
def test_a_case_that_somebody_corrected_is_never_replaced(cohort, scheduler, name):
    cases, settings = cohort
    file = settings.output / "a" / name
    outcomes(cases[:1], settings, scheduler=scheduler)
    corrected = read_label_map(file)
    corrected.array[:2] = 1
    write_label_map(corrected, file)
    work = file.read_bytes()
    (again,) = outcomes(cases[:1], settings, scheduler=scheduler).values()
    assert again.status == "kept" and f"{name} was corrected and is kept" in again.warnings[0]
    assert "its surfaces are those of before" in again.warnings[0]
    other = replace(settings, structures=["lung_left"])
    (refused,) = outcomes(cases[:1], other, scheduler=scheduler).values()
    assert (refused.status, refused.code) == ("failed", "output.corrected") and name in refused.message
    assert file.read_bytes() == work
    file.unlink()
    (done,) = outcomes(cases[:1], other, scheduler=scheduler).values()
    assert done.status == "done"


def test_the_table_has_the_numbers_of_corrected_labels(cohort, piece, scheduler):
    cases, settings = cohort[0][::2], cohort[1]  # without the broken one
    outcomes(cases, settings, scheduler=scheduler)
    before, file = rows(settings.output / "measurements.csv"), settings.output / "a" / "segmentation.nii.gz"
    own = (settings.output / "a" / "measurements.csv").read_bytes()
    corrected = read_label_map(file)
    left, right = (corrected.structure(name).value for name in ("lung_left", "lung_right"))
    corrected.array[: len(corrected.array) // 2][corrected.array[: len(corrected.array) // 2] == left] = 0
    write_label_map(corrected, file)
    again = outcomes(cases, settings, scheduler=scheduler)
    now = rows(settings.output / "measurements.csv")
    assert [(row["case"], row["name"]) for row in now] == [(row["case"], row["name"]) for row in before]
    assert now[1:] == before[1:] and now[0]["name"] == "lung_left", "other structures and cases are as before"
    mask = corrected.array == left
    assert int(now[0]["voxels"]) == mask.sum() < int(before[0]["voxels"])
    assert float(now[0]["volume_ml"]) == pytest.approx(mask.sum() * piece.voxel_ml, abs=1e-3)
    assert float(now[0]["mean_hu"]) == pytest.approx(piece.array[mask].mean(), abs=0.1)
    assert before[0]["confidence"] and not now[0]["confidence"]
    assert (settings.output / "a" / "measurements.csv").read_bytes() == own
    assert "corrected" not in again["a"].as_json()
    corrected.array[corrected.array == right] = 0
    write_label_map(corrected, file)
    (kept,) = outcomes(cases[:1], settings, scheduler=scheduler).values()
    assert "Removed: Right lung." in kept.warnings
    assert [row["name"] for row in rows(settings.output / "measurements.csv")] == ["lung_left"]


@pytest.mark.parametrize("why", ["names", "grid"])
def test_corrected_labels_that_cannot_be_measured_keep_the_numbers_of_before(cohort, scheduler, why):
    """As other programs write them: without names, or cut to another grid."""
    cases, settings = cohort[0][:1], cohort[1]
    outcomes(cases, settings, scheduler=scheduler)
    before, file = rows(settings.output / "measurements.csv"), settings.output / "a" / "segmentation.nii.gz"
    image = SimpleITK.ReadImage(str(file))
    image = SimpleITK.Shrink(image, [2, 2, 2]) if why == "grid" else image + (image > 0)
    SimpleITK.WriteImage(image, str(file))
    (again,) = outcomes(cases, settings, scheduler=scheduler).values()
    assert "its measurements and surfaces are those of before" in again.warnings[0]
    assert rows(settings.output / "measurements.csv") == before


def test_results_that_are_deleted_during_the_run_are_told(cohort, scheduler):
    cases, settings = cohort
    with pytest.raises(OutputError, match="deleted or changed during the run: those of a"):
        for outcome in run_cohort(cases[:1], settings, scheduler=scheduler):
            shutil.rmtree(settings.output)
            assert outcome.status == "done"


@pytest.mark.parametrize("of", ["worker", "helper"])
def test_a_model_that_is_replaced_during_the_run_is_told(cohort, scheduler, of):
    """Where a worker starts later and finds other files, or a run uses a helper that nobody saw at the start."""
    cases, settings = cohort[0][::2], cohort[1]  # without the broken one
    model, digest = case._loaded("ct_demo", None)
    later = itertools.count()
    crop = {"model": {"id": "ct_helper", "digest": "sha256:other"}}

    def loaded(_name, _stamp):
        return model, f"{digest} {'first' if of == 'helper' or not next(later) else 'replaced'}"

    def with_helper(*given, **options):
        result = segment(*given, **options)
        return replace(
            result, provenance=result.provenance | ({"crop": crop} if of == "helper" and next(later) else {})
        )

    with patch.object(case, "_loaded", loaded), patch("DeepSegLogic.segmentation.segment", with_helper):
        ended = outcomes(cases, settings, scheduler=scheduler)
    assert sorted(statuses(ended).values()) == ["done", "failed"]
    (failed,) = [outcome for outcome in ended.values() if outcome.status == "failed"]
    assert failed.code == "model.replaced" and "ct_demo was replaced" in failed.message
    assert not (settings.output / failed.case.name / "segmentation.seg.nrrd").exists()


def test_names_of_cases_are_no_formulas(cohort, piece, scheduler):
    cases, settings = cohort
    source = cases[0].source.with_name("=1+1.nii.gz")
    write_volume(piece, source)
    assert statuses(outcomes([Case("=1+1", source)], settings, scheduler=scheduler)) == {"=1+1": "done"}
    for table in ("cohort.csv", "measurements.csv"):
        assert {row["case"] for row in rows(settings.output / table)} == {"'=1+1"}


def test_cancelled_cases_leave_nothing(cohort):
    cases, settings = cohort
    ended = []
    for outcome in run_cohort(cases, settings, cancel=lambda: bool(ended)):
        ended.append(outcome)
    assert len(ended) == 3
    assert [o.status for o in ended].count("cancelled") >= 1
    for outcome in ended:
        assert (settings.output / outcome.case.name / "provenance.json").exists() == (outcome.status == "done")
    assert not [path for path in settings.output.rglob("*") if path.name.startswith(".")]


def test_the_measurements_of_a_cohort_that_was_not_finished_say_so(cohort, scheduler):
    """Also if the caller stops asking. ``cohort.csv`` names all cases; only one table of measurements stays."""
    cases, settings = cohort
    whole, partial = settings.output / "measurements.csv", settings.output / "measurements-partial.csv"
    for run in (partial, whole, partial):
        for ended in run_cohort(cases, settings, scheduler=scheduler):
            if run is partial and ended.status in ("done", "kept"):
                break
        told = {row["case"]: row["status"] for row in rows(settings.output / "cohort.csv")}
        assert [name for name in (whole, partial) if name.exists()] == [run]
        assert {row["case"] for row in rows(run)} == {case for case, how in told.items() if how in ("done", "kept")}
        assert told.keys() == {"a", "broken", "patient 2/b"}
        assert ("cancelled" in told.values()) == (run is partial)


def test_a_worker_that_dies_of_a_case_is_told(cohort, scheduler):
    """As when the kernel kills it for its memory: each worker, as soon as it has torch."""
    cases, settings = cohort
    over = threading.Event()

    def kill():
        while not over.wait(0.05):
            for worker in computing():
                with suppress(psutil.Error):
                    worker.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        (outcome,) = run_cohort(cases[:1], settings)
    finally:
        over.set()
        killer.join()
    assert (outcome.status, outcome.code) == ("failed", "resource.worker_died")
    assert outcome.remedy
    assert statuses(outcomes(cases[:1], settings, scheduler=scheduler)) == {"a": "done"}


def test_a_case_whose_worker_is_killed_once_is_repeated(cohort):
    cases, settings = cohort
    killed = []

    def kill(stage, fraction, message):
        if "%" in message and not killed:  # within a case
            killed.extend(worker.kill() for worker in computing())

    ended = outcomes(cases, settings, progress=kill)
    assert killed
    assert statuses(ended) == {"a": "done", "patient 2/b": "done", "broken": "failed"}
    assert ended["broken"].code == "input.truncated"
    assert not list(settings.output.rglob(".*"))


def computing():
    """Processes started from here that have torch loaded."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any("libtorch" in m.path for m in child.memory_maps()):
                found.append(child)
    return found


def check_that_nobody_else_reaches(listening):
    """The cluster listens on this machine only; its pages, which would show names of cases, are not there."""
    assert len(listening) >= 2
    assert {address.ip for address in listening} == {"127.0.0.1"}
    for address in listening:
        for page in ("status", "info/main/workers.html", "json/counts.json", "metrics"):
            with pytest.raises(OSError):  # 404, or not HTTP at all
                urllib.request.urlopen(f"http://127.0.0.1:{address.port}/{page}", timeout=5)


def listening_here():
    """Addresses at which this process and those that it started listen."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    found = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            found |= {c.laddr for c in process.net_connections("tcp") if c.status == "LISTEN"}
    return found


def test_a_scheduler_whose_worker_does_two_cases_at_once(cohort):
    from distributed import LocalCluster

    cases, settings = cohort
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "protocol": "tcp", "host": "127.0.0.1"}
    with patch.dict(os.environ), LocalCluster(**options, dashboard_address=None) as cluster:  # dask leaves variables
        ended = outcomes(cases, settings, scheduler=cluster.scheduler_address)
    assert statuses(ended) == {"a": "done", "patient 2/b": "done", "broken": "failed"}


def test_workers_in_another_folder_find_what_is_near_the_driver(cohort, scheduler, monkeypatch, tmp_path):
    engine, (_, settings) = engine_for("dask"), cohort
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    def elsewhere(*given):
        os.chdir(tmp_path / "elsewhere")  # the worker is a thread here
        return engine(*given)

    monkeypatch.setattr("DeepSegLogic.cohort.runner.engine_for", lambda _: elsewhere)
    ended = outcomes(find_cases([Path("in")]), replace(settings, output=Path("out")), scheduler=scheduler)
    assert statuses(ended) == {"a": "done", "patient 2/b": "done", "broken": "failed"}
    assert (tmp_path / "out" / "a" / "provenance.json").exists() and len(rows(tmp_path / "out" / "cohort.csv")) == 3


def test_a_scheduler_that_is_lost_is_told_and_not_as_cancelled(cohort, capfd):
    cases, settings = cohort
    port = free_port()
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:

        def lose():
            process.kill()
            return False

        with pytest.raises(ResourceError, match="Dask scheduler was lost") as caught:
            list(run_cohort(cases, settings, scheduler=f"tcp://127.0.0.1:{port}", cancel=lose))
    assert caught.value.code == "resource.scheduler"
    assert not settings.output.exists()
    assert "Traceback" not in capfd.readouterr().err


def test_settings_that_cannot_be(cohort, monkeypatch):
    cases, settings = cohort
    monkeypatch.setattr("DeepSegLogic.cohort.engines.on_dask._CONNECT_S", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense://"):
        with pytest.raises(ResourceError, match=f"No Dask scheduler answers at {address}"):
            list(run_cohort(cases, settings, scheduler=address))
    with pytest.raises(UsageError, match="its own workers"):
        list(run_cohort(cases, settings, scheduler="tcp://127.0.0.1:9", workers=2))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ResourceError, match="not installed") as caught:
        list(run_cohort(cases, settings))
    assert "[cohort]" in caught.value.remedy


def deepseg(*arguments, code=CODE, **options):
    command = [sys.executable, "-c", code, "cohort", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", **options)


def test_the_command(cohort, scheduler, capsys):
    cases, _ = cohort
    folder = cases[0].source.parent
    asked = [folder, "-o", folder / "out", "-s", "lung_left", "--quality", "draft", "--surfaces", "", "--json"]
    assert main(["cohort", *map(str, asked), "--scheduler", scheduler]) == 1
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (events[-1]["event"], events[-1]["cases"]) == ("result", {"done": 2, "failed": 1})
    assert {e["case"] for e in events if e["event"] == "case"} == {"a", "broken", "patient 2/b"}
    assert main(["cohort", str(folder), "-o", str(folder / "out"), "-s", "lung_lift"]) == 2
    assert "lung_left" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to a group of processes")
@pytest.mark.parametrize("first", ["", "import signal; del signal.pthread_sigmask; "], ids=["POSIX", "as on Windows"])
def test_ctrl_c_ends_it_and_the_next_run_goes_on(cohort, scheduler, first):
    """The terminal sends it to the workers, too. Windows cannot block signals. Dask's own settings are kept."""
    cases, settings = cohort
    out = settings.output
    asked = [cases[0].source.parent, "-o", out, "-s", "lung_left", "--quality", "draft", "--surfaces", "", "--json"]
    environment = os.environ | {"DASK_DISTRIBUTED__WORKER__PRELOAD": "json"}
    process = deepseg(*asked, code=first + CODE, env=environment, start_new_session=True)
    for line in process.stdout:
        if '"case"' in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode in (130, 1), errors  # 1: it came when all cases had ended
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]
    before = {row["case"]: row["status"] for row in rows(out / "cohort.csv")}
    assert len(before) == 3
    outcomes(cases, replace(settings, structures=["lung_left"]), scheduler=scheduler)
    after = {row["case"]: row["status"] for row in rows(out / "cohort.csv")}
    assert "Traceback" not in errors
    assert after == {n: "kept" if before[n] == "done" else "done" for n in after} | {"broken": "failed"}
