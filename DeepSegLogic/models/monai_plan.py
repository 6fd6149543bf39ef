"""What a MONAI bundle's configuration says, as a plan. The bundle is trusted: reading it can run code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..util.errors import ModelError
from ..util.words import counted
from .card import ModelCard
from .files import CARD_FILE
from .plan import Normalization, Padding, Plan, Resampling, triple

if TYPE_CHECKING:
    import torch
    from monai.bundle import ConfigParser

    from ..data.types import LabelArray

_NO_WORK = {
    "EnsureType",
    "CastToType",
    "ToTensor",
    "ToDevice",
    "ToNumpy",
    "FromMetaTensor",
    "SelectItems",
    "DeleteItems",
}
_PASSED_OVER = {  # transforms whose work the engine does, or that do not move labels
    *_NO_WORK,
    "LoadImage",
    "EnsureChannelFirst",
    "AddChannel",
    "CropForeground",
}
_PASSED_OVER_AFTER = {*_NO_WORK, "Activations", "AsDiscrete", "Invert", "SaveImage"}  # the same after the network
_ON_LABELS = {"FillHoles", "KeepLargestConnectedComponent", "LabelFilter", "RemoveSmallObjects"}  # MONAI's own are run
_MOST_IMAGES = 32
_PADDING = ("constant", "reflect", "replicate", "circular")


def dictionaries(config: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All dictionaries in a configuration, with their places in the notation of ConfigParser."""
    items: Iterable[tuple[Any, Any]] = (
        config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    )
    if isinstance(config, dict) and at:
        yield at, config
    for key, value in items:
        yield from dictionaries(value, f"{at}::{key}" if at else str(key))


def kind_of_step(item: dict[str, Any]) -> str:
    """The class of a component, without its module and the suffix of dictionary transforms."""
    name = str(item.get("_target_", "")).rpartition(".")[2]
    return re.sub(r"(?<=[a-z])(d|D|Dict)$", "", name)


