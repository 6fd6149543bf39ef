"""Backend for MONAI bundles: ``configs/inference.*`` and ``configs/metadata.json``, ``models/model.pt``.

A bundle's configuration is evaluated by MONAI's own ``ConfigParser`` and can call any Python function, so it
is read only after the user trusted the bundle. Weights are read as plain data all the same. Of the
configuration are used: the network, orientation and spacing, all transforms of intensity (MONAI itself
applies them to the resampled volume), the window size of the inferer, and whether outputs overlap. The
engine does the rest, so windows overlap as the chosen quality says.

Source: the MONAI bundle specification, https://docs.monai.io/en/stable/mb_specification.html
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import contextmanager
from pathlib import Path

from ..errors import DeepSegError, ModelError
from ..inference.plan import Normalization, Plan, Resampling
from .card import ModelCard
from .loading import Model, require_monai
from .trust import require_trust
from .weights import read_checkpoint

METADATA = Path("configs", "metadata.json")
_PASSED_OVER = {  # transforms whose work the engine does, or that change nothing in where a label lies
    "LoadImage",
    "EnsureChannelFirst",
    "AddChannel",
    "EnsureType",
    "CastToType",
    "ToTensor",
    "ToDevice",
    "CropForeground",
    "SelectItems",
}


def card_from_bundle(folder: Path) -> ModelCard:
    """A card from what the bundle's metadata say; nothing of the bundle is run.

    Raises:
        ModelError: the metadata are missing or broken.
    """
    meta = _metadata(folder)
    references = meta.get("references") or []
    licence = folder / "LICENSE"
    first_lines = licence.read_text("utf-8", "replace").split("\n\n")[0] if licence.is_file() else ""
    return ModelCard(
        id=folder.name,
        title=str(meta.get("name") or folder.name),
        version=str(meta.get("version", "1")),
        modality=_image_format(meta).get("modality"),
        backend="monai",
        structures=_structures(meta),
        licence="Apache-2.0" if "Apache License" in first_lines else "unknown",
        citation="\n".join(map(str, [references] if isinstance(references, str) else references)),
        description=str(meta.get("description", "")),
        intended_use=str(meta.get("intended_use") or "Research use only."),
        provenance={k: meta[k] for k in ("authors", "copyright", "data_source") if k in meta},
        folder=folder,
    )


def load_bundle(card: ModelCard) -> Model:
    """Load a bundle that the user trusts.

    Raises:
        ModelError: it is not trusted, broken, or asks for what the engine does not have.
    """
    require_trust(card)
    require_monai(card)
    from monai.bundle import ConfigParser

    with _importable(card.folder):
        try:
            parser = ConfigParser()
            parser.read_config(str(_config_file(card.folder)))
            parser.read_meta(str(card.folder / METADATA))
            parser["bundle_root"] = str(card.folder)
            network = _network(parser, card)
            return Model(card, _plan(parser, card), [network.eval()])
        except DeepSegError:
            raise
        except Exception as error:  # the configuration is a program: it can raise anything
            raise ModelError(
                f"The configuration of the bundle {card.id} failed: {_innermost(error)!r}.",
                "Check that its MONAI version and the packages in its metadata.json are installed.",
                code="model.bundle",
            ) from error


def _innermost(error: BaseException) -> BaseException:
    return error if error.__cause__ is None else _innermost(error.__cause__)


def _metadata(folder: Path) -> dict:
    path = folder / METADATA
    try:
        meta = json.loads(path.read_text("utf-8"))
        _structures(meta), _image_format(meta)
        return meta
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise ModelError(
            f"The bundle's file {path} cannot be used: {error!r}.", "Get the bundle again.", code="model.card"
        ) from error


def _image_format(meta: dict) -> dict:
    return next(iter(meta["network_data_format"]["inputs"].values()))


def _output_format(meta: dict) -> dict:
    return next(iter(meta["network_data_format"]["outputs"].values()))


def _channels(meta: dict) -> list[str]:
    """What each output channel is."""
    output = _output_format(meta)
    named = output.get("channel_def") or output["label_def"]
    return [str(named[key]) for key in sorted(named, key=int)]


def _structures(meta: dict) -> list[str]:
    """Names as DeepSeg writes them: ``"Left Kidney"`` becomes ``"left_kidney"``, ``"vertebrae_L5"`` stays."""
    names = [re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") for name in _channels(meta)]
    return [n.lower() if n[0].isupper() else n for n in names if n.lower() != "background"]


def _config_file(folder: Path) -> Path:
    for suffix in (".json", ".yaml", ".yml"):
        path = folder / "configs" / f"inference{suffix}"
        if path.is_file():
            return path
    raise ModelError(
        f"The bundle {folder} has no configs/inference.json or .yaml.", "Get the bundle again.", code="model.missing"
    )


@contextmanager
def _importable(folder: Path):
    """A bundle may bring Python modules, which its configuration names relative to its folder."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _network(parser, card: ModelCard):
    """The bundle's network with its weights, on the CPU; the scripted one where that is all there is."""
    import torch

    weights = _weights_file(parser, card.folder)
    if weights is None:
        scripted = card.folder / "models" / "model.ts"
        if scripted.is_file():
            return torch.jit.load(scripted, map_location="cpu")
        raise ModelError(f"The bundle {card.id} has no weights.", "Get the bundle again.", code="model.missing")
    network = parser.get_parsed_content("network_def" if "network_def" in parser.config else "network").cpu()
    state = read_checkpoint(weights)
    for key in ("model", "state_dict"):
        state = state[key] if isinstance(state.get(key), dict) else state
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"The weights {weights} do not fit the bundle's network ({str(error).splitlines()[-1].strip()}).",
            "Get the bundle again.",
            code="model.corrupted",
        ) from error
    return network


