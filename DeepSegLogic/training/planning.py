"""The plan of a training, made from what is known of the cases and from the memory at hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.terminology import structure_for
from ..data.types import MaskArray
from ..models.plan import Normalization
from ..networks.fusion import EARLY, FUSIONS, MIDDLE, fused
from ..networks.table import Sizes, trainable
from ..util.errors import InputError, UsageError
from ..util.words import minus_text
from .checks import CaseFacts, Report
from .nnunet_rules import (
    REFERENCE_SIZE,
    Triple,
    decoder_blocks,
    encoder_blocks,
    features,
    median_shape,
    patch_and_batch,
    target_spacing,
    topology,
)
from .regions import Regions

DEFAULT_NETWORK = "unet"
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\W_]+")  # Kidney_L, KidneyL and LKidney are two
_SIDES = re.compile(
    r"l|r|lt|rt|.*left|(?!bright|upright).*right|left.*|right.*|link(e[rsmn]?|s)|recht(e[rsmn]?|s)|sin|sinister|dext?|dexter|"
    r"gauche|droite?|izquierd[oa]|derech[oa]|sinistr[oa]|destr[oa]",
    re.IGNORECASE,
)
"""Words for a side; one too many costs mirroring, one too few makes a model that takes left for right."""


@dataclass(frozen=True)
class TrainingPlan:
    """What is trained, and how its input is made.

    Attributes:
        network: name in :data:`~DeepSegLogic.networks.table.TRAINABLE`.
        structures: names in label order, value 1 first.
        modality: ``"CT"``, another one, or None if unknown.
        spacing: mm along (Z, Y, X) of RAS-oriented images.
        patch: voxels along (Z, Y, X).
        batch: patches per step.
        normalization: of the first image; ``"ct"`` or ``"zscore"``.
        architecture: description of the network, see :mod:`DeepSegLogic.networks.table`.
        shape: median of the images at that spacing, voxels.
        separate_z: whether images are resampled separately along a coarse axis; None to decide by anisotropy.
        channels: names of the images if there are several; else none.
        further: normalization of the further images.
        regions: the structures, if they overlap: each is an output of its own.
        fusion: of several images, one of :data:`~DeepSegLogic.networks.fusion.FUSIONS`.
    """

    network: str
    structures: tuple[str, ...]
    modality: str | None
    spacing: tuple[float, float, float]
    patch: Triple
    batch: int
    normalization: Normalization
    architecture: dict[str, Any]
    shape: Triple
    separate_z: bool | None = None
    channels: tuple[str, ...] = ()
    further: tuple[Normalization, ...] = ()
    regions: Regions | None = None
    fusion: str = EARLY

    @property
    def inputs(self) -> int:
        """Number of images that the network sees together."""
        return 1 + len(self.further)

    @property
    def outputs(self) -> int:
        """Number of output channels: one per structure and, unless they overlap, one for the background."""
        return len(self.structures) + (self.regions is None)

    @property
    def region_table(self) -> MaskArray | None:
        """See :meth:`.regions.Regions.table`; None unless structures overlap."""
        return None if self.regions is None else self.regions.table()

    @property
    def sided(self) -> str:
        """The first structure of the left or right, for which patches are not mirrored; empty if there is none."""
        return next((name for name in self.structures if structure_for(name, 1).laterality or _has_side(name)), "")

    @property
    def is_unet(self) -> bool:
        """Whether nnU-Net knows the network, so that the model is a results folder of nnU-Net."""
        return "network_class_name" in self.architecture

    def lines(self) -> list[tuple[str, str]]:
        """Name and value of what a user wants to see."""
        extent = [p * s for p, s in zip(self.patch, self.spacing, strict=True)]
        scaled = [_scaled(rule) for rule in (self.normalization, *self.further)]
        if self.channels:
            scaled = [f"{name}: {words}" for name, words in zip(self.channels, scaled, strict=True)]
        fusion = f", {self.fusion} fusion of {self.inputs} images" if self.fusion != EARLY else ""
        overlapping = " (overlapping, trained as regions)" if self.regions is not None else ""
        return [
            ("Network", f"{self.network}: {trainable(self.network).title}{fusion}"),
            *([("Structures", ", ".join(self.structures) + overlapping)] if self.structures else []),
            ("Spacing", f"{_by(self.spacing, '.3g')} mm (Z × Y × X)"),
            ("Patch", f"{_by(self.patch)} voxels, {_by(extent, '.0f')} mm"),
            ("Batch", f"{self.batch} patch" + "es" * (self.batch > 1)),
            ("Mirrored", f"no: {self.sided} has a side" if self.sided else "left and right are exchanged at random"),
            ("Intensities", "; ".join(scaled)),
        ]


def plan_training(
    report: Report,
    network: str = DEFAULT_NETWORK,
    *,
    memory_gb: float = 8.0,
    width: int = 32,
    spacing: Sequence[float] | None = None,
    patch: Sequence[float] | None = None,
    batch: int | None = None,
    fusion: str = EARLY,
) -> TrainingPlan:
    """The plan for a checked data set, by nnU-Net's rules (:mod:`.nnunet_rules`).

    Args:
        network: a name in :data:`~DeepSegLogic.networks.table.TRAINABLE`.
        memory_gb: for training.
        width: channels at the finest stage.
        spacing, patch, batch: instead of the rules' own; (Z, Y, X) in mm and voxels.
        fusion: of several images: as channels of one network, or see :mod:`DeepSegLogic.networks.fusion`.

    Raises:
        UsageError: an unknown network, a fusion that it does not have, or a size that cannot be used.
        InputError: there is nothing to learn.
    """
    chosen = trainable(network)
    if not report.structures:
        raise InputError("No case has a labelled voxel.", "Label at least one structure.", code="input.empty")
    _check_sizes(spacing, patch)
    images = max(1, len(report.channels))
    _check_fusion(fusion, network, images)
    usable = [facts for facts in report.cases if facts.error is None]
    spacings = np.array([facts.spacing for facts in usable])
    shapes = np.array([facts.shape for facts in usable], float)
    target = target_spacing(spacings, shapes) if spacing is None else tuple(map(float, spacing))
    shape = median_shape(spacings, shapes, target)
    kind = network if network in REFERENCE_SIZE else "unet"
    classes = len(report.structures) + (report.regions is None)
    memory = memory_gb / chosen.cost / (1 if fusion == EARLY else images)
    found, own_batch = patch_and_batch(kind, target, shape, len(usable), classes, memory, width)
    wanted = [round(p) for p in patch] if patch is not None else list(found.patch)
    if chosen.multiple:
        edge = chosen.multiple
        wanted = [max(2 * edge, (round if patch is None else _up)(p / edge) * edge) for p in wanted]
    found = topology(target, wanted)
    z, y, x = found.patch if not chosen.multiple else wanted
    stages = len(found.strides)
    described = chosen.describe(
        Sizes(
            classes,
            (z, y, x),
            found.strides,
            found.kernels,
            width,
            features(stages, width),
            encoder_blocks(kind, stages),
            decoder_blocks(kind, stages),
            inputs=images if fusion == EARLY else 1,
        )
    )
    first, *further = _normalizations(usable, report)
    return TrainingPlan(
        network,
        tuple(report.structures),
        report.modality,
        (target[0], target[1], target[2]),
        (z, y, x),
        own_batch if batch is None else max(1, batch),
        first,
        described if fusion == EARLY else fused(fusion, described, classes, images, report.regions is not None),
        (round(shape[0]), round(shape[1]), round(shape[2])),
        channels=report.channels,
        further=tuple(further),
        regions=report.regions,
        fusion=fusion,
    )


def _check_sizes(spacing: Sequence[float] | None, patch: Sequence[float] | None) -> None:
    if spacing is not None and (len(spacing) != 3 or not all(0.1 <= s <= 20 for s in spacing)):
        raise UsageError(f"The spacing {spacing} cannot be used.", "Give 0.1 to 20 mm.", code="usage.spacing")
    if patch is not None and (len(patch) != 3 or not all(8 <= p <= 512 for p in patch)):
        raise UsageError(f"The patch {patch} cannot be used.", "Give three sizes of 8 to 512.", code="usage.patch")


def _check_fusion(fusion: str, network: str, images: int) -> None:
    if fusion not in FUSIONS:
        raise UsageError(f"There is no fusion {fusion!r}.", f"Choose {', '.join(FUSIONS)}.", code="usage.fusion")
    if fusion != EARLY and images < 2:
        raise UsageError(
            f"Each case has one image, so that there is nothing for {fusion} fusion.",
            "Choose early fusion, or give several images per case.",
            code="usage.fusion",
        )
    if fusion == MIDDLE and network not in REFERENCE_SIZE:
        raise UsageError(
            f"The network {network} has no middle fusion.",
            f"Choose {' or '.join(REFERENCE_SIZE)}, or another fusion.",
            code="usage.fusion",
        )


def _has_side(name: str) -> bool:
    return any(_SIDES.fullmatch(word) for word in _WORDS.split(name))


def _up(value: float) -> int:
    return int(np.ceil(value))


def _normalizations(cases: list[CaseFacts], report: Report) -> list[Normalization]:
    """nnU-Net's, per channel: of CT by the labelled voxels of all cases, of others by each image's own statistics."""
    rules = []
    for number, name in enumerate([report.modality, *report.channels[1:]]):
        if (name or "").upper() == "CT":
            values = np.concatenate([facts.intensities[number] for facts in cases])
            lower, upper = (float(np.percentile(values, p)) for p in (0.5, 99.5))
            rules.append(Normalization("ct", lower, upper, float(values.mean()), max(float(values.std()), 1.0)))
        else:
            rules.append(Normalization("zscore"))
    return rules


def _scaled(rule: Normalization) -> str:
    if rule.scheme == "ct":
        return f"clipped to {minus_text(rule.lower, '.0f')} to {minus_text(rule.upper, '.0f')} HU, then standardized"
    return "standardized per image"


def _by(values: Sequence[float], form: str = "d") -> str:
    return " × ".join(format(int(v) if form == "d" else v, form) for v in values)
