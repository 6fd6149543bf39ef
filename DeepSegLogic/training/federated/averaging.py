"""What the server does in a round: it asks the sites, checks what they send, and averages it."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from flwr.common import (
    EvaluateIns,
    FitIns,
    GetPropertiesIns,
    Parameters,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
)
from flwr.server.strategy import FedAvg

from ...util.errors import ModelError
from ...util.progress import Cancel, Progress, check
from ...util.words import counted
from ..recipe import Recipe
from .bounding import longest_update
from .exchange import Layout, length
from .flower import REFUSED, Link, drop
from .state import Round, State, Terms
from .task import Task

_MOST_CASES = 10_000  # of a site
_ASKED_S = 20.0  # a site's time to prove that it knows the token
_FAILED = 5  # rounds in a row without a site's weights


class Averaging(FedAvg):  # type: ignore[misc]
    """Flower's FedAvg over the weights of a network, each message checked; with ``proximal`` it is FedProx."""

    def __init__(
        self,
        recipe: Recipe,
        link: Link,
        terms: Terms,
        layout: Layout,
        state: State,
        measured: Callable[[Mapping[str, torch.Tensor]], float],
        keep: Callable[[], None],
        progress: Progress,
        cancel: Cancel,
    ):
        super().__init__(initial_parameters=Parameters(layout.pack(state.weights), layout.kind))
        self._link, self._terms, self._layout, self._state = link, terms, layout, state
        self._measured, self._keep, self._progress, self._cancel = measured, keep, progress, cancel
        self._rate, self._known, self._failed, self.before = recipe.options.rate, dict[str, str](), 0, 0
        self._turned_away = 0
        self._task = Task(recipe.plan, recipe.loss, 1, terms.rounds, terms.steps, self._rate, terms.proximal)

    def configure_fit(self, server_round: int, parameters: Parameters, client_manager: Any) -> list[Any]:
        """Ask all sites that are there; before the first round, wait for as many as the terms say."""
        number = self.before + server_round
        wanted = self._terms.sites if server_round == 1 else 1
        clients = self._sites(client_manager, wanted, number)
        task = self._task.at(number, self._rate * (1 - (number - 1) / self._terms.rounds) ** 0.9)
        return [(client, FitIns(parameters, task.to_config())) for client in clients]

    def aggregate_fit(
        self, server_round: int, results: Sequence[Any], failures: Sequence[Any]
    ) -> tuple[Parameters | None, dict[str, Any]]:
        """Average the weights that can be used."""
        check(self._cancel)
        number = self.before + server_round
        if failures:
            self._warn(
                f"Round {number}: {len(failures)} of {counted(len(failures) + len(results), 'site')} did not answer."
            )
        good = self._bounded(number, self._readable(number, results))
        losses = [_loss(result.metrics) for _, result in good]
        averaged, _ = super().aggregate_fit(server_round, good, [])
        if averaged is None:
            self._failed += 1
            if self._failed >= _FAILED or not (self._state.rounds or number < self._terms.rounds):
                raise ModelError(
                    f"The last {self._failed} rounds gave no weights of any site.",
                    "Look at what the sites say; the same command continues.",
                    code="model.federated",
                )
            return None, {}
        self._failed = 0
        arrays = parameters_to_ndarrays(averaged)
        named = zip(self._layout.shapes, arrays, strict=True)
        self._state.weights = {name: torch.from_numpy(np.asarray(array, np.float32)) for name, array in named}
        known = [loss for loss in losses if math.isfinite(loss)]
        loss = sum(known) / len(known) if known else math.nan
        cases = sum(result.num_examples for _, result in good)
        done = Round(number, len(good), cases, loss, self._measured(self._state.weights))
        self._state.rounds = [one for one in self._state.rounds if one.number != number] + [done]
        self._keep()
        words = f"round {number} of {self._terms.rounds}, {counted(len(good), 'site')}"
        words += f", loss {loss:.3f}, Dice {done.dice:.3f}"
        self._progress("train", number / self._terms.rounds, words)
        return Parameters(self._layout.pack(self._state.weights), self._layout.kind), {}

    def _readable(self, number: int, results: Sequence[Any]) -> list[tuple[Any, Any, float]]:
        """The answers whose weights fit the network, and the length of their updates."""
        found, before = [], self._state.weights
        for client, result in results:
            try:
                weights = self._layout.unpack(result.parameters.tensors, result.parameters.tensor_type)
                if not 1 <= result.num_examples <= _MOST_CASES:
                    raise ValueError(f"{result.num_examples} cases")
            except ValueError as error:
                self._left_out(number, client, str(error))
                continue
            result.parameters = ndarrays_to_parameters([tensor.numpy() for tensor in weights.values()])
            update = length(weights[name].double() - before[name] for name in weights)
            found.append((client, result, update))
        return found

    def _bounded(self, number: int, answers: Sequence[tuple[Any, Any, float]]) -> list[tuple[Any, Any]]:
        """The answers whose updates are not out of all proportion, see :mod:`.bounding`."""
        most, kept = longest_update([u for *_, u in answers], length(self._state.weights.values())), []
        for client, result, update in answers:
            if update > most:
                why = f"its update has a length of {update:.3g}, and {most:.3g} is the most that is averaged"
                self._left_out(number, client, f"{why}: check its data and noise, and whether you trust it")
            else:
                kept.append((client, result))
        return kept

    def configure_evaluate(self, server_round: int, parameters: Parameters, client_manager: Any) -> list[Any]:
        """After the last round, give all sites the result."""
        number = self.before + server_round
        if number < self._terms.rounds:
            return []
        config = self._task.at(number, self._rate).to_config()
        known = [client for client in client_manager.all().values() if client.cid in self._known]
        return [(client, EvaluateIns(parameters, config)) for client in known]

    def aggregate_evaluate(self, server_round: int, results: object, failures: object) -> tuple[None, dict[str, Any]]:
        """Sites measure nothing."""
        return None, {}

    def _sites(self, manager: Any, wanted: int, number: int) -> list[Any]:
        """All sites that may take part, once there are so many."""
        while True:
            check(self._cancel)
            found = [client for client in list(manager.all().values()) if self._may(manager, client)]
            if len(found) >= wanted:
                return found
            words = f"round {number} of {self._terms.rounds}: {len(found)} of {wanted} sites have joined"
            if self._turned_away:
                words += f", {self._turned_away} turned away (another token)"
            self._progress("train", (number - 1) / self._terms.rounds, words)
            time.sleep(0.3)

    def _may(self, manager: Any, client: Any) -> bool:
        """Whether a site knows the token; one that does not is dropped."""
        if client.cid in self._known:
            return True
        if self._link.token:
            nonce, answered = secrets.token_hex(32), False
            try:
                answer = client.get_properties(GetPropertiesIns({"nonce": nonce}), _ASKED_S, None).properties
                answered = True
                good = secrets.compare_digest(str(answer.get("proof", "")), self._link.proof(nonce))
            except Exception:  # whatever a stranger sends, or that it went away
                good = False
            if not good:
                self._turned_away += 1
                self._warn("A site that does not know the token was turned away.")
                if answered:
                    with suppress(Exception):  # it leaves without another answer
                        client.get_properties(GetPropertiesIns({REFUSED: True}), _ASKED_S, None)
                drop(manager, client)
                return False
        self._known[client.cid] = f"{len(self._known) + 1} at {client.address}"
        return True

    def _left_out(self, number: int, client: Any, why: str) -> None:
        self._warn(f"Round {number}: site {self._known[client.cid]} was left out ({why}).")

    def _warn(self, sentence: str) -> None:
        if sentence not in self._state.warnings:
            self._state.warnings.append(sentence)


def _loss(metrics: Mapping[str, Any]) -> float:
    value = metrics.get("loss")
    return float(value) if isinstance(value, float) else math.nan
