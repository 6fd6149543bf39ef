"""The ladder repeats a stage that ran out of memory, one step down at a time, in a fixed order."""

import pytest
import torch

from DeepSegLogic.inference.memory_ladder import CPU, MemoryLadder, RunSettings, repeatable

CUDA = torch.device("cuda")
FULL = RunSettings(CUDA, (64, 32, 32), 4, CUDA)


class Climber:
    """A ladder with a stage that succeeds once ``enough`` accepts the settings."""

    def __init__(self, settings, enough):
        self.enough, self.tried, self.moves, self.warnings = enough, [], [], []
        self.ladder = MemoryLadder(settings, (8, 8, 8), self.moves.append, self.warnings.append)

    @repeatable
    def stage(self, value):
        self.tried.append(self.ladder.settings)
        if not self.enough(self.ladder.settings):
            raise torch.OutOfMemoryError("out of memory (injected)")
        return value + 1


def test_every_step_in_order():
    climber = Climber(FULL, lambda settings: settings.logits_on_disk)
    assert climber.ladder.run(climber.stage, 1) == 2
    assert [s.describe() for s in climber.tried] == [
        "batches of 4 on the GPU, logits in GPU memory",
        "batches of 4 on the GPU, logits in CPU memory",
        "batches of 2 on the GPU, logits in CPU memory",
        "batches of 1 on the GPU, logits in CPU memory",
        "batches of 1 on the CPU, logits in CPU memory",
        "batches of 1 on the CPU, logits on disk",
    ]
    assert climber.moves == climber.tried[1:]
    assert len(climber.warnings) == 5 and climber.warnings[-1] == "Memory ran short: logits are kept on disk."


def test_a_stage_alone_never_changes_the_windows():
    climber = Climber(FULL, lambda settings: settings.patch_size != FULL.patch_size)
    with pytest.raises(torch.OutOfMemoryError):
        climber.ladder.run(climber.stage, 1)
    assert climber.ladder.settings.patch_size == FULL.patch_size


def test_the_whole_run_may_shrink_its_windows_at_last():
    climber = Climber(RunSettings(CPU, (64, 32, 32)), lambda settings: max(settings.patch_size) < 32)
    assert climber.ladder.run_whole(climber.stage, 1) == 2
    sizes = [s.patch_size for s in climber.tried]
    assert sizes == [(64, 32, 32), (64, 32, 32), (32, 32, 32), (16, 32, 32), (16, 16, 32), (16, 16, 16)]
    assert climber.moves == [climber.tried[1]]  # onto the disk; smaller windows begin anew
    assert "changes the labels" in climber.warnings[-1]


def test_other_errors_are_not_repeated():
    def broken(settings):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    climber = Climber(FULL, broken)
    with pytest.raises(RuntimeError, match="mat1"):
        climber.ladder.run_whole(climber.stage, 1)
    assert climber.tried == [FULL] and not climber.warnings


def test_a_stage_says_that_it_can_be_repeated():
    climber = Climber(FULL, lambda _: True)
    with pytest.raises(TypeError, match="can be repeated"):
        climber.ladder.run(lambda: 1)
