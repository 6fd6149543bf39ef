"""What a scan is: body regions, modality, and whether it is upside down or mirrored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..data.types import FloatArray, ScalarArray
from ..data.volume import Volume
from ..data.volume_checks import ct_doubts, reject_unusable
from ..util.errors import InputError, ModelError
from ..util.given import checks_arguments
from ..util.resources import resource_path
from .coarse import STEP_MM, Coarse, coarse_copy, thinned
from .names import MODALITIES, REGIONS
from .orientation import ODDS, turned

if TYPE_CHECKING:
    from .network import Logits, ScanNetwork

SURE, SURE_MODALITY = 0.6, 0.8  # below these probabilities the answer is "don't know"
SMALLEST_MM = (180.0, 160.0, 16.0)  # along R, A and S: what is smaller shows too little of a body

LEAST_BONE, LEAST_FAT, LEAST_SOFT, LEAST_BONY_SLICES = 0.01, 0.02, 0.1, 0.7  # in real CTs: 0.024, 0.07, 0.2, 0.9


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
        flips: those of :data:`~DeepSegLogic.classify.names.FLIPS` that apply to the image as it lies in space.
    """

    modality: str = ""
    parts: tuple[Part, ...] = ()
    low_mm: float = 0.0
    high_mm: float = 0.0
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
        return {**facts, "low_mm": self.low_mm, "high_mm": self.high_mm, "flips": list(self.flips)}


@checks_arguments
def what_is(volume: Volume) -> Scan:
    """Look at a coarse copy of a volume and say what it is. Takes any volume; what it cannot tell stays empty.

    The network was trained on few people (see ``docs/classify.md``): its answers are hints, not facts.

    Example:
        >>> from DeepSegLogic import read_volume, what_is
        >>> scan = what_is(read_volume("ct.nrrd"))  # a box around one lung, too small to tell its region
        >>> scan.modality, scan.regions
        ('CT', ())
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
    network, temperature = _network()
    logits, of_modality = _looked(network, coarse)
    modality = _modality(of_modality, header, in_hu)
    small = any(size < least for size, least in zip(coarse.size_mm, SMALLEST_MM, strict=True))
    if modality != "CT" or small or not shows_a_body(coarse.array):
        return Scan(modality, (), low, high)
    log = _log_probabilities(logits / temperature)
    (path, up), (mirrored, down) = in_order(log), in_order(log[:, ::-1])
    order = log.shape[1] - 1 - mirrored if down - up > ODDS else path
    parts, names = parts_of(log, order, coarse.bottom_mm)
    return Scan(modality, parts, low, high, turned(coarse.array, names, down - up))


def shows_a_body(array: ScalarArray) -> bool:
    """Whether a coarse copy (S, A, R) in HU has bone in most slices, fat and soft tissue; noise has not."""
    dense = array > -300
    count = max(int(dense.sum()), 1)
    bone, fat, soft = (((array > low) & (array < high)) for low, high in ((200, np.inf), (-150, -30), (0, 100)))
    return bool(
        bone.sum() > LEAST_BONE * count
        and bone.any((1, 2)).mean() > LEAST_BONY_SLICES
        and fat.sum() > LEAST_FAT * count
        and soft.sum() > LEAST_SOFT * count
    )


def _modality(logits: FloatArray, header: str, in_hu: bool) -> str:
    """A header that says CT can be doubted; what is not in HU is no CT."""
    log = _log_probabilities(logits)
    told = MODALITIES[int(log.argmax())] if np.exp(log.max()) >= SURE_MODALITY else ""
    if header == "CT":
        return "CT" if told in ("", "CT") and in_hu else "other"
    return told if in_hu or told != "CT" else ""


def parts_of(log: FloatArray, order: npt.NDArray[np.int64], bottom_mm: float) -> tuple[tuple[Part, ...], list[str]]:
    """The regions that are sure enough, and the region of each slice.

    Args:
        log: (slices, regions), logarithms of probabilities.
        order: the number of the region of each slice, see :func:`in_order`.
    """
    parts: list[Part] = []
    names: list[str] = []
    for region, slices in groupby(order.tolist()):
        at, count = len(names), len(list(slices))
        sure = float(np.exp(log[at : at + count, region]).mean())
        if sure >= SURE:
            low = bottom_mm + (at - 0.5) * STEP_MM
            parts.append(Part(REGIONS[region], low, low + count * STEP_MM, sure))
        names += [REGIONS[region] if sure >= SURE else ""] * count
    return tuple(parts), names


def in_order(log: FloatArray) -> tuple[npt.NDArray[np.int64], float]:
    """The path through (slices, regions) with the largest sum that stays or goes on to the next region, and the sum."""
    best, came = log[0].copy(), np.zeros(log.shape, int)
    for k in range(1, len(log)):
        before = np.concatenate([[-np.inf], best[:-1]])
        came[k] = before > best
        best = np.maximum(before, best) + log[k]
    path = np.zeros(len(log), int)
    path[-1] = best.argmax()
    for k in range(len(log) - 1, 0, -1):
        path[k - 1] = path[k] - came[k, path[k]]
    return path, float(best.max())


def _log_probabilities(logits: FloatArray) -> FloatArray:
    shifted = logits - logits.max(-1, keepdims=True)
    log: FloatArray = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return log


def _looked(network: ScanNetwork, coarse: Coarse) -> tuple[FloatArray, FloatArray]:
    """The logits of regions and modality."""
    import torch

    with torch.inference_mode():
        found: Logits = network(torch.from_numpy(coarse.array))
    return found.regions.double().numpy(), found.modality.double().numpy()


@lru_cache(maxsize=1)
def _network() -> tuple[ScanNetwork, float]:
    """The network that comes with DeepSeg, and its temperature."""
    from ..models.weights import read_checkpoint
    from .network import ScanNetwork

    path = resource_path("Models", "scan.pth")
    content, network = read_checkpoint(path), ScanNetwork()
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in content["weights"].items()})
        temperature = float(content["temperature"])
    except (KeyError, RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise ModelError(
            f"The weights {path} do not fit this version of DeepSeg.", "Install DeepSeg again.", code="model.corrupted"
        ) from error
    return network.eval(), temperature
