"""Other engines of a cohort: Spark on a real local cluster, and Slurm's array jobs."""

import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

import psutil
import pytest
import slurm_cluster
from free_ports import free_port

from DeepSegLogic.cli import main
from DeepSegLogic.cli.slurm import array_script, part_of
from DeepSegLogic.cohort.engines import ENGINES, engine_for
from DeepSegLogic.cohort.engines.on_spark import _why_unreachable
from DeepSegLogic.cohort.runner import run_cohort
from DeepSegLogic.util.errors import ResourceError, UsageError

from .test_run import computing, deepseg, outcomes, rows, statuses

SBATCH = """#!/usr/bin/env python3
# A stand-in for Slurm's sbatch: it reads the array from the script, and runs its tasks one after another.
import os, re, subprocess, sys
script = open(sys.argv[1]).read()
first, last = map(int, re.search(r"^#SBATCH --array=(\\d+)-(\\d+)$", script, re.M).groups())
for task in range(first, last + 1):
    done = subprocess.run(["bash", sys.argv[1]], env=os.environ | {{"SLURM_ARRAY_TASK_ID": str(task)}})
print("Submitted batch job 7")
"""


def test_every_engine_of_the_table_is_there():
    assert all(callable(engine_for(name)) for name in ENGINES)
    with pytest.raises(UsageError, match="no engine 'condor'"):
        engine_for("condor")


@pytest.mark.parametrize(("text", "expected"), [("1/1", range(10)), ("3/4", [2, 6]), ("10/10", [9])])
def test_a_part_is_every_so_many_th_case(text, expected):
    assert list(range(10))[part_of(text)] == list(expected)


def test_parts_are_all_cases_once():
    found = [case for i in range(1, 8) for case in list(range(30))[part_of(f"{i}/7")]]
    assert sorted(found) == list(range(30))


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/-2", ""])
def test_parts_that_cannot_be(text):
    with pytest.raises(UsageError, match="3/10"):
        part_of(text)


def test_a_part_without_cases_is_said(cohort, capsys):
    cases, settings = cohort
    assert main(["cohort", str(cases[0].source.parent), "-o", str(settings.output), "--part", "9/10"]) == 0
    assert capsys.readouterr().out == "Part 9/10 has no cases: there are only 3.\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--engine", "condor"], "Choose one of dask, spark, slurm."),
        (["--engine", "servers"], "Choose one of dask, spark, slurm."),
        (["--engine", "slurm", "--part", "1/2"], "--part is not for --engine slurm"),
        (["--engine", "slurm", "--scheduler", "tcp://head:8786"], "--scheduler is not for --engine slurm"),
        (["--dry-run"], "--dry-run is for --engine slurm"),
    ],
)
def test_options_of_another_engine_are_refused(tmp_path, capsys, given, said):
    assert main(["cohort", str(tmp_path), "-o", str(tmp_path / "out"), *given]) == 2
    assert said in capsys.readouterr().err


def test_the_script_quotes_and_bounds():
    script = array_script(["cohort", "/data/it's here"], PurePosixPath("/100%"), 7, tasks=50, gpu=True)
    assert "#SBATCH --array=1-7\n" in script and "--gpus-per-task=1" in script
    assert "#SBATCH --output=/100%%/slurm-%A_%a.log\n" in script
    if shutil.which("bash"):
        assert subprocess.run(["bash", "-n"], input=script, encoding="utf-8").returncode == 0
    assert "#SBATCH --array=1-100\n" in array_script(["cohort"], PurePosixPath("/out"), 100_000)


@pytest.mark.parametrize("name", ["a\\b", "a\nrm -r b"])
def test_a_folder_that_slurm_cannot_write_to_is_told(name):
    with pytest.raises(UsageError, match="backslash"):
        array_script(["cohort"], PurePosixPath("/data") / name, 7)


@pytest.mark.skipif(sys.platform == "win32", reason="Slurm runs on Linux")
def test_an_array_job_does_all_cases(cohort, scheduler, tmp_path, monkeypatch, capsys):
    cases, settings = cohort
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH.format())
    (programs / "sbatch").chmod(0o755)
    folder, out = cases[0].source.parent, settings.output
    asked = [folder, "-o", out, "-s", "lung_left", "--quality", "draft", "--surfaces", ""]
    slurm = ["cohort", *map(str, asked), "--engine", "slurm", "--workers", "2"]
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        assert main(slurm) == 6 and "cohort.sbatch" in capsys.readouterr().err
    assert main([*slurm, "--dry-run"]) == 0 and "#SBATCH --array=1-2\n" in capsys.readouterr().out
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert main(slurm) == 0 and "Submitted batch job 7" in capsys.readouterr().out
    parts = [rows(out / f"cohort-{i}-of-2.csv") for i in (1, 2)]
    assert {row["case"]: row["status"] for part in parts for row in part} == {
        "a": "done",
        "patient 2/b": "done",
        "broken": "failed",
    }
    outcomes(cases, replace(settings, structures=["lung_left"]), scheduler=scheduler)
    assert [row["status"] for row in rows(out / "cohort.csv")] == ["kept", "failed", "kept"]


