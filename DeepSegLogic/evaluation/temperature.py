"""Temperature scaling: one number that makes a network's probabilities as large as it is right.

The logits are divided by it before they become probabilities (Guo et al., ICML 2017). Labels do not change. It is kept
in the model's card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.affine import sampled
from ..data.label_map import LabelMap, structure_named
from ..data.types import Affine, FloatArray
from ..data.volume import Volume
from ..util.errors import InputError, ModelError
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel

if TYPE_CHECKING:
    import torch

    from ..models import Model

LOWEST, HIGHEST = 0.25, 8.0  # temperatures that are tried
_MOST = 200_000  # voxels of a case that are looked at
_IGNORED = -1


@dataclass(frozen=True)
class HeldOut:
    """Logits of a network where it matters, and what is right there.

    Attributes:
        logits: (n, channels) float32.
        labels: (n,) label values of the network; 0 is background.
    """

    logits: torch.Tensor
    labels: torch.Tensor


def held_out(
    volume: Volume,
    model: Model,
    reference: LabelMap,
    *,
    ignored: int | None = None,
    device: str = "auto",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> HeldOut:
    """Run a model of one network on a case that it was not trained on.

    Voxels count where the network or the reference sees a structure; not where the network's label is one that the
    reference does not look for.

    Args:
        reference: on the volume's grid; structures go by their names.
        ignored: its label for voxels that do not count.

    Raises:
        ModelError: the model has several parts, needs another model, or its labels do not exclude each other.
        InputError: the reference shares no structure with the model, or is on another grid.
        Cancelled, ResourceError: as for :func:`DeepSegLogic.segmentation.segment`.
    """
    import torch

    from ..inference.device import choose_device
    from ..inference.engine import Engine
    from ..inference.estimate import estimate_run
    from ..inference.grid_plan import Grids
    from ..inference.logits import LogitKeeper
    from ..inference.preprocessing import prepare
    from ..inference.presets import QUALITIES

    plan, quality = model.plan, QUALITIES["standard"]
    if plan is None or plan.regions is not None or model.previous is not None or model.card.crop is not None:
        raise ModelError(
            f"{model.card.id} is not a single network with labels that exclude each other, so no temperature fits.",
            "Use its probabilities as they are.",
            code="model.temperature",
        )
    known = {value: s.value for value, n in plan.labels.items() if (s := structure_named(n, reference.structures))}
    if not known or reference.array.shape != volume.shape_kji:
        raise InputError(
            f"The reference of {volume.name} is on another grid, or has no structure of {model.card.id}.",
            "Give labels of the same image, with the names of the model's structures.",
            code="input.reference",
        )
    where, grids = choose_device(device), Grids(volume)
    estimate = estimate_run(volume, model.networks, plan, quality, where, grids)
    engine = Engine(model.networks, plan, estimate.settings, meter=LogitKeeper)
    meter = engine.run(prepare(volume, plan, where, grids), progress, cancel).meter
    assert isinstance(meter, LogitKeeper)
    logits = meter.logits()
    lookup = np.zeros(1 + max(ignored or 0, int(reference.array.max(initial=0))), np.int64)
    lookup[ignored or 0] = _IGNORED if ignored else 0
    for value, theirs in known.items():
        if theirs < len(lookup):
            lookup[theirs] = value
    truth = _on_grid(lookup[reference.array], reference.ijk_to_ras, logits.shape[:3], grids.of(plan).grid_to_ras)
    found = logits.argmax(-1)
    right = torch.from_numpy(truth)
    counts = ((found > 0) | (right > 0)) & torch.isin(found, torch.tensor([0, *known])) & (right != _IGNORED)
    return HeldOut(*_some(logits[counts], right[counts]))


def fit_temperature(cases: Sequence[HeldOut]) -> float:
    """The temperature with the smallest negative log-likelihood of what is right; every case counts alike.

    Raises:
        InputError: there are no voxels to fit it to.
    """
    from scipy.optimize import minimize_scalar

    cases = [case for case in cases if len(case.labels)]
    if not cases:
        raise InputError("The held-out cases have no voxels of the structures.", "Give other cases.", code="input.data")

    def loss(logarithm: float) -> float:
        return float(np.mean([negative_log_likelihood(case, float(np.exp(logarithm))) for case in cases]))

    best: Any = minimize_scalar(
        loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-3}
    )
    return round(float(np.exp(best.x)), 3)


def negative_log_likelihood(case: HeldOut, temperature: float) -> float:
    """The mean over the voxels, in nats."""
    from torch.nn.functional import cross_entropy

    return float(cross_entropy(case.logits / temperature, case.labels))


def confidence_and_hits(case: HeldOut, temperature: float) -> tuple[FloatArray, Any]:
    """For each voxel the largest probability, and whether its label is right."""
    best = (case.logits / temperature).softmax(-1).max(-1)
    return best.values.double().numpy(), (best.indices == case.labels).numpy()


def _on_grid(labels: Any, ijk_to_ras: Affine, shape: Sequence[int], wanted: Affine) -> Any:
    nearest = sampled(labels.astype(np.float32), ijk_to_ras, shape, wanted, order=0, mode="nearest")
    return np.rint(nearest).astype(np.int64)


def _some(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """At most so many of the voxels, spread evenly."""
    step = max(1, -(-len(labels) // _MOST))
    return logits[::step].float().clone(), labels[::step].clone()
