"""What the worker processes of a server answer: they read volumes from files and write results to files."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..util.atomic_write import atomic_path
from ..util.errors import ModelError
from ..worker import handlers
from ..worker.job_loop import Handler, Job
from .volumes import THE_VOLUME

if TYPE_CHECKING:
    from ..data.label_map import LabelMap
    from ..data.volume import Volume

_LABELS = ("seg.nrrd", "nii.gz")


def devices(job: Job, names: list[str]) -> list[str]:
    """The devices of this machine, one for each worker that it can have.

    Args:
        names: of the devices to use; none for all GPUs.

    Raises:
        ResourceError: this machine, or this torch, lacks a device.
    """
    import torch

    from ..inference.device import choose_device

    if names:
        return [str(choose_device(name)) for name in names]
    if torch.cuda.is_available():
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return ["mps"] if torch.backends.mps.is_available() else ["cpu"]


def run(job: Job, *, wanted: dict[str, Any], volumes: str, output: str, device: str) -> None:
    """Carry out a request of :mod:`DeepSegLogic.service.requests`; writes ``result.gz``, and ``files.zip`` if asked.

    Args:
        wanted: the request as JSON values.
        volumes, output: folders, see :mod:`DeepSegLogic.service.volumes` and :mod:`DeepSegLogic.service.jobs`.
        device: of this worker.
    """
    _REQUESTS[wanted["request"]](job, wanted, Path(volumes), Path(output), device)


def _segment(job: Job, request: dict[str, Any], volumes: Path, output: Path, device: str) -> None:
    from ..results.folder import write_outputs

    modality, mask, formats = request["modality"], request["roi_mask"], request["files"]
    volume = _volume(volumes, request["volume"], modality)
    result = handlers.segment(
        job,
        volume=volume,
        model=_model(request["model"]),
        device=device,
        channels={number: _volume(volumes, name, None) for number, name in request["channels"].items()},
        roi=request["roi"] if mask is None else _array(volumes, mask)[0],
        **{name: request[name] for name in ("structures", "quality", "force", "uncertainty", "keep_probabilities")},
        min_piece_ml=request["min_piece_ml"],
    )
    if formats:
        with atomic_path(output / "files.zip") as archive:
            labels = [name for name in formats if name in _LABELS]
            meshes = [name for name in formats if name not in _LABELS]
            folder = archive.parent / "files"
            write_outputs(
                folder, volume, result, source=None, formats=meshes, labels=labels,
                progress=job.progress, cancel=job.cancel,
            )  # fmt: skip
            _pack(folder, archive)
    _write(result, output)


def _refine(job: Job, request: dict[str, Any], volumes: Path, output: Path, device: str) -> None:
    from ..io import write_label_map
    from ..refinement import refine
    from ..refinement.prompts import prompts_from_json
    from ..results.label_files import LABEL_FORMATS

    wanted = prompts_from_json({"prompts": request["prompts"]}, "The request")
    network = handlers.prompt_network(job, _model(request["model"]), device) if request["model"] else None
    done = refine(
        _label_map(volumes, request["label_map"]),
        wanted.prompts,
        volume=_volume(volumes, request["volume"], request["modality"]),
        network=network,
        reach=request["reach"],
        locked=request["locked"],
        add=request["add"],
        progress=job.progress,
        cancel=job.cancel,
    )
    if request["files"]:
        with atomic_path(output / "files.zip") as archive:
            for name in request["files"]:
                write_label_map(done.label_map, archive.parent / "files" / LABEL_FORMATS[name])
            _pack(archive.parent / "files", archive)
    _write(handlers.refined(done), output)


def _surfaces(job: Job, request: dict[str, Any], volumes: Path, output: Path, device: str) -> None:
    from ..surfaces import write_surfaces

    label_map, chosen = _label_map(volumes, request["label_map"]), request["structures"]
    options = {"structures": chosen, "smoothing": request["smoothing"]}
    made = handlers.surfaces(job, label_map=label_map, repair_crossings=request["repair_crossings"], **options)
    job.warm.pop("surfaces", None)  # the next request is somebody else's
    if request["files"]:
        with atomic_path(output / "files.zip") as archive:
            folder = archive.parent / "files"
            write_surfaces(label_map, folder, request["files"], progress=job.progress, cancel=job.cancel, **options)
            _pack(folder, archive)
    _write(made, output)


def _estimate(job: Job, request: dict[str, Any], volumes: Path, output: Path, device: str) -> None:
    from ..data.volume import Volume
    from ..data.volume_checks import reject_unusable_grid

    shape, matrix = request["shape"], np.array(request["ijk_to_ras"]).reshape(4, 4)
    reject_unusable_grid(Volume(np.broadcast_to(np.int16(0), shape), matrix, THE_VOLUME))
    plan = handlers.estimate(
        job,
        shape=shape,
        ijk_to_ras=matrix,
        model=_model(request["model"]),
        device=device,
        quality=request["quality"],
    )
    _write(plan, output)


def _model(name: str) -> str:
    """The folder of an installed model; never one that a client names."""
    from ..models.find import models_here

    card = models_here().get(name)
    if card is None:
        raise ModelError(
            f"The server does not have the model {name}.",
            "Choose one that it has, or ask whoever runs it to install this one.",
            code="model.not_on_server",
        )
    return str(card.installed_folder)


def _array(volumes: Path, name: str) -> tuple[Any, Any]:
    """Voxels (K, J, I) and matrix of an upload."""
    from ..remote.protocol import GridHeader

    header = GridHeader.from_json(json.loads((volumes / name / "header.json").read_text("utf-8")))
    kind = np.dtype(header.dtype)
    array = np.fromfile(volumes / name / "voxels", kind.newbyteorder("<")).reshape(header.shape)
    return array.astype(kind, copy=False), header.matrix


def _volume(volumes: Path, name: str, modality: str | None) -> Volume:
    from ..data.volume import Volume, compact

    array, matrix = _array(volumes, name)
    if array.dtype.name not in ("int16", "float32"):
        array = compact(array)
    return Volume(array, matrix, THE_VOLUME, modality)


def _label_map(volumes: Path, reference: dict[str, Any]) -> LabelMap:
    from ..data.label_map import Code, LabelMap, Structure
    from ..util.errors import InputError

    array, matrix = _array(volumes, reference["volume"])
    if array.dtype.kind != "u":
        raise InputError("A label map has voxels of the wrong type.", "Send uint8 or uint16.", code="input.labels")
    layers = [_label_map(volumes, layer) for layer in reference.get("layers", [])]
    if any(layer.array.shape != array.shape or (layer.ijk_to_ras != matrix).any() for layer in layers):
        raise InputError("A layer of a label map has another grid.", "Send all on one grid.", code="input.labels")
    structures = []
    for entry in reference["structures"]:
        codes = {name: Code(**value) for name, value in entry.items() if isinstance(value, dict)}
        structures.append(Structure(**{**entry, **codes, "color": tuple(entry["color"])}))
    return LabelMap(array, matrix, structures, layers=layers)


def _write(value: Any, output: Path) -> None:
    """Write a value as a message of the worker's protocol, compressed."""
    from ..worker.channel import Channel

    with atomic_path(output / "result.gz") as path, gzip.open(path, "wb", compresslevel=1) as file:
        channel = Channel()
        channel.connect(file, file)
        channel.send({"type": "result", "value": value})


def _pack(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            file.write(path, path.relative_to(folder).as_posix())


_REQUESTS = {"segment": _segment, "refine": _refine, "surfaces": _surfaces, "estimate": _estimate}

HANDLERS: dict[str, Handler] = {"devices": devices, "run": run}
