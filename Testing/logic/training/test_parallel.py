"""Two processes that train together do what one does with twice the batch."""

import csv
import os
import sys
from pathlib import Path

import forked
import pytest
import torch
from free_ports import free_port

from DeepSegLogic.cli import main
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.training import parallel
from DeepSegLogic.training.parallel import ALONE, Levels, Ranks
from DeepSegLogic.util.errors import UsageError

from .phantom import write_raw
from .rank import STEPS, Quiet, run

pytest.importorskip("monai")
LOADED = ("DeepSegLogic.cli", "DeepSegLogic.training.recipe", "monai", "torch._dynamo")


def two(program, *arguments, stderr=None):
    """Run a Python program in two processes as torchrun does."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    given = {**os.environ, **meeting, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    started = [forked.popen(LOADED, command, env={**given, "RANK": str(rank)}, stderr=stderr) for rank in range(2)]
    assert [process.wait(400) for process in started] == [0, 0]


def losses(folder):
    with (folder / "training.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_two_processes_are_one_with_twice_the_batch_also_after_a_break(tmp_path):
    for name in ("two", "one"):
        (tmp_path / name).mkdir()
    program = Path(__file__).with_name("rank.py")
    two(f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')", tmp_path / "two")
    first, second = (torch.load(tmp_path / "two" / f"rank{n}.pth", weights_only=True) for n in range(2))
    for steps in STEPS:
        run(tmp_path / "one", steps, 4)
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


def test_the_command_trains_in_two_processes(tmp_path):
    """And warns once, although both read the same data."""
    data = write_raw(tmp_path / "raw", 1, shape=(16, 24, 24))
    program = "import sys; from DeepSegLogic.cli import main; sys.exit(main(sys.argv[1:]))"
    sizes = ["--steps", "2", "--patch", "16,16,16", "--spacing", "4", "--batch", "1", "--device", "cpu", "--quiet"]
    with (tmp_path / "said").open("w") as said:
        two(program, "train", data, "-o", tmp_path / "lab", *sizes, stderr=said)
    assert (tmp_path / "said").read_text().count("Warning: There is one case") == 1
    assert load_model(find_model(tmp_path / "lab")).networks
    state = torch.load(tmp_path / "lab.training" / "checkpoint.pth", weights_only=True)
    assert (state["step"], state["seen"]) == (2, 4)
    assert len(losses(tmp_path / "lab.training")) == 2


@pytest.mark.parametrize(("rank", "said"), [("0", "has other files"), ("1", "the processes meet")])
def test_only_the_first_process_looks_whether_the_output_is_free(rank, said, tmp_path, monkeypatch, capsys):
    """The others may come when it tries to write there."""

    def several(device):
        raise UsageError("the processes meet", "", code="usage.device")

    monkeypatch.setattr(parallel, "several", several)
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", "2")
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "tried").touch()
    assert main(["train", str(write_raw(tmp_path / "raw", 2)), "-o", str(tmp_path / "lab"), "--device", "cpu"]) != 0
    assert said in capsys.readouterr().err