def _weights_file(parser, folder: Path) -> Path | None:
    """The file that the configuration loads, else the usual one."""
    loaders = [at for at, item in _dictionaries(parser.config) if _kind(item) == "CheckpointLoader"]
    named = [Path(str(parser.get_parsed_content(f"{at}::load_path"))) for at in loaders]
    files = [path for path in [*named, folder / "models" / "model.pt"] if path.is_file()]
    return files[0] if files else None


def _dictionaries(config, at: str = ""):
    """All dictionaries in a configuration with their places in ConfigParser's notation."""
    items = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    if isinstance(config, dict) and at:
        yield at, config
    for key, value in items:
        yield from _dictionaries(value, f"{at}::{key}" if at else str(key))


def _kind(item: dict) -> str:
    """A component's class without its module and the suffix of dictionary transforms."""
    name = str(item.get("_target_", "")).rpartition(".")[2]
    return re.sub(r"(?<=[a-z])(d|D|Dict)$", "", name)


def _plan(parser, card: ModelCard) -> Plan:
    meta = _metadata(card.folder)
    image = _image_format(meta)
    if image.get("num_channels", 1) != 1:
        raise _unsupported(card, f"{image['num_channels']} input channels")
    orientation, spacing, intensity = None, card.spacing, []
    for number, item in enumerate(parser.config["preprocessing"]["transforms"]):
        at, kind = f"preprocessing::transforms::{number}", _kind(item)
        if item.get("_disabled_") or kind in _PASSED_OVER:
            continue
        if kind == "Orientation":
            orientation = parser.get_parsed_content(f"{at}::axcodes")
        elif kind == "Spacing":
            pixdim = parser.get_parsed_content(f"{at}::pixdim")
            spacing = [float(p) for p in (pixdim if isinstance(pixdim, (list, tuple)) else [pixdim] * 3)]
        else:
            transform = parser.get_parsed_content(at)
            if not type(transform).__module__.startswith("monai.transforms.intensity"):
                raise _unsupported(card, f"the preprocessing step {item['_target_']}")
            intensity.append(transform)
    if spacing is None:
        raise ModelError(
            f"The bundle {card.id} does not say its voxel spacing.",
            f'State it as "spacing" (mm along I, J, K) in {card.folder / "card.json"}.',
            code="model.plan",
        )
    channels = _channels(meta)
    labels = dict(enumerate(card.structures, start=1))
    overlapping = _outputs_overlap(parser)
    if len(labels) != len(channels) - (channels[0].lower() == "background"):
        raise _unsupported(card, f"a card with {len(labels)} structures for a network with {len(channels)} outputs")
    return Plan(
        orientation=orientation,
        transpose=(2, 1, 0),  # MONAI's axes are (I, J, K)
        spacing=tuple(spacing),
        patch_size=_patch_size(parser, image, card),
        normalization=Normalization("function", function=_function(intensity)),
        labels=labels,
        crop_to_nonzero=False,
        image_resampling=Resampling("torch", 1, 0, False),
        logit_resampling=Resampling("torch", 1, 0, False),
        regions=tuple(range(len(labels) + 1 - len(channels), len(labels) + 1)) if overlapping else None,
    )


def _function(transforms: list):
    """The bundle's own intensity transforms, as one function of an image (X, Y, Z) float32 tensor."""

    def normalise(image):
        for transform in transforms:
            key = transform.keys[0]
            image = transform({key: image[None]})[key][0]
        return image.as_tensor() if hasattr(image, "as_tensor") else image

    return normalise


def _patch_size(parser, image: dict, card: ModelCard) -> tuple[int, int, int]:
    size = image.get("spatial_shape")
    if "roi_size" in parser.config.get("inferer", {}):
        size = parser.get_parsed_content("inferer::roi_size")
    size = [size] * 3 if isinstance(size, int) else size
    if not size or len(size) != 3 or not all(isinstance(s, int) and s > 0 for s in size):
        raise _unsupported(card, f"windows of the size {size}")
    return tuple(size)


def _outputs_overlap(parser) -> bool:
    """Whether the outputs are probabilities of their own (sigmoid) rather than exclusive (softmax)."""
    for at, item in _dictionaries(parser.config.get("postprocessing", {}), "postprocessing"):
        if _kind(item) == "Activations" and item.get("sigmoid"):
            return bool(parser.get_parsed_content(f"{at}::sigmoid"))
    return False


def _unsupported(card: ModelCard, what: str) -> ModelError:
    return ModelError(
        f"The bundle {card.id} asks for {what}, which DeepSeg cannot do.",
        "Use a bundle for one volume with a sliding window.",
        code="model.unsupported",
    )
