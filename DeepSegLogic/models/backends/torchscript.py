"""Backend for single network files: TorchScript, or the ``state_dict`` of a network, with a card.

The card says what the file cannot. It must have ``spacing`` (mm along I, J, K), ``orientation``, ``structures`` and
``network``::

    {
      "patch_size": [96, 96, 96],             along I, J, K
      "axes": "IJK",                          axis order of the network's input: "IJK" (MONAI) or "KJI"
      "intensity": {"window": [-175, 250], "range": [0, 1]},    or "zscore", "rescale01", "none";
                                              a list with one for each of the card's "channels" if they differ
      "sigmoid": false,                       true: one output per structure and none for background
      "architecture": {"name": "UNet", "arguments": {"spatial_dims": 3, …}}     for a state_dict only
    }

A ``state_dict`` is safe: it is read as numbers only, and its architecture must be one that
:mod:`DeepSegLogic.networks.table` lists. TorchScript is a program in its own language: it cannot call Python, but it
can use all operators of torch, and some of these read and write files. So it runs only if the user trusts it.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...util.errors import ModelError, first_line, last_line
from ...util.file_names import is_file_name
from ...util.words import counted
from ..card import ModelCard
from ..files import opened, read_json
from ..model import Model, lacks_package, require_monai
from ..plan import Normalization, Plan, Resampling, triple
from ..trust import trusted_copy
from .contract import Backend

if TYPE_CHECKING:
    from torch import nn

_SCRIPT, _STATE = "model.ts", "model.pt"
_NEEDED = ("spacing", "orientation", "structures", "network")


class TorchScript(Backend):
    """Single network files. They are imported with :func:`stage`, as a folder does not say what they are."""

    code: ClassVar = {_SCRIPT: "its network file"}
    data = (_STATE,)

    def make_card(self, folder: Path) -> ModelCard:
        raise ModelError(
            f"{folder} has a network file but no card.json.",
            "Write the card; docs/models.md shows how.",
            code="model.folder",
        )

    def load(self, card: ModelCard) -> Model:
        plan = network_plan(card)
        is_state = not os.path.lexists(card.installed_folder / _SCRIPT) and card.network.get("architecture")
        network = _built(card, card.network["architecture"]) if is_state else _scripted(card)
        return Model(card, plan, [network.eval()])


BACKEND = TorchScript()


def stage(path: Path, changes: Mapping[str, Any], staged: Path) -> ModelCard:
    """Copy a network file to a folder.

    Args:
        path: the file; a JSON file of the same name beside it is its card.
        changes: card fields that replace those in the JSON file.
        staged: an empty folder.

    Raises:
        ModelError: the card cannot be used, or is incomplete.
        OSError: the file cannot be copied.
    """
    beside = path.with_suffix(".json")
    try:
        data = read_json(beside) if beside.is_file() else {}
        name = path.stem if is_file_name(path.stem) else "network"
        data = {"id": name, "title": path.stem, **data, **changes, "backend": "torchscript"}
        card = ModelCard.from_json(data)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"The card {beside} cannot be used: {error}.", "Correct it.", code="model.card") from error
    missing = [name for name in _NEEDED if not getattr(card, name)]
    if missing:
        raise ModelError(
            f"The card of {path.name} has no {', '.join(missing)}.",
            f"Write a card with them to {beside}; docs/models.md shows how.",
            code="model.card",
            action="give_card",
        )
    network_plan(card)
    is_state = card.network.get("architecture") and not _is_script(path)
    shutil.copyfile(path, staged / (_STATE if is_state else _SCRIPT))
    return card


def _is_script(path: Path) -> bool:
    """Whether a file is TorchScript, which contains a program."""
    try:
        with zipfile.ZipFile(path) as zipped:
            return any("/code/" in name or name.endswith("/constants.pkl") for name in zipped.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def _scripted(card: ModelCard) -> nn.Module:
    import torch

    with trusted_copy(card) as folder:
        try:
            with opened(folder / _SCRIPT) as file:  # of a path, torch opens only ASCII on Windows
                network: nn.Module = torch.jit.load(file, map_location="cpu")
            return network
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelError(
                f"{card.installed_folder / _SCRIPT} cannot be read as TorchScript ({first_line(error)}).",
                "Import the model again.",
                code="model.corrupted",
                action="import_model",
            ) from error


def _built(card: ModelCard, architecture: Mapping[str, Any]) -> nn.Module:
    from ...networks.table import OWN, build_network
    from ..weights import read_checkpoint

    if architecture.get("name") not in OWN:
        require_monai(card)
    try:
        network = build_network(architecture, len(card.structures) + 1)
        network.load_state_dict(read_checkpoint(card.installed_folder / _STATE))
    except ImportError as error:
        raise lacks_package(f"The network of the model {card.id}", error) from error
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise _wrong(card, f"an architecture that does not fit ({last_line(error)})") from error
    return network


def network_plan(card: ModelCard) -> Plan:
    """The plan of a single network file, as its card states it.

    Raises:
        ModelError: the card is incomplete or wrong.
    """
    network = card.network
    axes = network.get("axes", "KJI")
    patch = network.get("patch_size")
    if axes not in ("IJK", "KJI"):
        raise _wrong(card, f'"axes": {axes!r} (known: "IJK" and "KJI")')
    if not isinstance(patch, list) or len(patch) != 3 or not all(isinstance(p, int) and p > 0 for p in patch):
        raise _wrong(card, f'"patch_size": {patch!r} (three whole numbers)')
    if card.spacing is None:
        raise _wrong(card, 'a network without "spacing"')
    step = 1 if axes == "IJK" else -1
    intensity, images = network.get("intensity", "none"), len(card.channels) or 1
    named = intensity if isinstance(intensity, list) else [intensity] * images
    if len(named) != images:
        raise _wrong(card, f'"intensity" for {counted(len(named), "image")} (its "channels" are {images})')
    rules = [_normalization(card, one) for one in named]
    labels = dict(enumerate(card.structures, start=1))
    linear = Resampling("torch", 1, 0, False)
    return Plan(
        orientation=card.orientation,
        transpose=(2, 1, 0) if axes == "IJK" else (0, 1, 2),
        spacing=triple(float(s) for s in card.spacing[::step]),
        patch_size=triple(int(p) for p in patch[::step]),
        normalization=rules[0],
        further=tuple(rules[1:]),
        labels=labels,
        crop_to_nonzero=False,
        image_resampling=linear,
        logit_resampling=linear,
        regions=tuple(labels) if network.get("sigmoid") else None,
    )


def _normalization(card: ModelCard, intensity: Any) -> Normalization:
    if intensity in ("zscore", "zscore_nonzero", "rescale01", "none"):
        return Normalization(intensity)
    try:
        (lower, upper), (low, high) = intensity["window"], intensity.get("range", (0, 1))
        sd = (upper - lower) / (high - low)
    except (TypeError, KeyError, ValueError, ZeroDivisionError) as error:
        raise _wrong(card, f'"intensity": {intensity!r}') from error
    if sd <= 0:
        raise _wrong(card, f'"intensity": {intensity!r}, an empty window')
    return Normalization("ct", lower, upper, lower - low * sd, sd)


def _wrong(card: ModelCard, what: str) -> ModelError:
    return ModelError(
        f"The card of {card.id} asks for {what}.", 'Correct its "network"; docs/models.md shows how.', code="model.card"
    )
