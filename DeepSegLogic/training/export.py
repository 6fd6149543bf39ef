"""A trained network as a model: of a U-Net a results folder of nnU-Net v2, of any other a card and a ``state_dict``.

``nnUNetPredictor`` runs the former, too. How an image becomes the network's input is read back from these very files,
for the training as for a run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..models.backends.torchscript import network_plan
from ..models.card import ModelCard, id_from
from ..models.files import CARD_FILE
from ..models.nnunet_plan import labels_of, plan_of
from ..models.plan import Normalization, Plan
from ..util.atomic_write import atomic_folder
from ..util.version import __version__
from .planning import TrainingPlan

_CONFIGURATION = "3d_fullres"


def engine_plan(plan: TrainingPlan) -> Plan:
    """The plan by which the engine will run the model."""
    if not plan.is_unet:
        return network_plan(model_card(plan, "model", "model"))
    plans = nnunet_plans(plan)
    card = ModelCard("model", "model")
    return plan_of(plans, plans["configurations"][_CONFIGURATION], _dataset(plan, "model", 1), card, None)


def write_results(
    folder: Path,
    weights: dict[str, torch.Tensor],
    plan: TrainingPlan,
    title: str,
    cases: int,
    provenance: dict[str, Any] | None = None,
    fold: int = 0,
    rights: Mapping[str, Any] | None = None,
) -> None:
    """Write a model, whole or not at all. The weights of a U-Net are in half precision.

    Args:
        folder: of the model; files in it are replaced.
        weights: of the network that ``plan`` describes.
        title: of the data set.
        cases: number of subjects that were trained on.
        provenance: facts about the training for the card; None for a results folder without a card.
        fold: number of it, for a U-Net; other folds in ``folder`` stay, and are an ensemble with it.
        rights: see :class:`~.recipe.Recipe`.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    card = replace(model_card(plan, id_from(folder.resolve().name), title, provenance or {}), **(rights or {}))
    with atomic_folder(folder, last=CARD_FILE if provenance is not None else "") as temporary:
        if plan.is_unet:
            (temporary / f"fold_{fold}").mkdir()
            _write_json(temporary / "plans.json", nnunet_plans(plan))
            _write_json(temporary / "dataset.json", _dataset(plan, title, cases))
            content = {
                "network_weights": _as_nnunet_names({name: tensor.half() for name, tensor in weights.items()}),
                "trainer_name": "nnUNetTrainer",
                "init_args": {"configuration": _CONFIGURATION, "fold": fold},
                "inference_allowed_mirroring_axes": None,
            }
            torch.save(content, temporary / f"fold_{fold}" / "checkpoint_final.pth")
        else:
            torch.save(weights, temporary / "model.pt")
        if provenance is not None or not plan.is_unet:
            _write_json(temporary / CARD_FILE, card.to_json())


def model_card(plan: TrainingPlan, name: str, title: str, provenance: dict[str, Any] | None = None) -> ModelCard:
    """The card of a model with this plan."""
    first, *further = (_intensity(rule) for rule in _rules(plan))
    network = {
        "patch_size": list(plan.patch[::-1]),
        "axes": "KJI",
        "intensity": [first, *further] if further else first,
        "sigmoid": plan.regions is not None,
        **({} if plan.regions is None else {"regions": plan.regions.as_dataset_json()}),
    }
    labels = labels_of(_dataset(plan, title, 0))[0]  # those of structures that overlap stand for what is left of them
    return ModelCard(
        id=name,
        title=title,
        modality=plan.modality if plan.modality in ("CT", "MR") else None,
        backend="nnunet" if plan.is_unet else "torchscript",
        channels=list(plan.channels),
        structures=[labels[value] for value in (sorted(labels) if plan.is_unet else labels)],
        orientation="RAS",
        spacing=list(plan.spacing[::-1]),
        description=f"Trained with DeepSeg {__version__}.",
        provenance=provenance or {},
        network={} if plan.is_unet else {**network, "architecture": plan.architecture},
    )


def _rules(plan: TrainingPlan) -> tuple[Normalization, ...]:
    return plan.normalization, *plan.further


def _intensity(rule: Normalization) -> Any:
    if rule.scheme != "ct":
        return rule.scheme
    scaled = [(edge - rule.mean) / rule.sd for edge in (rule.lower, rule.upper)]
    return {"window": [rule.lower, rule.upper], "range": scaled}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def _as_nnunet_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """nnU-Net registers its modules under several names, and loads strictly; in the file each stays one tensor."""
    named: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        names = [name]
        for part, position in ((".conv.", ".all_modules.0."), (".norm.", ".all_modules.1.")):
            if part in name:
                names.append(name.replace(part, position))
        names += [f"decoder.{n}" for n in names if n.startswith("encoder.")]
        named |= dict.fromkeys(names, tensor)
    return named


def _dataset(plan: TrainingPlan, title: str, cases: int) -> dict[str, Any]:
    labels: dict[str, Any] = {"labels": {"background": 0, **{n: v for v, n in enumerate(plan.structures, 1)}}}
    names = plan.channels or (plan.modality or "unknown",)
    return {
        "channel_names": {str(number): name for number, name in enumerate(names)},
        **(labels if plan.regions is None else plan.regions.as_dataset_json()),
        "numTraining": cases,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
        "name": title,
    }


def nnunet_plans(plan: TrainingPlan) -> dict[str, Any]:
    """``plans.json`` of an nnU-Net v2 results folder."""
    rules = _rules(plan)

    def resampling(is_seg: bool, order: int) -> dict[str, Any]:
        return {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": plan.separate_z}

    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": plan.batch,
        "patch_size": list(plan.patch),
        "median_image_size_in_voxels": list(plan.shape),
        "spacing": list(plan.spacing),
        "normalization_schemes": [
            "CTNormalization" if rule.scheme == "ct" else "ZScoreNormalization" for rule in rules
        ],
        "use_mask_for_norm": [False] * len(rules),
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling(False, 3),
        "resampling_fn_seg_kwargs": resampling(True, 1),
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling(False, 1),
        "architecture": plan.architecture,
        "batch_dice": True,
    }
    intensities = {}
    for number, rule in enumerate(rules):
        known = {"mean": rule.mean, "median": rule.mean, "std": rule.sd, "min": rule.lower, "max": rule.upper}
        intensities[str(number)] = known | {"percentile_00_5": rule.lower, "percentile_99_5": rule.upper}
    return {
        "dataset_name": "Dataset901_DeepSeg",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(plan.spacing),
        "original_median_shape_after_transp": list(plan.shape),
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {_CONFIGURATION: configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": intensities,
    }
