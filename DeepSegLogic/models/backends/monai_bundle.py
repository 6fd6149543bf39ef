"""Backend for MONAI bundles: ``configs/inference.*`` and ``configs/metadata.json``, ``models/model.pt``.

MONAI's ``ConfigParser`` evaluates a bundle's configuration, which can call any Python function. So it is read only if
the user trusts the bundle. Weights are read as plain data in any case. From the configuration come the network,
orientation and spacing, all intensity transforms (MONAI itself applies them to the resampled volume), the window size
of the inferer, and whether outputs overlap. The engine does the rest: the overlap of windows is that of the chosen
quality.

Source: the MONAI bundle specification, https://docs.monai.io/en/stable/mb_specification.html
"""

from __future__ import annotations

import inspect
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...util.errors import DeepSegError, ModelError, last_line
from ..card import ModelCard
from ..files import opened, read_json, read_text
from ..model import Model, lacks_package, require_monai
from ..monai_plan import dictionaries, images_of, kind_of_step, plan_of
from ..trust import trusted_copy
from .contract import Backend

if TYPE_CHECKING:
    import torch
    from monai.bundle import ConfigParser

log = logging.getLogger(__name__)

_FORMER = {"SwinUNETR": ("img_size",)}  # arguments by network; the image size of this one is free
_NETWORK_PACKAGES = ("einops", "timm")  # of those that bundles list, what a network needs beside MONAI
_MOST_KINDS = 1000
_METADATA = Path("configs", "metadata.json")


class MonaiBundle(Backend):
    """Bundles of MONAI."""

    code: ClassVar = {"configs": "its configuration"}

    def find(self, folder: Path) -> list[Path]:
        return [file.parents[1] for file in folder.rglob(_METADATA.as_posix())]

    def make_card(self, folder: Path) -> ModelCard:
        """A card from the bundle's metadata."""
        meta = _metadata(folder)
        references = meta.get("references") or []
        try:
            first_lines = read_text(folder / "LICENSE").split("\n\n")[0]
        except (OSError, ValueError):
            first_lines = ""
        return ModelCard(
            id=folder.name,
            title=str(meta.get("name") or folder.name),
            version=str(meta.get("version", "1")),
            modality=_image_format(meta).get("modality"),
            backend="monai",
            task="detection" if _finds_boxes(meta) else "segmentation",
            structures=_structures(meta),
            channels=images if len(images := images_of(_image_format(meta))) > 1 else [],
            licence="Apache-2.0" if "Apache License" in first_lines else "unknown",
            citation="\n".join(map(str, [references] if isinstance(references, str) else references)),
            description=str(meta.get("description", "")),
            intended_use=str(meta.get("intended_use") or "Research use only."),
            notes=_needs(meta),
            provenance={k: meta[k] for k in ("authors", "copyright", "data_source") if k in meta},
            folder=folder,
        )

    def load(self, card: ModelCard) -> Model:
        """Load a bundle that the user trusts, from a private copy."""
        with opened_bundle(card) as bundle:
            meta, parser = bundle.metadata, bundle.parser
            network = bundle.network()
            return Model(card, plan_of(parser, card, _image_format(meta), _channels(meta)), [network.eval()])


BACKEND = MonaiBundle()


@dataclass(frozen=True)
class OpenBundle:
    """A bundle that the user trusts, while its configuration can be evaluated.

    Attributes:
        parser: of its configuration.
        metadata: content of its ``metadata.json``.
    """

    card: ModelCard
    folder: Path
    parser: ConfigParser
    metadata: dict[str, Any]

    def network(self) -> torch.nn.Module:
        """Its network with its weights, on the CPU.

        Raises:
            ModelError: weights are missing or do not fit.
        """
        return _network(self.parser, self.card, self.folder)


@contextmanager
def opened_bundle(card: ModelCard) -> Iterator[OpenBundle]:
    """Read a bundle's configuration from a private copy; what it raises while it is evaluated becomes a ModelError.

    Raises:
        ModelError: the user does not trust it, MONAI is missing, or the configuration fails.
    """
    with trusted_copy(card) as folder, _importable(folder):
        require_monai(card)
        from monai.bundle import ConfigParser

        meta = _metadata(folder)
        try:
            parser = ConfigParser()
            parser.read_config(str(_config_file(folder)))
            parser.read_meta(str(folder / _METADATA))
            parser["bundle_root"] = str(folder)
            yield OpenBundle(card, folder, parser, meta)
        except DeepSegError:
            raise
        except Exception as error:  # the configuration is a program: it can raise anything
            cause = _innermost(error)
            if isinstance(cause, ImportError):
                raise lacks_package(f"The bundle {card.id}", cause) from error
            raise ModelError(
                f"The configuration of the bundle {card.id} failed: {cause!r}.",
                "Check that its MONAI version and the packages in its metadata.json are installed.",
                code="model.bundle",
            ) from error


def _innermost(error: BaseException) -> BaseException:
    return error if error.__cause__ is None else _innermost(error.__cause__)


def _metadata(folder: Path) -> dict[str, Any]:
    path = folder / _METADATA
    try:
        meta: dict[str, Any] = read_json(path)
        _structures(meta), images_of(_image_format(meta))
        return meta
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise ModelError(
            f"The bundle's file {path} cannot be used: {error!r}.", "Get the bundle again.", code="model.card"
        ) from error


