"""Backend for single files: TorchScript, or the ``state_dict`` of one of MONAI's networks, with a card.

The card says what the file cannot. Its ``spacing`` (mm along I, J, K), ``orientation`` and ``structures``
are needed, and ``network``::

    {
      "patch_size": [96, 96, 96],             along I, J, K
      "axes": "IJK",                          order in which the network takes them: "IJK" (MONAI) or "KJI"
      "intensity": {"window": [-175, 250], "range": [0, 1]},    or "zscore", "rescale01", "none"
      "sigmoid": false,                       true: every structure is an output of its own, without background
      "architecture": {"name": "UNet", "arguments": {"spatial_dims": 3, …}}     for a state_dict only
    }

What is safe: a ``state_dict`` is read as numbers only, and its architecture can name nothing but one of
``ARCHITECTURES``. TorchScript is a program in a language of its own: it cannot call Python, but it
can use every operator of torch, and some of those read and write files. So it runs only once it is trusted.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ..errors import ModelError
from ..inference.plan import Normalization, Plan, Resampling
from .card import ModelCard
from .loading import Model, require_monai
from .trust import require_trust
from .weights import read_checkpoint

SCRIPT, STATE = "model.ts", "model.pt"
ARCHITECTURES = (  # of monai.networks.nets; none of them can be told to fetch or read files
    "AttentionUnet",
    "BasicUNet",
    "BasicUNetPlusPlus",
    "DynUNet",
    "HighResNet",
    "SegResNet",
    "SegResNetDS",
    "SwinUNETR",
    "UNETR",
    "UNet",
    "VNet",
)
NEEDED = ("spacing", "orientation", "structures", "network")


def stage(path: Path, changes: dict, staged: Path) -> ModelCard:
    """Copy a network file to ``staged``; its card is ``changes`` over the JSON file of the same stem beside it.

    Raises:
        ModelError: the card lacks what is needed.
    """
    beside = path.with_suffix(".json")
    try:
        data = json.loads(beside.read_text("utf-8")) if beside.is_file() else {}
        data = {"id": path.stem, "title": path.stem, **data, **changes, "backend": "torchscript"}
        card = ModelCard.from_json(data)
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"The card {beside} cannot be used: {error}.", "Correct it.", code="model.card") from error
    missing = [name for name in NEEDED if not getattr(card, name)]
    if missing:
        raise ModelError(
            f"{path.name} is a network without what is needed to use it: {', '.join(missing)}.",
            f"Write these into {beside} or into the file given with --card; docs/models.md shows how.",
            code="model.card",
        )
    _plan(card)
    shutil.copyfile(path, staged / (STATE if card.network.get("architecture") else SCRIPT))
    return card


def load_torchscript(card: ModelCard) -> Model:
    """Load the network.

    Raises:
        ModelError: it is not trusted, missing or broken, or the card does not fit it.
    """
    plan = _plan(card)
    architecture = card.network.get("architecture")
    network = _built(card, architecture) if architecture else _scripted(card)
    return Model(card, plan, [network.eval()])


def _scripted(card: ModelCard):
    import torch

    require_trust(card)
    try:
        return torch.jit.load(card.folder / SCRIPT, map_location="cpu")
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            f"{card.folder / SCRIPT} cannot be read as TorchScript ({str(error).splitlines()[0]}).",
            "Import the model again.",
            code="model.corrupted",
        ) from error


def _built(card: ModelCard, architecture: dict):
    require_monai(card)
    from monai.networks import nets

    name = architecture.get("name")
    if name not in ARCHITECTURES:
        raise _wrong(card, f"the architecture {name!r} (known: {', '.join(ARCHITECTURES)})")
    try:
        network = getattr(nets, name)(**architecture.get("arguments", {}))
        network.load_state_dict(read_checkpoint(card.folder / STATE))
    except (TypeError, ValueError, RuntimeError) as error:
        raise _wrong(card, f"an architecture that does not fit ({str(error).splitlines()[-1].strip()})") from error
    return network


def _plan(card: ModelCard) -> Plan:
    network = card.network
    axes = network.get("axes", "KJI")
    patch = network.get("patch_size")
    if axes not in ("IJK", "KJI"):
        raise _wrong(card, f'"axes": {axes!r} (known: "IJK" and "KJI")')
    if not isinstance(patch, list) or len(patch) != 3 or not all(isinstance(p, int) and p > 0 for p in patch):
        raise _wrong(card, f'"patch_size": {patch!r} (three whole numbers)')
    step = 1 if axes == "IJK" else -1
    labels = dict(enumerate(card.structures, start=1))
    linear = Resampling("torch", 1, 0, False)
    return Plan(
        orientation=card.orientation,
        transpose=(2, 1, 0) if axes == "IJK" else (0, 1, 2),
        spacing=tuple(float(s) for s in card.spacing[::step]),
        patch_size=tuple(patch[::step]),
        normalization=_normalization(card, network.get("intensity", "none")),
        labels=labels,
        crop_to_nonzero=False,
        image_resampling=linear,
        logit_resampling=linear,
        regions=tuple(labels) if network.get("sigmoid") else None,
    )


def _normalization(card: ModelCard, intensity) -> Normalization:
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
