"""Backend for nnU-Net v2 results folders: ``plans.json``, ``dataset.json``, ``fold_*/checkpoint_*.pth``.

Source of the format: Isensee et al., nnU-Net, Nature Methods 2021, doi:10.1038/s41592-020-01008-z, and
nnunetv2 2.x, which every TotalSegmentator task and most labs' own models are trained with.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...util.errors import ModelError, last_line
from ..card import ModelCard
from ..files import check_regular, missing, read_json
from ..model import Model
from ..nnunet_cascade import stage_folder, stage_of
from ..nnunet_plan import channels, configuration_of, early_architecture, labels_of, plan_of, trains_the_plans_network
from .contract import Backend

if TYPE_CHECKING:
    from torch import nn

    from ...networks.unet import UNet
    from ..plan import Plan

_WEIGHTS = "checkpoint_final.pth"


class NnUNet(Backend):
    """Trainings of nnU-Net v2. Plans and weights are read as data, and the networks are DeepSeg's own."""

    data = ("plans.json",)

    def find(self, folder: Path) -> list[Path]:
        """Results folders: beside the plans are the data set's description and the folds. The first stage of a
        cascade that is there too is part of it."""
        found = [file.parent for file in folder.rglob("plans.json")]
        roots = [root for root in found if (root / "dataset.json").is_file() and any(root.glob("fold_*"))]
        first = set()
        for root in roots:
            if stage := stage_of(root):
                with suppress(ModelError):  # it is missing: the import says so
                    first.add(stage_folder(root, stage))
        return [root for root in roots if root not in first]

    def make_card(self, folder: Path) -> ModelCard:
        plans, dataset = _read_json(folder / "plans.json"), _dataset(folder)
        try:
            names = channels(dataset)
            is_ct = names[0].upper() == "CT"
            labels = labels_of({"labels": {}, **dataset})[0]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"{folder / 'dataset.json'} cannot be used: its channels, labels or regions are incomplete ({error}).",
                "Export the model with nnU-Net v2 again.",
                code="model.plan",
            ) from error
        name = dataset.get("name") or plans.get("dataset_name") or folder.name
        return ModelCard(
            id=folder.name,
            title=str(name),
            modality="CT" if is_ct else None,
            structures=[labels[value] for value in sorted(labels)],
            channels=names if len(names) > 1 else [],
            licence="unknown",
            description="An nnU-Net v2 results folder without a model card.",
            folder=folder,
        )

    def name_of(self, card: ModelCard, source: str) -> str:
        """The data set's: a results folder is named after its trainer and configuration."""
        return card.title

    def used_files(self, folder: Path) -> dict[str, Path]:
        """Plan, data set description and weights only: a training also leaves validation images in the folder, which
        are patients' data."""
        files = _own_files(folder)
        if stage := stage_of(folder):
            files |= {f"{stage}/{name}": file for name, file in _own_files(stage_folder(folder, stage)).items()}
        return files

    def check(self, card: ModelCard) -> int | None:
        plan = self.load(card).plan
        return len(plan.labels) if plan is not None else None

    def load(self, card: ModelCard) -> Model:
        """Load all folds; several are an ensemble."""
        return _load(card, card.installed_folder)


BACKEND = NnUNet()


def architecture_in(folder: Path) -> dict[str, Any]:
    """The ``architecture`` entry of the plan by which the network in a results folder was trained.

    Raises:
        ModelError: as :meth:`NnUNet.load`, which has loaded the folder before.
    """
    from ..weights import read_checkpoint

    checkpoint = read_checkpoint(_checkpoint_files(folder)[0])
    configuration = configuration_of(_read_json(folder / "plans.json"), checkpoint["init_args"]["configuration"])
    return _architecture(configuration)


