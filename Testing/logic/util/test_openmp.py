"""OpenMP's settings: asked of the runtime that torch loads, and of control groups as the kernel lays them out."""

import os
import subprocess
import sys

import numpy as np
import pytest

from DeepSegLogic.cohort.engines import on_dask
from DeepSegLogic.util.openmp import cpu_limits, openmp_settings
from DeepSegLogic.worker import ProcessLink, WorkerClient

SHOWS = pytest.mark.skipif(sys.platform != "linux", reason="only the OpenMP of Linux builds of torch is known to tell")


def told_by_openmp(code, **environment):
    """What OpenMP prints about itself when it is loaded by some Python code."""
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "OMP_DISPLAY_ENV": "VERBOSE", **environment}
    return subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", timeout=200, check=False
    ).stderr


@SHOWS
@pytest.mark.parametrize("own, spins", [({}, "0"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "30000000000")])
def test_the_command_line_waits_passively_unless_the_user_says_otherwise(own, spins, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    code = "import sys, atexit; sys.argv = ['deepseg', '--version']; from DeepSegLogic.cli import run\n"
    code += "atexit.register(lambda: __import__('torch'))\nrun()"
    assert f"GOMP_SPINCOUNT = '{spins}'" in told_by_openmp(code, **own)


@SHOWS
def test_a_script_waits_passively_if_it_sets_the_policy_before_torch_is_loaded(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    lines = ["import os, DeepSegLogic", "os.environ.update(DeepSegLogic.openmp_settings())"]
    run = "DeepSegLogic.load_model(DeepSegLogic.find_model('ct_demo'))"
    assert "GOMP_SPINCOUNT = '0'" in told_by_openmp("\n".join([*lines, run]))
    assert "GOMP_SPINCOUNT = '0'" not in told_by_openmp("\n".join(["import torch", *lines, run])), "too late"


@SHOWS
def test_workers_wait_passively_and_the_program_that_starts_them_is_untouched(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("OMP_DISPLAY_ENV", "VERBOSE")
    before = dict(os.environ)
    with WorkerClient(ProcessLink) as client:
        client.call("estimate", shape=[20, 20, 20], ijk_to_ras=np.eye(4), model="ct_demo")  # loads torch
        log = "\n".join(client.log)
    assert "GOMP_SPINCOUNT = '0'" in log
    assert dict(os.environ) == before


def test_settings_of_the_user_win(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    assert openmp_settings().items() >= {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}.items()
    monkeypatch.setenv("KMP_BLOCKTIME", "200")
    assert "KMP_BLOCKTIME" not in openmp_settings()


@pytest.mark.parametrize(
    "groups, files, limits",
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/\n", {"cpu.max": "max 100000\n"}, []),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "200000 100000"}, [2.0, 4.0]),
        ("4:cpu,cpuacct:/x\n", {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, [0.5]),
        ("4:cpu,cpuacct:/x\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, []),
        ("4:memory:/x\n", {}, []),
    ],
)
def test_limits_of_containers(groups, files, limits, tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups, "utf-8")
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    assert list(cpu_limits(tmp_path)) == limits


def test_a_container_gets_as_many_threads_as_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(64), raising=False)
    monkeypatch.setattr("DeepSegLogic.util.openmp.cpu_limits", lambda: iter([2.0, 16.0]))
    assert openmp_settings()["OMP_NUM_THREADS"] == "2"
    monkeypatch.setattr("DeepSegLogic.util.openmp.cpu_limits", lambda: iter([]))
    assert "OMP_NUM_THREADS" not in openmp_settings()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux ties processes to cores")
def test_a_batch_job_gets_as_many_threads_as_cores(monkeypatch):
    """Slurm, ``taskset`` and ``docker --cpuset-cpus`` tie a process to some cores."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert openmp_settings()["OMP_NUM_THREADS"] == "1"
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("given", "workers", "each"), [(None, 2, 4), (None, 20, 1), ("6", 2, 3), ("1", 1, 1), ("1", 2, 1), ("4,2", 2, 4)]
)
def test_workers_of_a_cohort_share_the_cores_or_the_threads_of_the_user(given, workers, each, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(on_dask, "usable_cores", lambda: 8)
    assert on_dask._environment(workers)["OMP_NUM_THREADS"] == str(each)
