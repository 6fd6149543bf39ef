"""What the files of an nnU-Net v2 training say: ``plans.json`` and ``dataset.json`` as a plan and a network.

What DeepSeg would have to ignore is refused: labels would be wrong without a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ..io.dataset_names import remaining_names
from ..networks.names import EARLY_NETWORKS, NETWORKS, refuse_others
from .card import ModelCard
from .plan import Normalization, Plan, Resampling, triple
from .plan_numbers import number, numbers, whole

_Number = TypeVar("_Number", int, float)
_SCHEMES = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "RescaleTo01Normalization": "rescale01",
    "NoNormalization": "none",
}
# By function: the options that are heeded or change no voxel, and what the others must be.
_RESAMPLING: dict[str, tuple[set[str], dict[str, Any]]] = {
    "resample_data_or_seg_to_shape": (
        {"is_seg", "order", "order_z", "force_separate_z"},
        {"separate_z_anisotropy_threshold": 3},
    ),
    "resample_torch_fornnunet": (
        {"is_seg", "num_threads", "device", "memefficient_seg_resampling", "force_separate_z"},
        {"separate_z_anisotropy_threshold": 3, "mode": "linear", "aniso_axis_mode": "nearest-exact"},
    ),
}
_TRAINERS = re.compile(  # nnU-Net's own that train the network of the plan, by the words in their names
    r"nnUNetTrainer(_?(\d+ep\w*|NoMirroring|onlyMirror01|DA\w*|NoDA|noDummy2DDA|\w*Loss\w*|\w*Ada[mn]\w*|CosAnneal|warmup"
    r"|NoDeepSupervision|probabilisticOversampling\w*|SkeletonRecall|BS\d+))*"
)


def trains_the_plans_network(trainer: str) -> bool:
    """Whether a trainer of this name is known to train the network that the plan describes."""
    return _TRAINERS.fullmatch(trainer) is not None


def channels(dataset: Mapping[str, Any]) -> list[str]:
    """Names of the input channels; nnU-Net also takes them from ``modality``, as they were called in version 1."""
    named: Mapping[str, Any] = dataset["modality"] if "modality" in dataset else dataset["channel_names"]
    return [str(name) for name in named.values()]


def configuration_of(plans: dict[str, Any], name: str) -> dict[str, Any]:
    """A configuration with all that it inherits."""
    configuration: dict[str, Any] = dict(plans["configurations"][name])
    parent = configuration.pop("inherits_from", None)
    if parent is not None:
        configuration = {**configuration_of(plans, parent), **configuration}
    return configuration


def plan_of(
    plans: dict[str, Any],
    configuration: dict[str, Any],
    dataset: dict[str, Any],
    card: ModelCard,
    mirror_axes: Sequence[int] | None,
) -> Plan:
    refuse_others(plans, "", plans, {"label_manager": "LabelManager"})
    refuse_others(configuration, "", configuration, {"preprocessor_name": "DefaultPreprocessor"})
    labels, regions = labels_of(dataset)
    cascade: dict[str, Any] = {}
    if configuration.get("previous_stage"):
        rule = _resampling(configuration, "resampling_fn_seg", card.separate_z)
        if (rule.kind, rule.order, rule.order_separate) != ("spline", 1, 0):
            raise ValueError(f"the resampling of labels {configuration['resampling_fn_seg']}")
        cascade = {"previous_labels": _values(dataset), "label_resampling": rule}
    axes = len(numbers(configuration["spacing"], "spacing"))
    transpose = [whole(axis, "transpose_forward", 0, 2) for axis in plans.get("transpose_forward", (0, 1, 2))]
    if sorted(transpose) != [0, 1, 2]:
        raise ValueError(f"transpose_forward = {transpose}")
    spacing = [number(s, "spacing", 1e-6, 1e4) for s in configuration["spacing"]]
    patch = [whole(p, "patch_size", 1, 4096) for p in numbers(configuration["patch_size"], "patch_size", (axes,))]
    mirrored = [whole(axis, "inference_allowed_mirroring_axes", 0, axes - 1) for axis in mirror_axes or ()]
    rules = [_normalization(plans, configuration, number) for number in range(len(channels(dataset)))]
    reorients = str(plans.get("image_reader_writer", "")).endswith("WithReorient")
    return Plan(
        orientation=card.orientation or ("RAS" if reorients else None),
        transpose=triple(transpose),
        spacing=triple(_along_axes(spacing, 0.0)),
        patch_size=triple(_along_axes(patch, 1)),
        normalization=rules[0],
        image_resampling=_resampling(configuration, "resampling_fn_data", card.separate_z),
        logit_resampling=_resampling(configuration, "resampling_fn_probabilities", card.separate_z),
        labels=labels,
        regions=regions,
        mirror_axes=tuple(axis + 3 - axes for axis in dict.fromkeys(mirrored)),
        further=tuple(rules[1:]),
        **cascade,
    )


def _along_axes(values: Sequence[_Number], of_slices: _Number) -> list[_Number]:
    """One number per axis; those of a 2D configuration, which works slice by slice, have none for the first axis."""
    return [of_slices] * (3 - len(values)) + list(values)


def labels_of(dataset: dict[str, Any]) -> tuple[dict[int, str], tuple[int, ...] | None]:
    """Names by label value; with region-based training also the value that each output writes.

    Regions overlap, but a voxel has one value: that of the last region written there. So the value of a region stands
    for what later ones leave of it, and is named after that.
    """
    named = {n: v for n, v in dataset["labels"].items() if n not in ("background", "ignore")}
    if not any(isinstance(v, list) and len(v) > 1 for v in named.values()):
        found: dict[int, str] = {}
        for name, value in named.items():
            label = whole(value[0] if isinstance(value, list) else value, f"the label of {name}", 1, 65535)
            if label in found:
                raise ValueError(f"the label {label} for both {found[label]} and {name}")
            found[label] = name
        return found, None
    order = tuple(whole(v, "regions_class_order", 1, 65535) for v in dataset["regions_class_order"])
    if len(set(order)) < len(order):
        raise ValueError(f"regions_class_order = {list(order)[:20]}")
    regions = {n: {int(x) for x in (v if isinstance(v, list) else [v])} for n, v in named.items()}
    return dict(zip(order, remaining_names(regions), strict=True)), order


def _values(dataset: dict[str, Any]) -> tuple[int, ...]:
    """All label values but background, regions taken apart."""
    named = [v for n, v in dataset["labels"].items() if n not in ("background", "ignore")]
    return tuple(sorted({int(x) for v in named for x in (v if isinstance(v, list) else [v])} - {0}))


def _normalization(plans: dict[str, Any], configuration: dict[str, Any], channel: int) -> Normalization:
    scheme = configuration["normalization_schemes"][channel]
    if scheme not in _SCHEMES:
        raise ValueError(f"the normalization {scheme} (supported: {', '.join(_SCHEMES)})")
    if scheme == "CTNormalization":
        known = plans["foreground_intensity_properties_per_channel"][str(channel)]
        low, high, mean, sd = (number(known[k], k) for k in ("percentile_00_5", "percentile_99_5", "mean", "std"))
        return Normalization("ct", low, high, mean, sd)
    masked = scheme == "ZScoreNormalization" and configuration["use_mask_for_norm"][channel]
    return Normalization("zscore_filled" if masked else _SCHEMES[scheme])


def _resampling(configuration: dict[str, Any], key: str, separate: bool | None) -> Resampling:
    function = configuration[key]
    options = configuration[f"{key}_kwargs"]
    if function not in _RESAMPLING:
        raise ValueError(f"the resampling {function}")
    refuse_others(options, f"{key}_kwargs: ", *_RESAMPLING[function])
    is_spline = function == "resample_data_or_seg_to_shape"
    if options.get("force_separate_z") not in (None, True, False):
        raise ValueError(f"{key}_kwargs: force_separate_z = {options['force_separate_z']}")
    if separate is None:
        separate = options.get("force_separate_z", False if is_spline else None)  # the defaults of the two functions
    if is_spline:
        order, order_z = (whole(options.get(k, usual), k, 0, 5) for k, usual in (("order", 3), ("order_z", 0)))
        return Resampling("spline", order, order_z, separate)
    return Resampling("torch", 1, 0, separate)


def early_architecture(configuration: dict[str, Any]) -> dict[str, Any]:
    """The network of a plan from before nnU-Net 2.4, which describes it in separate entries.

    TotalSegmentator's version 2 weights have such plans.
    """
    name, counts = configuration["UNet_class_name"], configuration["n_conv_per_stage_encoder"]
    if name not in EARLY_NETWORKS:
        raise ValueError(f"the network {name} (supported: {', '.join(EARLY_NETWORKS)})")
    base, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
    dimensions = len(configuration["patch_size"])
    blocks = "n_blocks_per_stage" if name == "ResidualEncoderUNet" else "n_conv_per_stage"
    return {
        "network_class_name": next(path for path, known in NETWORKS.items() if known == name),
        "arch_kwargs": {
            "n_stages": len(counts),
            "features_per_stage": [min(base * 2**stage, most) for stage in range(len(counts))],
            "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
            "kernel_sizes": configuration["conv_kernel_sizes"],
            "strides": configuration["pool_op_kernel_sizes"],
            blocks: counts,
            "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
            "nonlin": "torch.nn.LeakyReLU",
        },
    }
