"""The loop: stopped in any way it goes on with the same losses; lack of memory, time, a full disk, bad checkpoints."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from DeepSegLogic.training.curves import COLUMNS
from DeepSegLogic.training.losses import CaseLoss
from DeepSegLogic.training.pace import Pace
from DeepSegLogic.util.errors import InputError, ModelError, OutputError, ResourceError

from .killed import STEPS, Cubes, training

CHECKOUT = Path(__file__).resolve().parents[3]


def losses(folder):
    rows = [line.split(",") for line in (folder / "training.csv").read_text("utf-8").splitlines()]
    assert tuple(rows[0]) == COLUMNS
    return {int(row[0]): row[3] for row in rows[1:]}


def test_after_kill_9_it_goes_on_with_the_same_losses(tmp_path):
    training(tmp_path / "whole").run()
    command = [sys.executable, "-m", "Testing.logic.training.killed", tmp_path / "parts", "5"]
    killed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, timeout=120)
    assert killed.returncode == (signal.SIGTERM if os.name == "nt" else -signal.SIGKILL), killed.stderr
    assert len(losses(tmp_path / "parts")) < STEPS
    training(tmp_path / "parts").run()
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole") and len(losses(tmp_path / "whole")) == STEPS


def test_ctrl_c_saves_and_the_same_call_goes_on(tmp_path):
    whole = training(tmp_path / "whole").run()
    calls = []

    def cancel():
        calls.append(1)
        return len(calls) > 5

    stopped = training(tmp_path / "parts", options={"every": 1e9}).run(cancel=cancel)
    assert stopped.stopped and 0 < stopped.step < STEPS
    rest = training(tmp_path / "parts", options={"every": 1e9}).run()
    assert not rest.stopped and rest.step == STEPS
    assert all(torch.equal(rest.weights[name], tensor) for name, tensor in whole.weights.items())
    assert Image.open(tmp_path / "parts" / "curves.png").size == (900, 480)


def test_it_learns_and_keeps_the_best_network(tmp_path):
    scores = iter([float("nan"), 0.9, *[0.1] * STEPS])  # NaN: no structure in any patch
    seen = []

    def validate(network):
        seen.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return next(scores)

    outcome = training(tmp_path, validate=validate, options={"steps": 4}).run()
    assert outcome.dice == 0.9
    assert all(torch.equal(outcome.weights[name], tensor) for name, tensor in seen[1].items())
    found = losses(tmp_path)
    assert float(found[4]) < float(found[1])


def test_a_checkpoint_is_enough_to_end_with(tmp_path):
    """Of a training that was done, copied without its table."""
    done = training(tmp_path / "there", validate=lambda network: 0.5).run()
    (tmp_path / "here").mkdir()
    shutil.copy(tmp_path / "there" / "checkpoint.pth", tmp_path / "here")
    again = training(tmp_path / "here", validate=lambda network: 0.5).run()
    assert (again.step, again.dice) == (done.step, 0.5)


def test_out_of_memory_steps_down_batch_then_patch_before_it_fails(tmp_path):
    rule = CaseLoss("ce", [[1]])

    def loss(logits, labels, cases):
        if logits.shape[0] > 1 or logits.shape[2] > 6:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return rule(logits, labels, cases)

    outcome = training(tmp_path / "fits", loss=loss, smaller=lambda p: (6, 8, 8) if p[0] > 6 else None).run()
    assert (outcome.batch, outcome.patch, outcome.step) == (1, (6, 8, 8), STEPS)
    assert len(outcome.warnings) == 2 and "batch 2" in outcome.warnings[0]
    with pytest.raises(ResourceError, match="Out of memory"):
        training(tmp_path / "never", loss=loss).run()


def test_a_training_by_time_ends_in_time_and_resumes_its_plan(tmp_path):
    began = time.perf_counter()
    training(tmp_path / "one", options={"steps": 1}).run()
    start = time.perf_counter() - began  # long where processes are spawned
    outcome = training(tmp_path, options={"steps": None, "seconds": 1.5 + 2 * start, "every": 1e9}).run()
    assert outcome.step > 5 and not outcome.stopped
    more = training(tmp_path, options={"steps": None, "seconds": 3 + 5 * start, "every": 1e9}).run()
    assert more.step > outcome.step


def test_steps_follow_from_the_speed(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    pace = Pace(None, 60.0)
    for _ in range(6):
        now[0] += 2.0
        pace.count()
    assert pace.steps == 30 and pace.told() == (0.2, "step 6 of 30, 48 s left")


def test_a_checkpoint_of_another_plan_or_with_code_is_refused(tmp_path):
    training(tmp_path, kind="one").run()
    with pytest.raises(InputError, match="another data set or plan"):
        training(tmp_path, kind="two").run()
    wider = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 1))
    with pytest.raises(ModelError, match="does not fit"):
        training(tmp_path, kind="one", network=wider).run()

    with pytest.raises(InputError, match="another optimizer"):
        training(tmp_path, kind="one", options={"optimizer": "sgd", "steps": STEPS + 1}).run()

    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harm",))

    (tmp_path / "checkpoint.pth").write_bytes(pickle.dumps({"kind": Harm()}))
    with pytest.raises(ModelError, match="nothing in them was run"):
        training(tmp_path).run()
    (tmp_path / "checkpoint.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError) as damaged:
        training(tmp_path).run()
    assert damaged.value.remedy == "Delete it to begin anew."
    assert not (tmp_path / "harm").exists()


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    training(tmp_path, options={"steps": 3}).run()
    before = (tmp_path / "checkpoint.pth").read_bytes()

    def full(state, path):
        Path(path).write_bytes(b"part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="disk is full"):
        training(tmp_path, options={"steps": 5}).run()
    assert (tmp_path / "checkpoint.pth").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if "checkpoint" in p.name] == ["checkpoint.pth"]


def test_a_training_that_diverges_says_so(tmp_path):
    def loss(logits, labels, cases):
        return logits.sum() * float("nan")

    with pytest.raises(ModelError, match="diverges"):
        training(tmp_path, loss=loss, options={"steps": 40, "every": 1e9}).run()


def test_half_precision_that_fails_is_left_and_the_weights_stay_sound(tmp_path, monkeypatch):
    rule = CaseLoss("ce", [[1]])

    def loss(logits, labels, cases):
        return rule(logits, labels, cases) * (float("nan") if logits.dtype == torch.bfloat16 else 1.0)

    monkeypatch.setattr("DeepSegLogic.training.loop.precision", lambda device, half_on_cpu: torch.bfloat16)
    outcome = training(tmp_path, loss=loss, options={"half": True}).run()
    assert outcome.step == STEPS and len(outcome.warnings) == 1 and "full precision" in outcome.warnings[0]
    assert all(torch.isfinite(tensor).all() for tensor in outcome.weights.values())


def test_layers_can_learn_slower(tmp_path):
    before = {name: tensor.clone() for name, tensor in training(tmp_path / "x").network.state_dict().items()}
    trained = training(tmp_path, slower={"0.weight": 0.0}, options={"decay": 0.0})
    trained.run()
    after = trained.network.state_dict()
    assert torch.equal(before["0.weight"], after["0.weight"]) and not torch.equal(before["3.weight"], after["3.weight"])


def test_samples_are_the_same_whenever_asked_for():
    assert all(torch.equal(a, b) for a, b in zip(Cubes()[3][:2], Cubes()[3][:2], strict=True))


def test_tensorboard_gets_the_same_curves_also_after_a_stop(tmp_path, monkeypatch):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    calls = []
    training(tmp_path, validate=lambda network: 0.5).run(cancel=lambda: calls.append(1) or len(calls) > 5)
    training(tmp_path, validate=lambda network: 0.5).run()
    found = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    told = {event.step: event.value for event in found.Scalars("loss")}
    assert told == pytest.approx({step: float(loss) for step, loss in losses(tmp_path).items()}, abs=1e-5)
    assert {event.value for event in found.Scalars("Dice")} == {0.5}
    monkeypatch.setattr("DeepSegLogic.training.curves.find_spec", lambda name: None)
    training(tmp_path / "without").run()
    assert not (tmp_path / "without" / "tensorboard").exists()