def _load(card: ModelCard, folder: Path, *, is_first: bool = False) -> Model:
    """Load the training in a folder.

    Args:
        is_first: as the first stage of a cascade, which has none before it.
    """
    from ..weights import read_checkpoint

    plans, dataset = _read_json(folder / "plans.json"), _dataset(folder)
    checkpoints = [read_checkpoint(path) for path in _checkpoint_files(folder)]
    try:
        configuration = configuration_of(plans, checkpoints[0]["init_args"]["configuration"])
        plan = plan_of(plans, configuration, dataset, card, checkpoints[0].get("inference_allowed_mirroring_axes"))
        stage = configuration.get("previous_stage")
        if stage and is_first:
            raise ValueError("a cascade of more than two stages")
        networks: list[nn.Module] = [_network(configuration, plan, c) for c in checkpoints]
    except (LookupError, TypeError, AttributeError) as error:
        raise ModelError(
            f"The plan of the model in {folder} is incomplete: {error} is missing or wrong.",
            "Install the model again, or export it with nnU-Net v2.",
            code="model.plan",
        ) from error
    except ValueError as error:
        raise ModelError(
            f"The model in {folder} uses {error}, which DeepSeg does not support.",
            "Use a configuration with a supported network.",
            code="model.unsupported",
        ) from error
    except RuntimeError as error:
        trainer = str(checkpoints[0].get("trainer_name", ""))
        if trainer and not trains_the_plans_network(trainer):
            raise ModelError(
                f"The model in {folder} was trained with {trainer}, whose network DeepSeg does not have.",
                "Use a model that was trained with the network of its plan, e.g. by nnUNetTrainer.",
                code="model.unsupported",
            ) from error
        raise ModelError(
            f"The weights in {folder} do not fit the network of its plan ({last_line(error)}).",
            "Install the model again.",
            code="model.corrupted",
        ) from error
    previous = _load(card, stage_folder(folder, str(stage)), is_first=True) if stage else None
    if previous is not None and (previous.plan is None or previous.plan.images != plan.images):
        raise ModelError(
            f"The two stages of the cascade in {folder} see different images.",
            "Import the results folder of one training with both.",
            code="model.plan",
        )
    return Model(card, plan, networks, previous)


def _own_files(folder: Path) -> dict[str, Path]:
    """The files of one training, by path in its folder."""
    files = {name: folder / name for name in ("plans.json", "dataset.json")}
    check_regular(folder, *files.values())
    return files | {f"{file.parent.name}/{_WEIGHTS}": file for file in _checkpoint_files(folder)}


def _checkpoint_files(folder: Path) -> list[Path]:
    """The final weights of each fold, as nnU-Net chooses them; of ``fold_all`` only if there is no other.

    Raises:
        ModelError: there are none, or one is a link.
    """
    folds = sorted(fold for fold in folder.glob("fold_*") if (fold / _WEIGHTS).is_file())
    numbered = [fold for fold in folds if fold.name.removeprefix("fold_").isdecimal()]
    files = [fold / _WEIGHTS for fold in numbered or folds if fold in numbered or fold.name == "fold_all"]
    check_regular(folder, *files)
    if files:
        return files
    unfinished = next((path for path in sorted(folder.glob("fold_*/checkpoint_*.pth"))), None)
    if unfinished is not None:
        raise ModelError(
            f"The training in {folder} is not finished: it has {unfinished.parent.name}/{unfinished.name}, but no "
            f"{_WEIGHTS}.",
            f"Finish the training, or rename {unfinished.name} to {_WEIGHTS} to use it as it is.",
            code="model.missing",
        )
    raise ModelError(
        f"The model folder {folder} has no weights (fold_*/{_WEIGHTS}).",
        "Install the model again, or copy the fold folders of the training.",
        code="model.missing",
    )


def _dataset(folder: Path) -> dict[str, Any]:
    """The description of the data set.

    Raises:
        ModelError: it is missing, cannot be read, or is one of nnU-Net v1.
    """
    dataset = _read_json(folder / "dataset.json")
    labels = dataset.get("labels")
    # Version 2 maps names to numbers; some trainings, e.g. MOOSE's, have the numbers as text.
    if isinstance(labels, dict) and labels and all(isinstance(v, str) and not v.isdecimal() for v in labels.values()):
        raise ModelError(
            f"{folder / 'dataset.json'} is in the style of nnU-Net v1: its labels map numbers to names.",
            "Use the dataset.json that nnU-Net v2 wrote into the training's folder, or convert this one with "
            "nnUNetv2_convert_old_nnUNet_dataset.",
            code="model.plan",
        )
    return dataset


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = read_json(path)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The model file {path} cannot be read: {error}.",
            "Install the model again.",
            code="model.corrupted",
        ) from error
    if not isinstance(data, dict):
        raise ModelError(
            f"The model file {path} is not a JSON object.", "Install the model again.", code="model.corrupted"
        )
    return data


def _network(configuration: dict[str, Any], plan: Plan, checkpoint: dict[str, Any]) -> UNet:
    from ...networks.unet import build_unet

    network = build_unet(_architecture(configuration), plan.inputs, plan.channels)
    network.load_nnunet_weights(checkpoint["network_weights"])
    return network.eval()


def _architecture(configuration: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = configuration.get("architecture") or early_architecture(configuration)
    return found
