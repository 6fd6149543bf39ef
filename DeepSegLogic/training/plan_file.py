"""A plan as JSON: beside a pre-trained encoder, and as a server sends it to its sites."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from ..models.plan import Normalization, triple
from .planning import TrainingPlan
from .regions import Regions

_SCHEMES = ("ct", "zscore")


def plan_to_json(plan: TrainingPlan) -> dict[str, Any]:
    """A plan as plain values."""
    return asdict(plan)


def plan_from_json(facts: Mapping[str, Any]) -> TrainingPlan:
    """The plan of :func:`plan_to_json`, after JSON, which knows neither tuples nor numbers as keys.

    Raises:
        ValueError, TypeError, LookupError, AttributeError: it is not one.
    """
    plan = TrainingPlan(**facts)
    regions = facts["regions"]
    return replace(
        plan,
        structures=tuple(map(str, plan.structures)),
        spacing=triple(map(float, plan.spacing)),
        patch=triple(map(int, plan.patch)),
        shape=triple(map(int, plan.shape)),
        batch=max(1, int(plan.batch)),
        normalization=_rule(facts["normalization"]),
        channels=tuple(map(str, plan.channels)),
        further=tuple(map(_rule, plan.further)),
        regions=None if regions is None else _regions(regions),
    )


def described(plan: TrainingPlan) -> str:
    """A plan as the text of a file, without the structures, which a pre-training does not know."""
    return json.dumps({**plan_to_json(plan), "structures": []}, indent=1, sort_keys=True) + "\n"


def _rule(facts: Any) -> Normalization:
    rule = Normalization(**facts)
    if rule.scheme not in _SCHEMES or rule.function is not None or not rule.sd > 0:
        raise ValueError(f"the normalization {facts}")
    return rule


def _regions(facts: Mapping[str, Any]) -> Regions:
    values = {str(name): tuple(map(int, labels)) for name, labels in facts["values"].items()}
    return Regions(values, tuple(map(int, facts["order"])))
