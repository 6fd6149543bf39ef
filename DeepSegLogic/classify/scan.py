"""What a scan is: body regions, contrast phase, modality, and whether it is upside down or mirrored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.types import FloatArray
from ..data.volume import Volume
from ..data.volume_checks import ct_doubts, reject_unusable
from ..util.errors import InputError, ModelError
from ..util.resources import resource_path
from .coarse import STEP_MM, Coarse, coarse_copy, thinned
from .names import FLIPS, MODALITIES, PHASES, REGIONS

if TYPE_CHECKING:
    from .network import Logits, ScanNetwork

SURE = {"regions": 0.6, "phase": 0.8, "modality": 0.8, "flips": 0.95}  # below, the answer is "don't know"
SMALLEST_MM = (100.0, 100.0, 16.0)  # along R, A and S: what is smaller shows too little of a body


@dataclass(frozen=True)
class Part:
    """A region that the scan shows, or a part of it. S coordinates in mm of its lower and upper end."""

    region: str
    low_mm: float
    high_mm: float
    probability: float


@dataclass(frozen=True)
class Scan:
    """What a scan is. What is not known is empty.

    Attributes:
        modality: ``"CT"``, ``"MR"``, ``"other"`` (values that are no HU, noise, a phantom) or ``""``.
        parts: the regions from below; between them may be slices of unknown region.
        low_mm, high_mm: S coordinates of the ends of the scan.
        phase: ``"plain"``, ``"arterial"``, ``"venous"`` or ``""``.
        phase_probability: of the most probable phase, also if it is too low to name it.
        flips: those of :data:`FLIPS` that apply to the image as it lies in space.
    """

    modality: str = ""
    parts: tuple[Part, ...] = ()
    low_mm: float = 0.0
    high_mm: float = 0.0
    phase: str = ""
    phase_probability: float = 0.0
    flips: tuple[str, ...] = ()

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that it shows, each once, from below."""
        shown = {part.region for part in self.parts}
        return tuple(region for region in REGIONS if region in shown)

    @property
    def whole(self) -> bool:
        """Whether the region of every slice is known."""
        known = sum(part.high_mm - part.low_mm for part in self.parts)
        return bool(self.parts) and known > self.high_mm - self.low_mm - STEP_MM / 2

    def as_json(self) -> dict[str, Any]:
        """The scan as plain JSON values."""
        parts = [{**vars(part), "probability": round(part.probability, 3)} for part in self.parts]
        facts = {"modality": self.modality, "regions": list(self.regions), "parts": parts}
        phase = {"phase": self.phase, "phase_probability": round(self.phase_probability, 3)}
        return {**facts, "low_mm": self.low_mm, "high_mm": self.high_mm, **phase, "flips": list(self.flips)}


def what_is(volume: Volume) -> Scan:
    """Look at a coarse copy of a volume and say what it is. Takes any volume; what it cannot tell stays empty.

    The network was trained on few people (see ``docs/classify.md``): its answers are hints, not facts.

    Example:
        >>> from DeepSegLogic import read_volume, what_is
        >>> scan = what_is(read_volume("ct.nrrd"))
        >>> scan.modality, scan.regions
        ('CT', ('abdomen', 'chest'))
    """
    try:
        thin = thinned(volume)  # also the checks cost little then
        in_hu = not ct_doubts(thin, reject_unusable(thin))[0]
    except InputError:
        return Scan()
    coarse = coarse_copy(thin)
    header = "" if volume.modality is None else volume.modality if volume.modality in MODALITIES else "other"
    half = STEP_MM / 2
    low, high = coarse.bottom_mm - half, coarse.bottom_mm + (len(coarse.array) - 1) * STEP_MM + half
    if header in ("MR", "other"):
        return Scan(header, (), low, high)
    network, temperatures = _network()
    found = _looked(network, coarse)
    modality, sure = _most_probable(found["modality"], MODALITIES, "modality")
    if modality == "CT" and not in_hu:
        modality = ""
    if modality not in ("", "CT") and header == "CT":
        modality = "other"
    if modality != "CT" or any(size < least for size, least in zip(coarse.size_mm, SMALLEST_MM, strict=True)):
        return Scan(modality or header, (), low, high)
    flipped = 1 / (1 + np.exp(-found["flips"] / temperatures["flips"]))
    flips = tuple(name for name, p in zip(FLIPS, flipped, strict=True) if p > SURE["flips"])
    parts = parts_of(found["regions"] / temperatures["regions"], coarse.bottom_mm, downwards=bool(flipped[0] > 0.5))
    phase, sure = _most_probable(found["phase"] / temperatures["phase"], PHASES, "phase")
    return Scan(modality, parts, low, high, phase, sure, flips)


def parts_of(logits: FloatArray, bottom_mm: float, downwards: bool = False) -> tuple[Part, ...]:
    """The most probable regions of slices, in the order in which a body has them.

    Args:
        logits: (slices, regions), calibrated.
        downwards: whether the head is below.
    """
    log = logits - _log_sum(logits)
    order = _in_order(log[:, ::-1] if downwards else log)
    order = logits.shape[1] - 1 - order if downwards else order
    parts, at = [], 0
    for region, slices in groupby(order.tolist()):
        count = len(list(slices))
        sure = float(np.exp(log[at : at + count, region]).mean())
        if sure >= SURE["regions"]:
            low = bottom_mm + (at - 0.5) * STEP_MM
            parts.append(Part(REGIONS[region], low, low + count * STEP_MM, sure))
        at += count
    return tuple(parts)


def _in_order(log: FloatArray) -> FloatArray:
    """The path through (slices, regions) with the largest sum that stays or goes on to the next region."""
    slices = len(log)
    best, came = log[0].copy(), np.zeros(log.shape, int)
    for k in range(1, slices):
        before = np.concatenate([[-np.inf], best[:-1]])
        came[k] = before > best
        best = np.maximum(before, best) + log[k]
    path = np.zeros(slices, int)
    path[-1] = best.argmax()
    for k in range(slices - 1, 0, -1):
        path[k - 1] = path[k] - came[k, path[k]]
    return path


def _most_probable(logits: FloatArray, names: tuple[str, ...], question: str) -> tuple[str, float]:
    probabilities = np.exp(logits - _log_sum(logits))
    sure = float(probabilities.max())
    return (names[int(probabilities.argmax())] if sure >= SURE[question] else ""), sure


def _log_sum(logits: FloatArray) -> FloatArray:
    top = logits.max(-1, keepdims=True)
    total: FloatArray = top + np.log(np.exp(logits - top).sum(-1, keepdims=True))
    return total


def _looked(network: ScanNetwork, coarse: Coarse) -> dict[str, FloatArray]:
    import torch

    with torch.inference_mode():
        found: Logits = network(torch.from_numpy(coarse.array))
    return {name: getattr(found, name).double().numpy() for name in ("regions", "phase", "modality", "flips")}


@lru_cache(maxsize=1)
def _network() -> tuple[ScanNetwork, dict[str, float]]:
    """The network that comes with DeepSeg, and its temperatures."""
    from ..models.weights import read_checkpoint
    from .network import ScanNetwork

    path = resource_path("Models", "scan.pth")
    content, network = read_checkpoint(path), ScanNetwork()
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in content["weights"].items()})
        temperatures = {name: float(content["temperatures"][name]) for name in ("regions", "flips", "phase")}
    except (KeyError, RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise ModelError(
            f"The weights {path} do not fit this version of DeepSeg.", "Install DeepSeg again.", code="model.corrupted"
        ) from error
    return network.eval(), temperatures
