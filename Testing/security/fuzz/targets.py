"""What is fuzzed: a reader, sound files for it, and how a mutated one is laid out for it."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import samples
from .mutate import mutate

Layout = Callable[[random.Random, Path], Path]
"""Writes one mutated file, or a folder with one, into a folder, and returns what the reader is given."""


def _image(path: Path) -> None:
    """As a CT, as a label map, and its header alone; each may refuse it."""
    from DeepSegLogic.io import read_label_map, read_volume
    from DeepSegLogic.io.read import voxel_type
    from DeepSegLogic.util.errors import DeepSegError

    refusals = []
    for read in (read_volume, read_label_map, voxel_type):
        try:
            read(path)
        except DeepSegError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


def _series(path: Path) -> None:
    from DeepSegLogic.io import read_volume

    read_volume(path)


def _scene(path: Path) -> None:
    from DeepSegLogic.io.slicer_scene import read_slicer_scene

    read_slicer_scene(path)


def _prompts(path: Path) -> None:
    from DeepSegLogic.refinement import read_prompts

    read_prompts(path)


def _probabilities(path: Path) -> None:
    from DeepSegLogic.io.probabilities import read_probabilities

    read_probabilities(path)


def _card(path: Path) -> None:
    from DeepSegLogic.models.card import ModelCard

    ModelCard.read(path)


def _archive(path: Path) -> None:
    from DeepSegLogic.util.safe_zip import extract, file_sizes

    file_sizes(path)
    extract(path, path.parent / "unpacked")


def _file(name: str, contents: list[bytes], pack: Callable[[bytes], bytes] = bytes) -> Layout:
    """A mutated file; packed, in most cases, after it was mutated."""

    def lay_out(rng: random.Random, folder: Path) -> Path:
        chosen, path = rng.choice(contents), folder / name
        if rng.random() < 0.15:
            path.write_bytes(mutate(pack(chosen), rng, contents))
        else:
            path.write_bytes(pack(mutate(chosen, rng, contents)))
        return path

    return lay_out


def _detached(name: str, data: str, contents: list[bytes], field: str, voxels: bytes) -> Layout:
    """A mutated header beside a sound file of voxels."""

    def lay_out(rng: random.Random, folder: Path) -> Path:
        (folder / data).write_bytes(voxels)
        header = rng.choice(contents)
        (folder / name).write_bytes(mutate(header + f"{field}{data}\n".encode(), rng, contents))
        return folder / name

    return lay_out


def _folder(contents: list[bytes], name: str = "") -> Layout:
    """Files of which one is mutated; the reader is given the folder, or in it that file of a fixed name."""

    def lay_out(rng: random.Random, folder: Path) -> Path:
        place = folder / "files"
        place.mkdir()
        bad = rng.randrange(len(contents))
        for number, content in enumerate(contents):
            content = mutate(content, rng, contents) if number == bad else content
            (place / (name or f"{number}.dcm")).write_bytes(content)
        return place

    return lay_out


def _members(members: dict[str, list[bytes]]) -> Layout:
    """An archive in which one file is mutated, or which is mutated itself."""

    def lay_out(rng: random.Random, folder: Path) -> Path:
        chosen = {name: rng.choice(contents) for name, contents in members.items()}
        bad = rng.choice([*members, None])
        if bad is not None:
            chosen[bad] = mutate(chosen[bad], rng, members[bad])
        content = samples.zipped(chosen)
        path = folder / "case.mrb"
        path.write_bytes(content if bad is not None else mutate(content, rng, [content]))
        return path

    return lay_out


def _card_content() -> bytes:
    from DeepSegLogic.util.resources import resource_path

    card = json.loads(resource_path("Models", "ct_demo", "card.json").read_text("utf-8"))
    return json.dumps(card, indent=1).encode()


_NHDR = [
    b"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 6 5 4\n"
    b"space directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (0,0,0)\nendian: little\nencoding: raw\n"
]
_MHD = [
    b"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
    b"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 2 3\nDimSize = 6 5 4\n"
    b"ElementType = MET_SHORT\n"
]

TARGETS: dict[str, tuple[Callable[[Path], Layout], Callable[[Path], Any]]] = {
    "nifti": (lambda place: _file("case.nii", samples.nifti(place)), _image),
    "nifti_gz": (lambda place: _file("case.nii.gz", samples.nifti(place), gzip.compress), _image),
    "nrrd": (lambda place: _file("case.nrrd", samples.written(place, ".nrrd")), _image),
    "nhdr": (lambda _: _detached("case.nhdr", "case.raw", _NHDR, "data file: ", samples.VOXELS.tobytes()), _image),
    "seg_nrrd": (lambda place: _file("case.seg.nrrd", samples.segmentations(place)), _image),
    "mha": (lambda place: _file("case.mha", samples.written(place, ".mha")), _image),
    "mhd": (lambda _: _detached("case.mhd", "case.raw", _MHD, "ElementDataFile = ", samples.VOXELS.tobytes()), _image),
    "dicom": (lambda _: _folder(samples.slices()), _series),
    "dicom_implicit": (lambda _: _folder(samples.implicit_slices()), _series),
    "dicom_deflated": (lambda _: _folder(samples.deflated_slices()), _series),
    "dicom_enhanced": (lambda _: _folder(samples.enhanced()), _series),
    "scene": (lambda place: _members(samples.scene_members(place)), _scene),
    "prompts": (lambda _: _file("case.json", samples.prompts()), _prompts),
    "probabilities": (lambda place: _file("case.npz", samples.probabilities(place)), _probabilities),
    "card": (lambda _: _folder([_card_content()], "card.json"), _card),
    "archive": (lambda place: _members(samples.scene_members(place)), _archive),
}
"""Name → what makes its layout, given a folder for samples; and the reader."""