@pytest.mark.skipif(sys.platform == "win32", reason="Slurm runs on Linux")
def test_a_task_that_is_killed_is_repeated_by_a_real_slurm(cohort):
    """As for its memory: SIGKILL to all its processes while a case runs. What the folder is called is no matter."""
    cases, settings = cohort
    out = settings.output.with_name("it's 50%A #1")
    with slurm_cluster.running() as cluster:
        asked = [cases[0].source.parent, "-o", out, "-s", "lung_left", "--quality", "draft", "--surfaces", ""]
        environment = cluster.environment | {"OMP_NUM_THREADS": "7"}
        process = deepseg(*asked, "--engine", "slurm", "--workers", "2", env=environment)
        said, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        job = said.splitlines()[0].split()[-1]
        cluster.until(lambda: list(out.glob(".deepseg-*/files/case-0")))  # of a
        task = {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": "1"}.items()
        killed = [p for p in psutil.process_iter() if task <= environment_of(p).items()]
        threads = {environment_of(p)["OMP_NUM_THREADS"] for p in killed}
        for each in killed:
            each.kill()
        cluster.until_ended()
        assert len(killed) > 1 and threads == {"1"}, "of the cluster's two cores"
        assert not (out / "a" / "provenance.json").exists() and not (out / "cohort-1-of-2.csv").exists()
        assert [(row["case"], row["status"]) for row in rows(out / "cohort-2-of-2.csv")] == [("broken", "failed")]
        again = cluster.call("sbatch", "--array=1", out / "cohort.sbatch").split()[-1]
        cluster.until_ended()
        ended = {row["case"]: row["status"] for row in rows(out / "cohort-1-of-2.csv")}
        assert ended == {"a": "done", "patient 2/b": "done"}, (out / f"slurm-{again}_1.log").read_text()
        assert not list(out.rglob(".deepseg-*"))


def environment_of(process):
    try:
        return process.environ()
    except psutil.Error:
        return {}


@pytest.fixture
def spark():
    pytest.importorskip("pyspark", reason='needs pyspark (pip install -e ".[spark]")')
    if shutil.which("java") is None:
        pytest.skip("needs Java (apt-get install default-jre-headless)")


@pytest.mark.usefixtures("spark")
def test_spark_does_what_dask_does(cohort):
    """On a standalone cluster of two workers that Spark starts: processes of their own."""
    cases, settings = cohort
    environment, told = dict(os.environ), []
    run = run_cohort(
        cases,
        settings,
        engine="spark",
        scheduler="local-cluster[2,1,2048]",
        progress=lambda stage, fraction, message: told.append(message),
    )
    ended = {o.case.name: o for o in run}
    assert dict(os.environ) == environment
    assert any("%" in message for message in told)
    assert statuses(ended) == {"a": "done", "patient 2/b": "done", "broken": "failed"}
    assert ended["broken"].code == "input.truncated"
    assert len(rows(settings.output / "measurements.csv")) == 4
    assert not [path for path in settings.output.rglob("*") if path.name.startswith(".")]
    assert statuses(outcomes(cases, settings)) == {"a": "kept", "patient 2/b": "kept", "broken": "failed"}


@pytest.mark.usefixtures("spark")
def test_a_case_whose_spark_executor_is_killed_is_repeated(cohort):
    cases, settings = cohort
    killed = []

    def kill(stage, fraction, message):
        if "%" in message and not killed:  # within a case
            above = computing()[0].parents()
            killed.append(next(p for p in above if p.name() == "java").kill())

    run = run_cohort(cases, settings, engine="spark", scheduler="local-cluster[2,1,2048]", progress=kill)
    ended = {o.case.name: o for o in run}
    assert killed
    assert statuses(ended) == {"a": "done", "patient 2/b": "done", "broken": "failed"}
    assert ended["broken"].code == "input.truncated"
    assert not list(settings.output.rglob(".*"))


@pytest.mark.usefixtures("spark")
def test_spark_is_cancelled_and_refuses(cohort, monkeypatch):
    cases, settings = cohort
    ended = []
    for outcome in run_cohort(cases, settings, engine="spark", workers=1, cancel=lambda: bool(ended)):
        ended.append(outcome)
    assert len(ended) == 3 and "cancelled" in [o.status for o in ended]
    with pytest.raises(ResourceError, match="No Spark master answers at nonsense"):
        list(run_cohort(cases, settings, engine="spark", scheduler="nonsense"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ResourceError, match="Java"):
        list(run_cohort(cases, settings, engine="spark"))


@pytest.fixture
def master(spark, tmp_path):
    """Address of a Spark master without workers."""
    pyspark, port = importlib.import_module("pyspark"), free_port()
    program = Path(pyspark.__file__).parent / "bin" / "spark-class"
    where = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"]
    with (tmp_path / "master.log").open("wb") as log:
        command = [str(program), "org.apache.spark.deploy.master.Master", *where]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    until_it_listens(port)
    yield f"spark://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)


def until_it_listens(port):
    end = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.1)


def on_spark(cohort, *more):
    cases, settings = cohort
    asked = [cases[0].source.parent, "-o", settings.output, "-s", "lung_left", "--quality", "draft", "--surfaces", ""]
    return deepseg(*asked, "--json", "--engine", "spark", *more, start_new_session=True)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to a group of processes")
@pytest.mark.parametrize("where", ["here", "no workers"])
def test_ctrl_c_on_spark_ends_it_and_writes_the_tables(cohort, request, where):
    master = [] if where == "here" else ["--scheduler", request.getfixturevalue("master")]
    request.getfixturevalue("spark")
    out, begun = cohort[1].output, "%" if where == "here" else "waiting for workers"
    process = on_spark(cohort, *master)
    assert any(begun in line for line in process.stdout)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    ended = {row["case"]: row["status"] for row in rows(out / "cohort.csv")}
    left = [*ended.values()].count("cancelled")
    assert (process.returncode, errors) == (130, f"Cancelled. Not finished: {left} of 3 cases.\n")
    assert set(ended) == {"a", "patient 2/b", "broken"} and left > (0 if where == "here" else 2)
    assert not list(out.rglob(".*"))


@pytest.mark.usefixtures("spark")
@pytest.mark.skipif(sys.platform == "win32", reason="the process has another name")
def test_a_spark_that_stops_is_told_once_and_not_as_a_crash_of_each_case(cohort):
    process = on_spark(cohort)
    assert any("%" in line for line in process.stdout)
    next(p for p in psutil.Process(process.pid).children(recursive=True) if p.name() == "java").kill()
    _, errors = process.communicate(timeout=120)
    said = errors.splitlines()[-1]  # above it, threads of PySpark may tell that they lost Java
    assert process.returncode == 6 and said.startswith("Error: Spark has stopped: no master answers at local[1]")
    assert "spark.log" in said
    assert (cohort[1].output / "spark.log").stat().st_size
    assert not list(cohort[1].output.rglob(".*"))


@pytest.mark.parametrize("address", ["{free}", "{free},{free}", f"{'a' * 64}:7077", "127.0.0.1:port"])
def test_a_spark_master_that_nobody_answers_is_told_within_seconds(cohort, address):
    """Spark itself tries for more than a minute."""
    cases, settings = cohort
    master = f"spark://{address.replace('{free}', f'127.0.0.1:{free_port()}')}"
    began = time.monotonic()
    with pytest.raises(ResourceError, match=f"No Spark master answers at {master} ") as caught:
        list(run_cohort(cases, settings, engine="spark", scheduler=master))
    assert time.monotonic() - began < 10
    assert (caught.value.code, caught.value.exit_code) == ("resource.scheduler", 6)
    assert "Start the master" in caught.value.remedy and not settings.output.exists()


@pytest.mark.parametrize("address", ["{listens}", "127.0.0.1:{closed},{listens}"])
def test_a_spark_master_that_listens_is_left_to_spark(cohort, monkeypatch, address):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
        master = f"spark://{address.format(listens=place, closed=free_port())}"
        with pytest.raises(ResourceError, match="not installed"):
            list(run_cohort(*cohort, engine="spark", scheduler=master))


def banner(connection):
    connection.sendall(b"220 mail.example ESMTP\r\n")
    connection.recv(100)


def web_server(connection):
    while b"\r\n\r\n" not in connection.recv(100):
        pass
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("answer", [banner, web_server])
def test_what_is_no_spark_master_is_asked_once_and_told_within_seconds(cohort, answer):
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with suppress(OSError):  # closed
                while True:
                    connection, place = server.accept()
                    asked.append(place)
                    with connection, suppress(OSError):
                        answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        began = time.monotonic()
        with pytest.raises(ResourceError, match="what listens there is no Spark master") as caught:
            list(run_cohort(*cohort, engine="spark", scheduler=f"spark://127.0.0.1:{server.getsockname()[1]}"))
    assert time.monotonic() - began < 10 and len(asked) == 1 and "its web page" in caught.value.remedy


def test_a_spark_master_is_known_by_its_answer(master, monkeypatch):
    monkeypatch.setattr("DeepSegLogic.cohort.engines.on_spark._ANSWER_S", 60.0)
    began = time.monotonic()
    assert _why_unreachable(master.removeprefix("spark://")) == "" and time.monotonic() - began < 50


def test_a_spark_master_that_is_just_starting_is_waited_for(cohort, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    port, servers = free_port(), []
    timer = threading.Timer(1.0, lambda: servers.append(socket.create_server(("127.0.0.1", port))))
    timer.start()
    with pytest.raises(ResourceError, match="not installed"):
        list(run_cohort(*cohort, engine="spark", scheduler=f"spark://127.0.0.1:{port}"))
    servers[0].close()


def test_spark_that_is_not_installed_is_told(cohort, monkeypatch):
    cases, settings = cohort
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(ResourceError, match="not installed"):
        list(run_cohort(cases, settings, engine="spark"))
