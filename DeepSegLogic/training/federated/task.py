"""What a server asks its sites to do in a round: plain values, checked by the site before it acts on them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from ...networks.fusion import FUSIONS
from ...networks.table import TRAINABLE, build_network
from ...util.errors import first_line
from ..losses import LOSSES
from ..plan_file import plan_from_json, plan_to_json
from ..planning import TrainingPlan
from .exchange import LARGEST, Layout

_LONGEST_PLAN = 2**20  # characters
_STRUCTURES, _NAME = 1000, 200
_STEPS, _ROUNDS, _BATCH = 100_000, 10_000, 64
_VOXELS = 512 * 512 * 512


@dataclass(frozen=True)
class Task:
    """A round.

    Attributes:
        plan: what is trained.
        loss: one of :data:`~..losses.LOSSES`.
        number, rounds: of this round, from 1, and of all.
        steps: of each site in this round.
        rate: learning rate in this round.
        proximal: FedProx's mu: how strongly weights are held to those that the round began with; 0 is FedAvg.
    """

    plan: TrainingPlan
    loss: str
    number: int
    rounds: int
    steps: int
    rate: float
    proximal: float

    def to_config(self) -> dict[str, Any]:
        """As Flower's configuration of a message."""
        return {**asdict(self), "plan": json.dumps(plan_to_json(self.plan))}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Task:
        """What a message from elsewhere asks for.

        Raises:
            ValueError: it cannot be used; the message says why.
        """
        try:
            text = config["plan"]
            if not isinstance(text, str) or len(text) > _LONGEST_PLAN:
                raise ValueError("its plan is too long")
            task = cls(**{**config, "plan": plan_from_json(json.loads(text))})
            _check_plan(task.plan)
            counts = ((task.number, task.rounds), (task.rounds, _ROUNDS), (task.steps, _STEPS))
            if not all(type(n) is int and 1 <= n <= most for n, most in counts):
                raise ValueError("its number of rounds or steps")
            for value, most in ((task.rate, 1.0), (task.proximal, 1e3)):
                if not isinstance(value, float | int) or not 0 <= value <= most or not math.isfinite(value):
                    raise ValueError("its learning rate or proximal weight")
            if task.loss not in LOSSES:
                raise ValueError("its loss")
        except (LookupError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise ValueError(str(error).partition("\n")[0]) from error
        return task

    def network(self) -> nn.Module:
        """The network of the plan.

        Raises:
            ValueError: it is too large, or cannot be built.
        """
        plan = self.plan
        try:
            with torch.device("meta"):
                layout = Layout.of(build_network(plan.architecture, plan.outputs, plan.inputs))
            if layout.size > LARGEST:
                raise ValueError(f"its network has {layout.size / 2**20:.0f} MiB of weights")
            return build_network(plan.architecture, plan.outputs, plan.inputs)
        except (LookupError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
            raise ValueError(f"its network ({first_line(error)})") from error

    def at(self, number: int, rate: float) -> Task:
        """The same in another round."""
        return replace(self, number=number, rate=rate)


def _check_plan(plan: TrainingPlan) -> None:
    names = (*plan.structures, *plan.channels)
    if not 0 < len(plan.structures) <= _STRUCTURES or not all(0 < len(name) <= _NAME for name in names):
        raise ValueError("its structures")
    if not all(8 <= p <= 512 for p in plan.patch) or math.prod(plan.patch) * plan.batch > _VOXELS:
        raise ValueError("its patch")
    if not all(0.1 <= s <= 20 for s in plan.spacing) or plan.batch > _BATCH:
        raise ValueError("its spacing or batch")
    if (
        plan.network not in TRAINABLE
        or plan.fusion not in FUSIONS
        or not isinstance(plan.architecture, dict)
        or not isinstance(plan.separate_z, bool | type(None))
    ):
        raise ValueError("its network")
    if not (plan.modality is None or isinstance(plan.modality, str)) or plan.separate_z not in (None, True, False):
        raise ValueError("its modality or resampling")
    if len(plan.further) != max(0, len(plan.channels) - 1) or len(plan.channels) > 16:
        raise ValueError("its images")
    if plan.regions is not None:
        values = [value for labels in plan.regions.values.values() for value in labels]
        if not values or not all(0 < v < 2**15 for v in (*values, *plan.regions.order)):
            raise ValueError("its regions")
        if list(plan.regions.values) != list(plan.structures) or not all(plan.regions.values.values()):
            raise ValueError("its regions")
