"""Rows of logits that are kept on the disk."""

from collections import namedtuple
from pathlib import Path

import pytest
import torch

from DeepSegLogic.inference.accumulator import Accumulator
from DeepSegLogic.util.errors import ResourceError

CPU = torch.device("cpu")
SHARE = [torch.ones(1, 1, 1)] * 3


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux to tell which files are mapped")
def test_no_file_is_deleted_while_it_is_mapped(monkeypatch):
    """Windows refuses that."""
    deleted, really = set(), Path.unlink

    def unlink(path, missing_ok=False):
        assert str(path) not in Path("/proc/self/maps").read_text()
        deleted.add(path.name)
        really(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    accumulator = Accumulator(2, (3, 4), CPU, on_disk=True)
    for row in range(6):
        accumulator.cover(row + 1)
        accumulator.add(torch.full((2, 1, 3, 4), row + 1.0), (row, 0, 0), SHARE)
    assert "logits-1" in deleted
    assert accumulator.rows(0, 6)[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5, 6]
    accumulator.close()


def test_a_disk_without_room_is_said_before_it_is_used(monkeypatch):
    usage = namedtuple("usage", "total used free")
    accumulator = Accumulator(2, (3, 4), CPU)
    accumulator.cover(5)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage(1000, 990, 10))
    with pytest.raises(ResourceError, match="too full") as caught:
        accumulator.move(CPU, on_disk=True)
    assert caught.value.code == "resource.disk"
    accumulator.close()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to limit the address space")
def test_a_file_that_finds_no_address_space_is_a_lack_of_memory():
    """So that the run takes smaller windows, or says that memory does not suffice."""
    resource = pytest.importorskip("resource")
    accumulator = Accumulator(2, (1000, 1000), CPU, on_disk=True)
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, before[1]))
    try:
        with pytest.raises(MemoryError):
            accumulator.cover(20)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        accumulator.close()