def _image_format(meta: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = next(iter(meta["network_data_format"]["inputs"].values()))
    return first


def _output_format(meta: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = next(iter(meta["network_data_format"]["outputs"].values()))
    return first


def _channels(meta: dict[str, Any]) -> list[str]:
    """Names of the output channels."""
    output = _output_format(meta)
    if _finds_boxes(meta) and not output.get("channel_def"):
        return _kinds_of_lesions(meta, int(output.get("num_channels", 1)))
    named = output.get("channel_def") or output["label_def"]
    return [str(named[key]) for key in sorted(named, key=int)]


def _finds_boxes(meta: dict[str, Any]) -> bool:
    """Whether its output is a list of boxes, which MONAI's specification calls an object."""
    return bool(_output_format(meta).get("type") == "object")


def _kinds_of_lesions(meta: dict[str, Any], count: int) -> list[str]:
    """Names for classes that the metadata do not name, from its task: "CT lung nodule detection" finds lung nodules."""
    words = re.sub(r"\b(CT|MRI?|detection)\b", "", str(meta.get("task", "")), flags=re.IGNORECASE).split()
    name = "_".join(words).lower()[:100] or "lesion"
    if not 1 <= count <= _MOST_KINDS:
        raise ValueError(f"{count} kinds of boxes")
    return [name] if count == 1 else [f"{name}_{number}" for number in range(1, count + 1)]


def _structures(meta: dict[str, Any]) -> list[str]:
    """Names in DeepSeg's form: ``"Left Kidney"`` becomes ``"left_kidney"``; ``"vertebrae_L5"`` is unchanged."""
    names = [re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") for name in _channels(meta)]
    return [n.lower() if n[0].isupper() else n for n in names if n.lower() != "background"]


def _needs(meta: dict[str, Any]) -> list[str]:
    """What the user must install, as a note for the card."""
    listed = {**meta.get("required_packages_version", {}), **meta.get("optional_packages_version", {})}
    needed = [name for name in _NETWORK_PACKAGES if name in listed]
    return [f"Its network needs the Python packages {' and '.join(needed)}."] if needed else []


def _config_file(folder: Path) -> Path:
    for suffix in (".json", ".yaml", ".yml"):
        path = folder / "configs" / f"inference{suffix}"
        if path.is_file():
            return path
    raise ModelError(
        f"The bundle {folder} has no configs/inference.json or .yaml.", "Get the bundle again.", code="model.missing"
    )


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Make a bundle's Python modules importable: its configuration names them relative to its folder.

    They are unloaded afterwards, so that another bundle, or this one after a change, does not get them instead of its
    own.
    """
    paths, modules = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        added = set(sys.modules) - modules
        # Inner packages first: a namespace package looks for its parent when it is asked where it lies.
        for name in sorted(added, key=lambda name: -name.count(".")):
            spec = getattr(sys.modules[name], "__spec__", None)
            places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
            if any(place and Path(place).is_relative_to(folder) for place in places):
                del sys.modules[name]
        sys.path[:] = paths


def _network(parser: ConfigParser, card: ModelCard, folder: Path) -> torch.nn.Module:
    """The bundle's network with its weights, on the CPU; the scripted network if there are no other weights."""
    import torch

    from ..weights import read_checkpoint

    weights, scripted = _weights_file(parser, folder), folder / "models" / "model.ts"
    if weights is None and not scripted.is_file():
        raise ModelError(f"The bundle {card.id} has no weights.", "Get the bundle again.", code="model.missing")
    _drop_former_arguments(parser)
    network: torch.nn.Module
    try:
        network = parser.get_parsed_content("network_def" if "network_def" in parser else "network").cpu()
    except Exception as error:  # a program, see above
        if not scripted.is_file():
            raise
        log.info("%s: its configuration builds no network here (%r); the scripted one is used", card.id, error)
        weights = None
    if weights is None:
        with opened(scripted) as file:  # of a path, torch opens only ASCII on Windows
            network = torch.jit.load(file, map_location="cpu")
        return network
    state = read_checkpoint(weights)
    for key in ("model", "state_dict"):
        state = state[key] if isinstance(state.get(key), dict) else state
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"The weights {weights.name} do not fit the bundle's network ({last_line(error)}).",
            "Get the bundle again.",
            code="model.corrupted",
        ) from error
    return network


def _drop_former_arguments(parser: ConfigParser) -> None:
    """Leave out what networks of MONAI no longer take: bundles are older than the MONAI that runs them."""
    from monai.networks import nets

    for _, item in dictionaries(parser.config):
        name = str(item.get("_target_", "")).rpartition(".")[2]
        for argument in _FORMER.get(name, ()):
            if argument not in inspect.signature(getattr(nets, name)).parameters:
                item.pop(argument, None)


def _weights_file(parser: ConfigParser, folder: Path) -> Path | None:
    """The weights file that the configuration names, else the usual one; None if neither exists."""
    loaders = [at for at, item in dictionaries(parser.config) if kind_of_step(item) == "CheckpointLoader"]
    named = [Path(str(parser.get_parsed_content(f"{at}::load_path"))) for at in loaders]
    files = [path for path in [*named, folder / "models" / "model.pt"] if path.is_file()]
    return files[0] if files else None
