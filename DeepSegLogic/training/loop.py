"""The training loop: resumable after any stop, with the very next sample and the same losses."""

from __future__ import annotations

import copy
import math
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ..inference.device import is_out_of_memory, precision
from ..models.weights import read_checkpoint
from ..util.atomic_write import atomic_path
from ..util.errors import InputError, ModelError, ResourceError, first_line
from ..util.openmp import usable_cores
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from .curves import Log, NoLog
from .losses import Loss, over_levels
from .optimization import Options, Outcome, Size, Weights, follow, make_optimizer, polynomial
from .pace import Pace
from .parallel import ALONE, Ranks

CHECKPOINT = "checkpoint.pth"
_TOLD_EVERY = 0.3  # seconds
_DIVERGED = 25  # steps without a finite loss


def _ignore_ctrl_c(worker: int) -> None:
    """Of a process that makes samples: it ends with the program, not before it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _no_smaller(patch: Size) -> Size | None:
    return None


@dataclass
class Training:
    """A network, what it learns from, and where its checkpoints are.

    Attributes:
        network: float images (N, 1, Z, Y, X) to logits (N, C, Z, Y, X); its method ``levels``, if it has one, gives
            those of each level of its decoder, fine to coarse.
        samples: the data set for patches of a size; sample ``n`` must be the same at every call.
        loss: see :data:`~.losses.Loss`.
        folder: for ``checkpoint.pth``, ``training.csv`` and ``curves.png``.
        patch: voxels (Z, Y, X).
        kind: what must be the same for a checkpoint to be continued.
        options, device: see :class:`Options`.
        validate: from the network with averaged weights to its mean Dice on held-out patches.
        best: whether the weights with the highest of these Dice are the result; else the last ones.
        also: a further loss, from images, logits, labels and cases.
        smaller: the next smaller patch, or None; for a lack of memory.
        slower: factors of the learning rate by name of parameter; 1 for those without.
        facts: more to store in a checkpoint.
        ranks: the processes that train together.
    """

    network: nn.Module
    samples: Callable[[Size], Dataset[Any]]
    loss: Loss
    folder: Path
    patch: Size
    kind: str = ""
    options: Options = field(default_factory=Options)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    validate: Callable[[nn.Module], float] | None = None
    best: bool = True
    also: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Sequence[int]], torch.Tensor] | None = None
    smaller: Callable[[Size], Size | None] = _no_smaller
    slower: Mapping[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    ranks: Ranks = ALONE

    def run(self, progress: Progress = ignore_progress, cancel: Cancel = never_cancel) -> Outcome:
        """Train to the end, from where the checkpoint in the folder stopped; or until ``cancel``, and then save.

        Raises:
            InputError: the checkpoint belongs to another training.
            ModelError: the checkpoint is damaged or contains code, or the training diverges.
            OutputError: a checkpoint cannot be written; the one before is unchanged.
            ResourceError: out of memory with the smallest batch and patch.
        """
        self._start()
        try:
            while not (self._pace.is_done or self._stopping or cancel()):
                lack: str | None = None
                try:
                    self._steps(progress, cancel)
                except (RuntimeError, MemoryError) as error:
                    if cancel():  # what ended this program may have ended the processes that make samples, too
                        break
                    if not is_out_of_memory(error):
                        raise
                    lack = first_line(error)
                if lack is not None:  # outside of the handler, which keeps the tensors of the step alive
                    self._step_down(lack)
            self._save()
            progress("train", 1.0 if self._pace.is_done else self._pace.told()[0], f"step {self._pace.step}")
        finally:
            self._log.close()
        dice, weights = self._best if self._best is not None else (None, self._averaged.state_dict())
        return Outcome(
            weights={name: tensor.cpu() for name, tensor in weights.items()},
            step=self._pace.step,
            steps=self._pace.steps,
            dice=dice,
            loss=self._log.recent_loss(),
            stopped=not self._pace.is_done,
            patch=self.patch,
            batch=self._batch,
            warnings=self._warnings,
        )

    def _start(self) -> None:
        options = self.options
        self._path = self.folder / CHECKPOINT
        self.network.to(self.device)
        self._averaged = copy.deepcopy(self.network).eval()
        self._optimizer = make_optimizer(self.network, options, self.slower)
        half = torch.cuda.is_available() and self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        dtype = torch.bfloat16 if half else precision(self.device, half_on_cpu=True)
        self._dtype = dtype if options.half else torch.float32
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=self._dtype == torch.float16)
        self._seen, self._bad, self._stopping = 0, 0, False
        self._pace = Pace(options.steps, options.seconds)
        self._batch, self._warnings = options.batch, list[str]()
        self._best: tuple[float, Weights] | None = None
        torch.manual_seed(options.seed)
        if self._path.is_file():
            try:
                state = read_checkpoint(self._path)
            except ModelError as error:
                raise ModelError(error.message, "Delete it to begin anew.", code=error.code) from error
            self._continue(state)
        self._wrapped = self.ranks.wrapped(self.network)
        self._log = Log(self.folder, self._pace.step) if self.ranks.is_first else NoLog()
        self._saved = time.monotonic()

    def _continue(self, state: dict[str, Any]) -> None:
        if state.get("kind") != self.kind:
            raise InputError(
                f"The checkpoint {self._path} belongs to a training of another data set or plan.",
                "Choose another output, or delete that folder to begin anew.",
                code="input.checkpoint",
            )
        try:
            groups = state["optimizer"]["param_groups"]
            if groups[0].keys() != self._optimizer.param_groups[0].keys():
                raise InputError(
                    f"The checkpoint {self._path} belongs to a training with another optimizer.",
                    "Choose that optimizer, another output, or delete that folder to begin anew.",
                    code="input.checkpoint",
                )
            self.network.load_state_dict(state["network"])
            self._averaged.load_state_dict(state["average"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._scaler.load_state_dict(state["scaler"])
            self._pace.resume(state["step"], state["steps"], state["elapsed"])
            self._seen = state["seen"]
            self._batch, self.patch, self._warnings = state["batch"], tuple(state["patch"]), list(state["warnings"])
            self._dtype = self._dtype if state["half"] else torch.float32
            self._best = (state["dice"], state["best"]) if "best" in state else None
            torch.set_rng_state(state["rng"])
            if self.device.type == "cuda" and "cuda_rng" in state:
                torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise ModelError(
                f"The checkpoint {self._path} does not fit ({first_line(error)}).",
                "Delete it to begin anew.",
                code="model.corrupted",
            ) from error

    def _steps(self, progress: Progress, cancel: Cancel) -> None:
        """Until the end, or ``cancel``."""
        told = 0.0
        for images, labels, cases in self._loader():
            loss = self._one_step(images.to(self.device), labels.to(self.device), cases.tolist())
            self._pace.count()
            self._seen += len(images) * self.ranks.size
            self._log.add(self._pace.step, self._pace.elapsed, self._optimizer.param_groups[0]["lr"], loss)
            if self.ranks.is_first and time.monotonic() - self._saved > self.options.every:
                self._save()
                self._pace.plan()
            if time.monotonic() - told > _TOLD_EVERY:
                told = time.monotonic()
                fraction, words = self._pace.told()
                dice = f", Dice {self._best[0]:.3f}" if self._best is not None else ""
                progress("train", fraction, f"{words}, loss {loss:.3f}{dice}")
            stop = self._pace.is_done or cancel()
            self._pace.steps, self._stopping = self.ranks.agreed(self._pace.steps, stop, self.device)
            if self._stopping:
                return

    def _loader(self) -> DataLoader[Any]:
        more = self.ranks.share(self._seen, self._pace.steps - self._pace.step, self._batch)
        workers = 1 if self.device.type == "cpu" else min(12, max(1, usable_cores() - 1))
        return DataLoader(
            self.samples(self.patch),
            self._batch,
            sampler=more,
            num_workers=workers,
            prefetch_factor=4,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_ignore_ctrl_c,
            generator=torch.Generator(),  # so that torch's own is as the checkpoint has it
        )

    def _one_step(self, images: torch.Tensor, labels: torch.Tensor, cases: list[int]) -> float:
        options, network = self.options, self.network.train()
        factor = (options.schedule or polynomial)(self._pace.step, self._pace.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = options.rate * factor * group["factor"]
        with torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32):
            outputs = self._wrapped(images)
        loss = over_levels(self.loss, outputs, labels, cases)
        if self.also is not None:
            loss = loss + self.also(images, outputs[0], labels, cases)
        loss = self.ranks.learnt_by_all(loss, outputs)
        value, sound = self.ranks.mean(float(loss.detach()), self.device), True
        self._optimizer.zero_grad(set_to_none=True)
        if loss.requires_grad and math.isfinite(value):
            self._scaler.scale(loss).backward()
            self._scaler.unscale_(self._optimizer)
            norm = float(nn.utils.clip_grad_norm_(network.parameters(), options.clip))
            sound = math.isfinite(norm) or self._scaler.is_enabled()  # which skips such a step itself
            if sound:
                self._scaler.step(self._optimizer)
                self._scaler.update()
        if not (sound and math.isfinite(value)):
            self._recover()
            return value
        self._bad = 0
        follow(self._averaged, network, min(options.average, (self._pace.step + 1) / (self._pace.step + 10)))
        return value

    def _recover(self) -> None:
        """After a step without a finite loss or gradient: leave half precision, and give up if it goes on."""
        self._bad += 1
        self.network.load_state_dict(self._averaged.state_dict())
        if self._dtype != torch.float32:
            self._dtype = torch.float32
            self._scaler = torch.amp.GradScaler(self.device.type, enabled=False)
            self._warnings.append("Half precision gave a loss that is no number: continued in full precision.")
        if self._bad == _DIVERGED:
            raise ModelError(
                "The training diverges: its loss is no longer a number.",
                "Begin anew with a smaller learning rate.",
                code="model.diverged",
            )

    def _step_down(self, lack: str) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        before, smaller = f"batch {self._batch}, patch {self.patch}", self.smaller(self.patch)
        if self._batch > 1 and self.ranks.size == 1:
            self._batch //= 2
        elif smaller is not None and self.ranks.size == 1:
            self.patch = smaller
        else:
            raise ResourceError(
                f"Out of memory with {before} ({lack}).",
                "Close other programs, choose a smaller patch, a larger spacing or another network.",
                code="resource.memory",
            )
        self._warnings.append(f"Out of memory with {before}: continued with batch {self._batch}, patch {self.patch}.")

    def _save(self) -> None:
        if not self.ranks.is_first:
            return
        if self.validate is not None and self._pace.step:
            dice = self.validate(self._averaged)
            self._log.validated(dice)
            if math.isfinite(dice) and (not self.best or self._best is None or dice >= self._best[0]):
                self._best = dice, copy.deepcopy(self._averaged.state_dict())
        state = self.facts | {
            "kind": self.kind,
            "step": self._pace.step,
            "seen": self._seen,
            "steps": self._pace.steps,
            "elapsed": self._pace.elapsed,
            "batch": self._batch,
            "half": self._dtype != torch.float32,
            "patch": list(self.patch),
            "network": self.network.state_dict(),
            "average": self._averaged.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "rng": torch.get_rng_state(),
            "warnings": self._warnings,
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        if self._best is not None:
            state |= {"dice": self._best[0], "best": self._best[1]}
        self._log.draw()
        with atomic_path(self._path) as temporary:
            torch.save(state, temporary)
        self._saved = time.monotonic()
