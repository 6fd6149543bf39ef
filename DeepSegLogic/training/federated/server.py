"""The server of a training at several sites: it sends weights, averages what comes back, and writes the model."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from flwr.server import Server

from ...util.errors import UsageError
from ...util.progress import Cancel, Progress, ignore_progress, never_cancel
from ..export import write_results
from ..prepared import prepare_cases
from ..recipe import Recipe, made
from ..run import check_before, work_folder
from ..validation import PatchDice
from .averaging import Averaging
from .exchange import LARGEST, SLACK, Layout, put_into
from .flower import Link, drop_all, listening
from .state import CHECKPOINT, State, Terms, read_state, write_state

_GOODBYE_S = 20.0


def serve(
    recipe: Recipe,
    output: Path,
    link: Link,
    terms: Terms,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> State:
    """Train at the sites that join, from where an earlier run with the same output stopped, and write the model.

    The server's own cases give the plan and the Dice; nothing is learnt from them.

    Args:
        recipe: of the server's own cases.
        output: folder of the model.

    Raises:
        InputError, OutputError, UsageError: see :func:`~..run.train_model`.
        ModelError: several rounds go by without the weights of any site, or the checkpoint is damaged.
        Cancelled: ``cancel`` said so; the rounds so far are kept.
    """
    link.check(server=True)
    work = work_folder(output)
    check_before(recipe, output, work / CHECKPOINT)
    prepared = prepare_cases(recipe.report.cases, recipe.plan, work / "cases", progress, cancel)
    torch.manual_seed(recipe.options.seed)
    network, _, _ = recipe.network([case.looked_for for case in prepared])
    network.to(recipe.device).eval()
    layout = Layout.of(network)
    if layout.size > LARGEST:
        raise UsageError(
            f"The network has {layout.size / 2**20:.0f} MiB of weights; {LARGEST / 2**20:.0f} MiB can travel.",
            "Choose a smaller network.",
            code="usage.network",
        )
    plan = recipe.plan
    dice = PatchDice(prepared, plan, recipe.device)
    first = {name: tensor.cpu().clone() for name, tensor in network.state_dict().items() if name in layout.shapes}
    kind = f"{recipe.kind([])} {terms.proximal} {layout.kind}"
    state = read_state(work / CHECKPOINT, kind, layout) or State(first)

    def measured(weights: Mapping[str, torch.Tensor]) -> float:
        put_into(network, weights)
        return dice(network)

    def keep() -> None:
        write_state(work, kind, state)

    with listening(link, layout.size + SLACK) as manager, _watched(manager, cancel):
        averaging = Averaging(recipe, link, terms, layout, state, measured, keep, progress, cancel)
        left = max(1, terms.rounds - state.last)  # the last one again, for sites that did not get the model
        averaging.before = terms.rounds - left
        server = Server(client_manager=manager, strategy=averaging)
        server.fit(left, 60 * terms.minutes)
        server.disconnect_all_clients(_GOODBYE_S)
    put_into(network, state.weights)
    weights = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    cases = state.rounds[-1].cases
    facts, name = _facts(recipe, terms, state), output.resolve().name
    write_results(output, weights, plan, name, cases, facts, rights=recipe.rights)
    return state


@contextmanager
def _watched(manager: Any, cancel: Cancel) -> Iterator[None]:
    """In the ``with`` block, a request to stop does not wait for the sites."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.3):
            if cancel():
                drop_all(manager)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _facts(recipe: Recipe, terms: Terms, state: State) -> dict[str, Any]:
    """Facts for the card of the model."""
    return {
        **made(recipe.plan, recipe.loss),
        "began_with": recipe.began_with(),
        "federated": {**asdict(terms), "rounds": [vars(one) for one in state.rounds]},
        "warnings": state.warnings,
    }
