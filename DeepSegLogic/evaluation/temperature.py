"""Temperature scaling: one number that makes a network's probabilities as large as it is right.

The logits are divided by it before they become probabilities (Guo et al., ICML 2017). Labels do not change. It is kept
in the model's card. Outputs of structures that overlap are probabilities of their own, so each has a temperature of its
own (Platt scaling without an offset, which would change labels).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.affine import sampled
from ..data.label_map import LabelMap, structure_named
from ..data.types import FloatArray, VolumeArray
from ..data.volume import Volume
from ..util.errors import InputError, ModelError
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel

if TYPE_CHECKING:
    import torch

    from ..models import Model
    from ..models.plan import Plan

LOWEST, HIGHEST = 0.25, 8.0  # temperatures that are tried
_MOST = 200_000  # voxels of a case that are looked at
_NEAR = 2  # voxels around a structure that also count
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
    further: Sequence[VolumeArray] = (),
    ignored: int | None = None,
    device: str = "auto",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> HeldOut:
    """Run a model of one network, whose labels exclude each other, on a case that it was not trained on.

    Voxels count where the network or the reference sees a structure, and up to two voxels of the network's grid around:
    there the network also has to be right where it is unsure and sees nothing. Voxels do not count where the network's
    label is one that the reference does not look for.

    Args:
        reference: on the volume's grid; structures go by their names.
        further: the further images that the model sees, (K, J, I) on the volume's grid.
        ignored: its label for voxels that do not count.

    Raises:
        ModelError: the model has several parts, needs another model, or its labels do not exclude each other.
        InputError: the reference shares no structure with the model, or is on another grid; or the model sees another
            number of images.
        Cancelled, ResourceError: as for :func:`DeepSegLogic.segmentation.segment`.
    """
    import torch

    plan = _plan_of(model)
    if plan.regions is not None:
        raise _no_temperature(model, "labels that exclude each other")
    known = {value: s.value for value, n in plan.labels.items() if (s := structure_named(n, reference.structures))}
    lookup = np.zeros(1 + max(ignored or 0, int(reference.array.max(initial=0))), np.int64)
    lookup[ignored or 0] = _IGNORED if ignored else 0
    for value, theirs in known.items():
        if theirs < len(lookup):
            lookup[theirs] = value
    _check_reference(volume, model, reference, bool(known))
    logits, right = _run(volume, model, reference, lookup[reference.array], further, device, progress, cancel)
    found = logits.argmax(-1)
    near = _near((found > 0) | (right > 0)) & torch.isin(found, torch.tensor([0, *known]))
    counts = near & (right != _IGNORED)
    return HeldOut(*_some(logits[counts], right[counts]))


def held_out_outputs(
    volume: Volume,
    model: Model,
    reference: LabelMap,
    outputs: Sequence[Collection[int] | None],
    *,
    further: Sequence[VolumeArray] = (),
    ignored: int | None = None,
    device: str = "auto",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> list[HeldOut]:
    """As :func:`held_out`, for a network with overlapping outputs.

    Args:
        reference: on the volume's grid; only its array counts.
        outputs: for each output, the values in ``reference`` of its structure; None if nobody looked for it.

    Returns:
        for each output a choice between two: not there, with a logit of 0, and there, with the output's. Empty where
        nobody looked.
    """
    import torch

    _check_reference(volume, model, reference, any(values is not None for values in outputs))
    plan = _plan_of(model)
    if plan.regions is None or len(outputs) != plan.channels:
        raise _no_temperature(model, "an output for each structure that overlaps")
    logits, labels = _run(volume, model, reference, reference.array, further, device, progress, cancel)
    counts = labels != (ignored or _IGNORED)
    found = []
    for logit, values in zip(logits.unbind(-1), outputs, strict=True):
        right = torch.isin(labels, torch.tensor([*(values or ())], dtype=labels.dtype))
        near = _near((logit > 0) | right) & counts if values is not None else torch.zeros_like(counts)
        there = logit[near].float()
        found.append(HeldOut(*_some(torch.stack([torch.zeros_like(there), there], -1), right[near].long())))
    return found


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


def _plan_of(model: Model) -> Plan:
    if model.plan is None or model.previous is not None or model.card.crop is not None:
        raise _no_temperature(model, "images as its only input")
    return model.plan


def _no_temperature(model: Model, what: str) -> ModelError:
    return ModelError(
        f"{model.card.id} is not a single network with {what}, so no temperature fits.",
        "Use its probabilities as they are.",
        code="model.temperature",
    )


def _check_reference(volume: Volume, model: Model, reference: LabelMap, known: bool) -> None:
    if not known or reference.array.shape != volume.shape_kji:
        raise InputError(
            f"The reference of {volume.name} is on another grid, or has no structure of {model.card.id}.",
            "Give labels of the same image, with the names of the model's structures.",
            code="input.reference",
        )


def _run(
    volume: Volume,
    model: Model,
    reference: LabelMap,
    labels: Any,
    further: Sequence[VolumeArray],
    device: str,
    progress: Progress,
    cancel: Cancel,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits (Z, Y, X, channels) of a model, and labels on the reference's grid, on the network's (Z, Y, X)."""
    import torch

    from ..inference.device import choose_device
    from ..inference.engine import Engine
    from ..inference.estimate import estimate_run
    from ..inference.grid_plan import Grids
    from ..inference.logits import LogitKeeper
    from ..inference.preprocessing import prepare
    from ..inference.presets import QUALITIES

    plan, where = _plan_of(model), choose_device(device)
    if plan.images != 1 + len(further):
        raise InputError(
            f"{model.card.id} sees {plan.images} images together, and the case {volume.name} has {1 + len(further)}.",
            "Give cases with the images that it was trained on.",
            code="input.channels",
        )
    grids = Grids(volume, channels=further)
    settings = estimate_run(volume, model.networks, plan, QUALITIES["standard"], where, grids).settings
    engine = Engine(model.networks, plan, settings, meter=LogitKeeper)
    meter = engine.run(prepare(volume, plan, where, grids, further), progress, cancel).meter
    assert isinstance(meter, LogitKeeper)
    logits = meter.logits()
    grid_to_ras = grids.of(plan).grid_to_ras
    nearest = sampled(
        labels.astype(np.float32), reference.ijk_to_ras, logits.shape[:3], grid_to_ras, order=0, mode="nearest"
    )
    return logits, torch.from_numpy(np.rint(nearest).astype(np.int64))


def _near(voxels: torch.Tensor) -> torch.Tensor:
    """(Z, Y, X) bool: these voxels, and those around."""
    from torch.nn.functional import max_pool3d

    return max_pool3d(voxels[None].float(), 2 * _NEAR + 1, stride=1, padding=_NEAR)[0] > 0


def _some(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """At most so many of the voxels, spread evenly."""
    step = max(1, -(-len(labels) // _MOST))
    return logits[::step].float().clone(), labels[::step].clone()
