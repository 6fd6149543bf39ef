"""What the server of a training at several sites decides, and how far the training is."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ...models.weights import read_checkpoint
from ...util.atomic_write import atomic_path
from ...util.errors import InputError, ModelError
from .exchange import Layout

CHECKPOINT, ROUNDS = "federated.pth", "rounds.csv"


@dataclass(frozen=True)
class Terms:
    """What the server decides for all.

    Attributes:
        rounds: how often weights are averaged.
        sites: how many must have joined before the first round.
        steps: of each site in a round.
        proximal: FedProx's mu; 0 for FedAvg.
        minutes: after which a round goes on without the sites that have not answered.
    """

    rounds: int = 20
    sites: int = 2
    steps: int = 100
    proximal: float = 0.0
    minutes: float = 60.0


@dataclass(frozen=True)
class Round:
    """A round that is done.

    Attributes:
        number: from 1.
        sites: whose weights were averaged.
        cases: of these sites together.
        loss: their mean, of those that told it; NaN if none did.
        dice: on patches of the server's own cases.
    """

    number: int
    sites: int
    cases: int
    loss: float
    dice: float


@dataclass
class State:
    """The weights, and the rounds so far.

    Attributes:
        weights: by name.
        rounds: that are done.
        warnings: one sentence each.
    """

    weights: Mapping[str, torch.Tensor]
    rounds: list[Round] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The number of the last round; rounds without the weights of any site are counted, too."""
        return self.rounds[-1].number if self.rounds else 0


def read_state(path: Path, kind: str, layout: Layout) -> State | None:
    if not path.is_file():
        return None
    content = read_checkpoint(path)
    if content.get("kind") != kind:
        raise InputError(
            f"The checkpoint {path} belongs to a training of another data set or plan.",
            "Choose another output, or delete that folder to begin anew.",
            code="input.checkpoint",
        )
    try:
        weights = layout.unpack(layout.pack(content["weights"]), layout.kind)
        return State(weights, [Round(**row) for row in content["rounds"]], list(content["warnings"]))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"The checkpoint {path} does not fit ({error}).", "Delete it.", code="model.corrupted"
        ) from error


def write_state(work: Path, kind: str, state: State) -> None:
    rows = [vars(one) for one in state.rounds]
    with atomic_path(work / CHECKPOINT) as temporary:
        content = {"kind": kind, "weights": dict(state.weights), "rounds": rows, "warnings": state.warnings}
        torch.save(content, temporary)
    with atomic_path(work / ROUNDS) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
