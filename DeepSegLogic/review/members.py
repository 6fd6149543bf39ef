"""Variants of a model that answer a little differently: where they disagree, the model is not sure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from ..models.card import ModelCard
from ..models.model import Model, segments_nothing
from ..models.plan import Plan
from ..util.errors import ModelError, UsageError

if TYPE_CHECKING:
    from torch import nn

Variation: TypeAlias = Literal["augmentation", "dropout", "folds"]
VARIATIONS: tuple[Variation, ...] = get_args(Variation)
MEMBERS = 6
"""How many there are with ``"augmentation"`` and ``"dropout"``, with the model as it is."""

_Change: TypeAlias = Callable[["list[nn.Module]", Plan, str], "list[nn.Module]"]


def members(model: Model, variation: Variation) -> list[Model]:
    """The model as it is, and its variants.

    Args:
        variation: ``"augmentation"``: each variant sees every window shifted by up to three voxels, a little brighter
            or darker, with more or less contrast, with noise, and mirrored where the training allows it (Wang et al.,
            Neurocomputing 2019). ``"dropout"``: each draws its own dropout in the layers that the training had it in
            (Gal and Ghahramani, ICML 2016). ``"folds"``: each is one network of an ensemble; ``segment`` averages them.

    Returns:
        Models for :func:`DeepSegLogic.segmentation.segment`. The same ones give the same labels again on a device.

    Raises:
        UsageError: an unknown variation.
        ModelError: the model has no dropout, or no folds. With several parts it is raised when one is loaded.
    """
    if variation not in VARIATIONS:
        raise UsageError(
            f"There is no variation named {variation!r}.",
            f"Choose one of {', '.join(VARIATIONS)}.",
            code="usage.variation",
        )
    if model.card.takes_prompts:
        raise segments_nothing(model.card)
    if variation == "folds":
        return [_changed(model, partial(_fold, number=n)) for n in range(_folds(model))]
    change = _augmented if variation == "augmentation" else _dropped
    return [model, *(_changed(model, partial(change, seed=n)) for n in range(1, MEMBERS))]


@dataclass
class _OfParts(Model):
    """A model of several parts whose networks are changed when a part is loaded."""

    change: _Change | None = None

    def part(self, card: ModelCard) -> Model:
        """See :meth:`~DeepSegLogic.models.model.Model.part`."""
        part = super().part(card)
        return part if part is self or self.change is None else _changed(part, self.change)


def _changed(model: Model, change: _Change) -> Model:
    if model.plan is None:
        return _OfParts(model.card, None, [], change=change)
    return replace(model, networks=change(model.networks, model.plan, model.card.id))


def _folds(model: Model) -> int:
    first = model if model.plan is not None else model.part(next(iter(_parts(model))))
    if len(first.networks) < 2:
        raise ModelError(
            f"{model.card.id} is a single network, without folds to compare.",
            "Compare variants by augmentation, or two models.",
            code="model.folds",
        )
    return len(first.networks)


def _parts(model: Model) -> Iterator[ModelCard]:
    yield from model.cards_for(model.card.structures)


def _fold(networks: list[nn.Module], _plan: Plan, _model_id: str, *, number: int) -> list[nn.Module]:
    return [networks[number % len(networks)]]


def _augmented(networks: list[nn.Module], plan: Plan, _model_id: str, *, seed: int) -> list[nn.Module]:
    from .varied_networks import Augmented

    return [Augmented(network, plan.mirror_axes, seed) for network in networks]


def _dropped(networks: list[nn.Module], _plan: Plan, model_id: str, *, seed: int) -> list[nn.Module]:
    from .varied_networks import WithDropout, dropouts

    if not all(map(dropouts, networks)):
        raise ModelError(
            f"{model_id} has no dropout, or its layers are hidden, as those of TorchScript are.",
            "Compare variants by augmentation, or two models.",
            code="model.dropout",
        )
    return [WithDropout(network, seed) for network in networks]