def _steps(
    parser: ConfigParser, card: ModelCard, at: str, unused: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The transforms at a place in the configuration, with their own places.

    Lists can be put together from others: ``"$@first + @second"``.

    Args:
        unused: also those that the configuration disables.
    """
    config = parser.get(at)
    if isinstance(config, str):
        names = [name.strip() for name in config.strip().removeprefix("$").split("+")]
        if not all(re.fullmatch(r"@[\w:#]+", name) for name in names):
            raise unsupported(card, f"transforms written as {config!r}")
        for name in names:
            yield from _steps(parser, card, name[1:].replace("#", "::"), unused)
    elif isinstance(config, list):
        for number in range(len(config)):
            yield from _steps(parser, card, f"{at}::{number}", unused)
    elif isinstance(config, dict) and "transforms" in config:
        yield from _steps(parser, card, f"{at}::transforms", unused)
    elif isinstance(config, dict) and (unused or not config.get("_disabled_")):
        yield at, config


def images_of(image: dict[str, Any]) -> list[str]:
    """Names of the images that a network sees together, from the format of its input in the metadata.

    Raises:
        ValueError, TypeError, AttributeError: it is not as MONAI's specification says.
    """
    count, named = int(image.get("num_channels", 1)), image.get("channel_def") or {}
    if not 1 <= count <= _MOST_IMAGES:
        raise ValueError(f"{count} input channels")
    return [str(named.get(str(number), f"image {number}")) for number in range(count)]


class NetworkInput(NamedTuple):
    """What the preprocessing of a bundle makes of a volume."""

    orientation: str | None
    spacing: tuple[float, float, float]
    normalization: Normalization


def input_of(parser: ConfigParser, card: ModelCard, unused: bool = False) -> NetworkInput:
    """What a bundle's network gets, from its preprocessing.

    Args:
        unused: also read steps that the configuration disables. Detection bundles disable the resampling, because
            their data are resampled beforehand.

    Raises:
        ModelError: a step is not supported, or none says the spacing.
    """
    orientation, spacing = None, card.spacing
    intensity: list[Any] = []
    for at, item in _steps(parser, card, "preprocessing", unused):
        kind = kind_of_step(item)
        if kind in _PASSED_OVER:
            continue
        if kind == "Orientation":
            orientation = parser.get_parsed_content(f"{at}::axcodes")
        elif kind == "Spacing":
            pixdim = parser.get_parsed_content(f"{at}::pixdim")
            spacing = [float(p) for p in (pixdim if isinstance(pixdim, (list, tuple)) else [pixdim] * 3)]
        else:
            transform = parser.get_parsed_content(at)
            if not type(transform).__module__.startswith("monai.transforms.intensity"):
                raise unsupported(card, f"the preprocessing step {item['_target_']}")
            intensity.append(transform)
    if spacing is None:
        raise ModelError(
            f"The bundle {card.id} does not say its voxel spacing.",
            f'Add "spacing" (mm along I, J, K) to {card.installed_folder / CARD_FILE}.',
            code="model.plan",
        )
    return NetworkInput(orientation, triple(spacing), Normalization("function", function=_function(intensity)))


def plan_of(parser: ConfigParser, card: ModelCard, image: dict[str, Any], channels: list[str]) -> Plan:
    """The plan of a bundle.

    Args:
        image: format of the input, from the metadata.
        channels: names of the output channels, from the metadata.

    Raises:
        ModelError: it asks for what DeepSeg does not have, or does not say its spacing.
    """
    further = (Normalization("none"),) * (len(images_of(image)) - 1)
    given = input_of(parser, card)
    labels = dict(enumerate(card.structures, start=1))
    overlapping, postprocess = _after(parser, card)
    if overlapping and postprocess is not None and len(channels) > 1:
        raise unsupported(card, "postprocessing of overlapping structures")
    if len(labels) != len(channels) - (channels[0].lower() == "background"):
        raise unsupported(
            card,
            f"a card with {counted(len(labels), 'structure')} for a network with {counted(len(channels), 'output')}",
        )
    return Plan(
        orientation=given.orientation,
        transpose=(2, 1, 0),  # MONAI's axes are (I, J, K)
        spacing=given.spacing,
        patch_size=_patch_size(parser, image, card),
        padding=_padding(parser, card),
        normalization=given.normalization,
        further=further,
        labels=labels,
        crop_to_nonzero=False,
        image_resampling=Resampling("torch", 1, 0, False),
        logit_resampling=Resampling("torch", 1, 0, False),
        regions=tuple(range(len(labels) + 1 - len(channels), len(labels) + 1)) if overlapping else None,
        postprocess=postprocess,
    )


def _function(transforms: list[Any]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The bundle's intensity transforms as one function of an image tensor, (C, X, Y, Z) float32."""

    def normalize(image: torch.Tensor) -> torch.Tensor:
        for transform in transforms:
            key = transform.keys[0]
            image = transform({key: image})[key]
        plain: torch.Tensor = image.as_tensor() if hasattr(image, "as_tensor") else image  # of MONAI's MetaTensor
        return plain

    return normalize


def _patch_size(parser: ConfigParser, image: dict[str, Any], card: ModelCard) -> tuple[int, int, int]:
    size = image.get("spatial_shape")
    if "roi_size" in (parser.get("inferer") or {}):
        size = parser.get_parsed_content("inferer::roi_size")
    size = [size] * 3 if isinstance(size, int) else size
    if not size or len(size) != 3 or not all(isinstance(s, int) and s > 0 for s in size):
        raise unsupported(card, f"windows of the size {size}")
    return triple(size)


def _padding(parser: ConfigParser, card: ModelCard) -> Padding:
    """How the inferer extends an image that is smaller than its window."""
    inferer = parser.get("inferer", {})
    found: dict[str, Any] = {"padding_mode": "constant", "cval": 0.0}
    if isinstance(inferer, dict):
        found |= {key: parser.get_parsed_content(f"inferer::{key}") for key in found if key in inferer}
    mode = str(getattr(found["padding_mode"], "value", found["padding_mode"]))  # MONAI also has an enumeration
    if mode not in _PADDING:
        raise unsupported(card, f"the padding mode {mode}")
    return Padding(mode, float(found["cval"]))


def _after(parser: ConfigParser, card: ModelCard) -> tuple[bool, Callable[[LabelArray], LabelArray] | None]:
    """What comes after the network: whether its outputs are independent (sigmoid) rather than exclusive (softmax), and
    the transforms of the labels, if there are any."""
    overlapping, transforms = False, []
    for at, item in _steps(parser, card, "postprocessing"):
        kind = kind_of_step(item)
        if kind in _ON_LABELS and not item.get("by_measure"):  # whose millimetres the labels alone do not have
            transforms.append(parser.get_parsed_content(at))
        elif kind not in _PASSED_OVER_AFTER:
            raise unsupported(card, f"the postprocessing step {item.get('_target_')}")
        sigmoid, threshold = (_value(parser, at, item, key) for key in ("sigmoid", "threshold"))
        overlapping |= kind == "Activations" and bool(sigmoid)
        if kind == "AsDiscrete" and threshold not in (None, True, False, 0.5):
            raise unsupported(card, f"a threshold of {threshold} for its outputs")
    return overlapping, _on_labels(transforms) if transforms else None


def _value(parser: ConfigParser, at: str, item: dict[str, Any], key: str) -> Any:
    """An argument of a transform, of the first of its keys; None if it is not given."""
    value = parser.get_parsed_content(f"{at}::{key}") if key in item else None
    return value[0] if isinstance(value, (list, tuple)) else value


def _on_labels(transforms: list[Any]) -> Callable[[LabelArray], LabelArray]:
    """MONAI's transforms as one function of labels (X, Y, Z)."""

    def apply(labels: LabelArray) -> LabelArray:
        import numpy as np
        import torch

        image: Any = torch.from_numpy(labels.astype(np.int32))[None]
        for transform in transforms:
            key = transform.keys[0]
            image = transform({key: image})[key]
        return np.asarray(image[0]).astype(labels.dtype)

    return apply


def unsupported(card: ModelCard, what: str) -> ModelError:
    return ModelError(
        f"The bundle {card.id} uses {what}, which DeepSeg does not support.",
        "Use a bundle that segments one volume with a sliding window.",
        code="model.unsupported",
    )
