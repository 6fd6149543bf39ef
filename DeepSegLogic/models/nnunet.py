"""Backend for nnU-Net v2 results folders: ``plans.json``, ``dataset.json``, ``fold_*/checkpoint_*.pth``.

Source of the format: Isensee et al., nnU-Net, Nature Methods 2021, doi:10.1038/s41592-020-01008-z, and
nnunetv2 2.x, which every TotalSegmentator task and most labs' own models are trained with.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import ModelError
from ..inference.plan import Normalization, Plan, Resampling
from ..networks.unet import UNet, build_unet
from .card import ModelCard
from .loading import Model
from .weights import read_checkpoint

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_SCHEMES = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "RescaleTo01Normalization": "rescale01",
    "NoNormalization": "none",
}


def load_nnunet(card: ModelCard) -> Model:
    """Load every fold of a results folder; several folds are an ensemble.

    Raises:
        ModelError: files are missing or broken, or the plan asks for what this engine does not have.
    """
    plans, dataset = _read_json(card.folder / "plans.json"), _read_json(card.folder / "dataset.json")
    checkpoints = [read_checkpoint(path) for path in checkpoint_files(card.folder)]
    try:
        configuration = _configuration(plans, checkpoints[0]["init_args"]["configuration"])
        plan = _plan(plans, configuration, dataset, card, checkpoints[0].get("inference_allowed_mirroring_axes"))
        networks = [_network(configuration, len(dataset["channel_names"]), plan.channels, c) for c in checkpoints]
    except (LookupError, TypeError, AttributeError) as error:
        raise ModelError(
            f"The plan of the model in {card.folder} is incomplete: {error} is missing or wrong.",
            "Install the model again, or export it with nnU-Net v2.",
            code="model.plan",
        ) from error
    except ValueError as error:
        raise ModelError(
            f"The model in {card.folder} asks for {error}.",
            "Use a 3D configuration with one of the networks supported.",
            code="model.unsupported",
        ) from error
    except RuntimeError as error:
        raise ModelError(
            f"The weights in {card.folder} do not fit the network of its plan ({str(error).splitlines()[-1].strip()}).",
            "Install the model again.",
            code="model.corrupted",
        ) from error
    return Model(card, plan, networks)


def card_from_results(folder: Path) -> ModelCard:
    """A card for a plain results folder, from what its files say.

    Raises:
        ModelError: it is not a results folder.
    """
    folder = Path(folder)
    if not (folder / "plans.json").is_file():
        raise ModelError(
            f"{folder} is not a model folder: it has neither card.json nor nnU-Net's plans.json.",
            "Give the folder that holds plans.json, dataset.json and the fold_… folders.",
            code="model.folder",
        )
    plans, dataset = _read_json(folder / "plans.json"), _read_json(folder / "dataset.json")
    try:
        channels = [str(c).upper() for c in dataset.get("channel_names", {}).values()]
        labels = {n: v for n, v in dataset.get("labels", {}).items() if n not in ("background", "ignore")}
    except AttributeError as error:
        raise ModelError(
            f"{folder / 'dataset.json'} cannot be used: its channels or labels have no names.",
            "Export the model with nnU-Net v2 again.",
            code="model.plan",
        ) from error
    name = dataset.get("name") or plans.get("dataset_name") or folder.name
    if all(isinstance(value, int) for value in labels.values()):
        labels = dict(sorted(labels.items(), key=lambda item: item[1]))
    return ModelCard(
        id=folder.name,
        title=str(name),
        modality="CT" if channels == ["CT"] else None,
        structures=list(labels),
        licence="unknown",
        description="An nnU-Net v2 results folder without a model card.",
        folder=folder,
    )


def checkpoint_files(folder: Path) -> list[Path]:
    """The weights that are used of each fold.

    Raises:
        ModelError: there are none.
    """
    files = []
    for fold in sorted(Path(folder).glob("fold_*")):
        files += [fold / name for name in CHECKPOINTS if (fold / name).is_file()][:1]
    if not files:
        raise ModelError(
            f"The model folder {folder} has no weights (fold_*/{CHECKPOINTS[0]}).",
            "Install the model again, or copy the fold folders of the training.",
            code="model.missing",
        )
    return files


def _read_json(path: Path) -> dict:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"The model lacks its file {path}.", "Install the model again.", code="model.missing"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The model file {path} cannot be read: {error}.",
            "Install the model again.",
            code="model.corrupted",
        ) from error
    if not isinstance(data, dict):
        raise ModelError(f"The model file {path} holds no object.", "Install the model again.", code="model.corrupted")
    return data


def _configuration(plans: dict, name: str) -> dict:
    """A configuration with what it inherits filled in."""
    configuration = dict(plans["configurations"][name])
    parent = configuration.pop("inherits_from", None)
    if parent is not None:
        configuration = {**_configuration(plans, parent), **configuration}
    return configuration


def _plan(plans: dict, configuration: dict, dataset: dict, card: ModelCard, mirror_axes) -> Plan:
    if len(configuration["patch_size"]) != 3:
        raise ValueError("a 2D configuration")
    if configuration.get("previous_stage"):
        raise ValueError("a cascade (its second stage needs the labels of the first)")
    if len(dataset["channel_names"]) != 1:
        raise ValueError(f"{len(dataset['channel_names'])} input channels")
    labels, regions = _labels(dataset)
    reorients = str(plans.get("image_reader_writer", "")).endswith("WithReorient")
    return Plan(
        orientation=card.orientation or ("RAS" if reorients else None),
        transpose=tuple(plans.get("transpose_forward", (0, 1, 2))),
        spacing=tuple(float(s) for s in configuration["spacing"]),
        patch_size=tuple(int(p) for p in configuration["patch_size"]),
        normalization=_normalization(plans, configuration),
        image_resampling=_resampling(configuration, "resampling_fn_data", card.separate_z),
        logit_resampling=_resampling(configuration, "resampling_fn_probabilities", card.separate_z),
        labels=labels,
        regions=regions,
        mirror_axes=tuple(mirror_axes or ()),
    )


def _labels(dataset: dict) -> tuple[dict[int, str], tuple[int, ...] | None]:
    """Names by label value; for region-based training also the value that each output writes."""
    named = {n: v for n, v in dataset["labels"].items() if n not in ("background", "ignore")}
    if not any(isinstance(v, list) and len(v) > 1 for v in named.values()):
        return {int(v[0] if isinstance(v, list) else v): n for n, v in named.items()}, None
    order = tuple(int(v) for v in dataset["regions_class_order"])
    return dict(zip(order, named, strict=True)), order


def _normalization(plans: dict, configuration: dict) -> Normalization:
    scheme = configuration["normalization_schemes"][0]
    if scheme not in _SCHEMES:
        raise ValueError(f"the normalisation {scheme} (supported: {', '.join(_SCHEMES)})")
    if scheme == "CTNormalization":
        known = plans["foreground_intensity_properties_per_channel"]["0"]
        return Normalization("ct", known["percentile_00_5"], known["percentile_99_5"], known["mean"], known["std"])
    masked = scheme == "ZScoreNormalization" and configuration["use_mask_for_norm"][0]
    return Normalization("zscore_nonzero" if masked else _SCHEMES[scheme])


def _resampling(configuration: dict, key: str, separate: bool | None) -> Resampling:
    function = configuration[key]
    options = configuration[f"{key}_kwargs"]
    if separate is None:
        separate = options.get("force_separate_z")
    if function == "resample_data_or_seg_to_shape":
        return Resampling("spline", options.get("order", 3), options.get("order_z", 0), separate)
    if function == "resample_torch_fornnunet":
        return Resampling("torch", 1, 0, separate)
    raise ValueError(f"the resampling {function}")


def _early_architecture(configuration: dict) -> dict:
    """The network of plans written before nnU-Net 2.4, which spell it out in entries of their own.

    TotalSegmentator's version 2 weights are of that time.
    """
    name, counts = configuration["UNet_class_name"], configuration["n_conv_per_stage_encoder"]
    base, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
    blocks = "n_blocks_per_stage" if name == "ResidualEncoderUNet" else "n_conv_per_stage"
    return {
        "network_class_name": name,
        "arch_kwargs": {
            "n_stages": len(counts),
            "features_per_stage": [min(base * 2**stage, most) for stage in range(len(counts))],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": configuration["conv_kernel_sizes"],
            "strides": configuration["pool_op_kernel_sizes"],
            blocks: counts,
            "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "nonlin": "torch.nn.LeakyReLU",
        },
    }


def _network(configuration: dict, inputs: int, classes: int, checkpoint: dict) -> UNet:
    network = build_unet(configuration.get("architecture") or _early_architecture(configuration), inputs, classes)
    network.load_nnunet_weights(checkpoint["network_weights"])
    return network.eval()
