"""A site of a training at several sites: it learns from its own images, and sends weights."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from flwr.client import Client
from flwr.common import (
    Code,
    EvaluateIns,
    EvaluateRes,
    FitIns,
    FitRes,
    GetPropertiesIns,
    GetPropertiesRes,
    Parameters,
    Status,
)
from torch import nn

from ...util.errors import Cancelled, InputError, ModelError, ResourceError
from ...util.progress import Cancel, Progress, check, ignore_progress, never_cancel, share
from ...util.words import counted
from ..checks import Report
from ..export import write_results
from ..loop import Training
from ..optimization import Options, Size
from ..patches import Patches
from ..prepared import PreparedCase, prepare_cases
from ..recipe import Recipe, made, smaller_patch
from ..run import check_output, require_packages, work_folder
from .exchange import LARGEST, SLACK, Layout, put_into
from .flower import REFUSED, TOKEN_VARIABLE, Link, join
from .privacy import Ledger, Privacy
from .task import Task

LEDGER = "sent.json"
_PATIENCE_S, _AGAIN_S = 600.0, 2.0


def take_part(
    report: Report,
    output: Path,
    link: Link,
    *,
    privacy: Privacy | None = None,
    device: torch.device | None = None,
    seed: int = 0,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> str:
    """Take part until the server ends the training, and write the model that came out of it.

    Weights and the number of cases leave this machine and, without ``privacy``, the loss.

    Args:
        report: of the site's own cases.
        output: folder of the model; what was prepared is in :func:`~..run.work_folder`.
        privacy: clips and noises what is sent.
        seed: of the order of the patches.

    Returns:
        What was sent, in words.

    Raises:
        InputError: a case cannot be used, or the cases are not what the server trains on.
        ModelError: the server asks for what cannot be done.
        OutputError: the folder cannot be written, or has another model.
        ResourceError: the server cannot be reached for ten minutes, or has another token.
        Cancelled: ``cancel`` said so.
    """
    link.check(server=False)
    report.raise_first()
    work = work_folder(output)
    check_output(output, work / LEDGER)
    site = Site(report, output, link, Ledger(work / LEDGER), privacy, device or torch.device("cpu"), seed)
    site.progress, site.cancel = progress, cancel
    while not site.has_result:
        check(cancel)
        try:
            join(link, site, LARGEST + SLACK)
            break
        except ConnectionError as error:
            check(cancel)
            if time.monotonic() - site.heard > _PATIENCE_S:
                raise ResourceError(
                    f"The server {link.address} cannot be reached ({error}).",
                    "Check address, certificate and network; the same command takes part again.",
                    code="resource.server",
                ) from error
            progress("train", 0.0, f"waiting for {link.address} ({error})")
            time.sleep(_AGAIN_S)
    if not site.has_result:
        raise ResourceError(
            f"The server {link.address} ended the training without a model.",
            "Ask whoever runs it; the same command takes part again.",
            code="resource.server",
        )
    return site.ledger.told()


@dataclass(frozen=True)
class Work:
    """What a site has made ready for a plan."""

    task: Task
    network: nn.Module
    layout: Layout
    cases: Sequence[PreparedCase]


class Site(Client):  # type: ignore[misc]
    """Flower's client. Errors leave it as they are, and end the connection."""

    def __init__(
        self,
        report: Report,
        output: Path,
        link: Link,
        ledger: Ledger,
        privacy: Privacy | None,
        device: torch.device,
        seed: int,
    ):
        self._report, self._output, self._link, self.ledger = report, output, link, ledger
        self._privacy, self._device, self._seed = privacy, device, seed
        self._work: Work | None = None
        self.has_result, self.heard = False, time.monotonic()
        self.progress: Progress = ignore_progress
        self.cancel: Cancel = never_cancel

    def get_properties(self, ins: GetPropertiesIns) -> GetPropertiesRes:
        """Show that the site knows the token; or learn that it was the wrong one."""
        self.heard = time.monotonic()
        if ins.config.get(REFUSED):
            raise ResourceError(
                f"The server {self._link.address} turned this site away: it has another token.",
                f"Set the same text as {TOKEN_VARIABLE} on the server and at the sites.",
                code="resource.token",
            )
        proof = self._link.proof(str(ins.config.get("nonce", ""))) if self._link.token else ""
        return GetPropertiesRes(_FINE, {"proof": proof})

    def fit(self, ins: FitIns) -> FitRes:
        """Learn for a round, from the weights of the server."""
        task, work, weights = self._asked(ins)
        network = work.network
        put_into(network, weights)
        also = _Proximal(network, task.proximal) if task.proximal else None
        words = f"round {task.number} of {task.rounds}"
        with tempfile.TemporaryDirectory(dir=work_folder(self._output)) as folder:
            training = self._training(task, work, Path(folder), also)
            outcome = training.run(share(self.progress, 0.0, 1.0, words), self.cancel)
        if outcome.stopped:
            raise Cancelled("Stopped. The same command takes part again.")
        after = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
        sent: Mapping[str, torch.Tensor] = after if self._privacy is None else self._privacy.applied(weights, after)
        self.ledger.count(self._privacy.noise if self._privacy is not None else 0.0)
        self.progress("train", task.number / task.rounds, f"{words} done, {self.ledger.told()}")
        metrics = {"loss": float(outcome.loss)} if self._privacy is None else {}
        self.heard = time.monotonic()
        return FitRes(_FINE, Parameters(work.layout.pack(sent), work.layout.kind), len(work.cases), metrics)

    def evaluate(self, ins: EvaluateIns) -> EvaluateRes:
        """Take the result, and write it as a model."""
        task, work, weights = self._asked(ins)
        put_into(work.network, weights)
        facts = {
            **made(task.plan, task.loss),
            "federated": {"rounds": task.rounds, "steps": task.steps, "proximal": task.proximal},
            "images": sorted(facts.digest for facts in self._report.cases),
        }
        state = {name: tensor.cpu() for name, tensor in work.network.state_dict().items()}
        write_results(self._output, state, task.plan, self._output.resolve().name, len(work.cases), facts)
        self.has_result = True
        return EvaluateRes(_FINE, 0.0, len(work.cases), {})

    def _asked(self, ins: FitIns | EvaluateIns) -> tuple[Task, Work, dict[str, torch.Tensor]]:
        check(self.cancel)
        self.heard = time.monotonic()
        try:
            task = Task.from_config(ins.config)
            work = self._work = self._work or self._ready(task)
            if task.plan != work.task.plan or task.loss != work.task.loss:
                raise ValueError("another plan than before")
            weights = work.layout.unpack(ins.parameters.tensors, ins.parameters.tensor_type)
        except ValueError as error:
            raise ModelError(
                f"The server {self._link.address} asks for what cannot be done: {error}.",
                "Ask whoever runs it; both need the same version of DeepSeg.",
                code="model.federated",
            ) from error
        return task, work, weights

    def _ready(self, task: Task) -> Work:
        plan, report = task.plan, self._report
        require_packages(plan.network)
        images = max(1, len(report.channels))
        shared = [name for name in plan.structures if name in report.structures]
        for wrong, what in (
            (plan.modality != report.modality, f"{report.modality or 'of an unknown modality'}, not {plan.modality}"),
            (plan.inputs != images, f"of {counted(images, 'image')}, not {plan.inputs}"),
            (plan.regions != report.regions, "labelled with other overlapping structures"),
            (not shared, f"without {', '.join(plan.structures)}"),
        ):
            if wrong:
                raise InputError(f"The cases are {what}.", "Ask whoever runs the server.", code="input.federated")
        network = task.network()
        cases = prepare_cases(report.cases, plan, work_folder(self._output) / "cases", self.progress, self.cancel)
        return Work(task, network.to(self._device), Layout.of(network), cases)

    def _training(self, task: Task, work: Work, folder: Path, also: _Proximal | None) -> Training:
        plan, seed = task.plan, self._seed * 100_003 + task.number
        options = Options(
            steps=task.steps,
            rate=task.rate,
            schedule=_level,
            average=0.0,  # sites are averaged, steps are not
            batch=plan.batch,
            seed=seed,
            every=math.inf,
        )

        def samples(patch: Size) -> Patches:
            return Patches(work.cases, patch, plan.spacing, seed, not plan.sided)

        return Training(
            work.network,
            samples,
            Recipe(self._report, plan, options, loss=task.loss).loss_for([case.looked_for for case in work.cases]),
            folder,
            plan.patch,
            options=options,
            device=self._device,
            also=also,
            smaller=smaller_patch(plan),
        )


class _Proximal:
    """FedProx: half of mu times the squared distance to the weights that the round began with."""

    def __init__(self, network: nn.Module, mu: float):
        self._pairs = [(new, new.detach().clone()) for new in network.parameters()]
        self._mu = mu

    def __call__(
        self, images: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, cases: Sequence[int]
    ) -> torch.Tensor:
        total = torch.stack([(new - old).square().sum() for new, old in self._pairs]).sum()
        return self._mu / 2 * total


def _level(step: int, steps: int) -> float:
    return 1.0


_FINE = Status(Code.OK, "")
