"""Two processes that train together do what one does with twice the batch."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from DeepSegLogic.training.parallel import ALONE, Levels, Ranks

from .rank import Quiet, run


def two(folder, steps):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    script = Path(__file__).with_name("rank.py")
    given = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, str(script), str(folder), str(steps)], env={**given, "RANK": str(rank)})
        for rank in range(2)
    ]
    assert [process.wait(400) for process in processes] == [0, 0]
    return [torch.load(folder / f"rank{rank}.pth", weights_only=True) for rank in range(2)]


def losses(folder):
    with (folder / "training.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_two_processes_are_one_with_twice_the_batch_also_after_a_break(tmp_path):
    for name in ("two", "one"):
        (tmp_path / name).mkdir()
    two(tmp_path / "two", 3)
    first, second = two(tmp_path / "two", 6)  # continues
    run(tmp_path / "one", 3, 4)
    run(tmp_path / "one", 6, 4)
    expected = torch.load(tmp_path / "one" / "rank0.pth", weights_only=True)
    for kind in ("weights", "average"):
        for name, tensor in expected[kind].items():
            assert torch.equal(first[kind][name], second[kind][name]), name
            torch.testing.assert_close(first[kind][name], tensor, rtol=1e-4, atol=1e-6)
    assert not torch.equal(first["weights"]["first.weight"], Quiet().state_dict()["first.weight"])
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert len(losses(tmp_path / "two")) == 6, "written by the first process alone"


def test_each_process_has_its_part_of_each_step():
    parts = [list(Ranks(rank, 3).share(100, 4, 2)) for rank in range(3)]
    steps = [[m for part in parts for m in part[2 * n : 2 * n + 2]] for n in range(4)]
    assert steps == [list(range(100 + 6 * n, 106 + 6 * n)) for n in range(4)]
    assert list(ALONE.share(5, 3, 2)) == list(range(5, 11))
    alone = ALONE.wrapped(Quiet())
    assert isinstance(alone, Levels) and len(alone(torch.zeros(1, 1, 4, 4, 4))) == 2
    assert ALONE.agreed(7, True, torch.device("cpu")) == (7, True)
