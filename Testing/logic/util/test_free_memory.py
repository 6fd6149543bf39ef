"""Limits of control groups, as the kernel's documentation lays their files out."""

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from DeepSegLogic.util.free_memory import free_memory, left_in_groups


def group(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(text, "utf-8")


@pytest.fixture
def system(tmp_path):
    def processes(lines):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(lines, "utf-8")
        return tmp_path

    return processes


def test_a_container_sees_its_own_limit_at_the_top(system):
    root = system("0::/\n")
    stat = "anon 700\ninactive_file 200\nactive_file 100\n"
    group(root / "sys/fs/cgroup", max="4000\n", current="1000\n", stat=stat)
    assert list(left_in_groups(root)) == [3200]


def test_each_group_around_the_process_counts(system):
    root = system("0::/user.slice/job_7/step\n")
    group(root / "sys/fs/cgroup/user.slice", max="9000", current="8500", stat="inactive_file 0")
    group(root / "sys/fs/cgroup/user.slice/job_7", max="4000", current="1000", stat="inactive_file 0")
    group(root / "sys/fs/cgroup/user.slice/job_7/step", max="max", current="1000", stat="inactive_file 0")
    assert list(left_in_groups(root)) == [3000, 500]


def test_version_1(system):
    root = system("5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n0::/docker/ab\n")
    # Inside of a container the path is that of the host, and only the top is there.
    files = {"limit_in_bytes": "6000", "usage_in_bytes": "2000", "stat": "total_inactive_file 500\nrss 3"}
    group(root / "sys/fs/cgroup/memory", **files)
    assert list(left_in_groups(root)) == [4500]


def test_no_groups(tmp_path):
    assert list(left_in_groups(tmp_path)) == []


def test_a_machine_without_limits(monkeypatch):
    monkeypatch.setattr("DeepSegLogic.util.free_memory.left_in_groups", lambda: iter(()))
    monkeypatch.setattr("DeepSegLogic.util.free_memory._left_to_process", lambda: iter(()))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=4000))
    assert free_memory() == 4000


def test_this_machine():
    assert 0 < free_memory() <= psutil.virtual_memory().total


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere such limits are not kept")
def test_a_limit_of_the_process_counts():
    code = (
        "import psutil, resource\nfrom DeepSegLogic.util.free_memory import free_memory\n"
        "limit = psutil.Process().memory_info().vms + (300 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\nprint(free_memory())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert 200 << 20 < int(told) <= 300 << 20
