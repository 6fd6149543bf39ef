"""A scene that 3D Slicer saved as one file (``.mrb``): its CT and the segmentation of it.

The scene is not loaded. Only two files of the archive are read, by our own readers. A scene that refers to anything
outside the archive (web addresses, other folders) is refused.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ..data.label_grid import has_same_voxels, on_grid_of
from ..data.label_map import LabelMap
from ..data.records import on_same_grid
from ..data.volume import Volume
from ..util.errors import InputError, ModelError
from .segment_tags import PLAN, PREFIX, RUN, StoredFacts, pairs_of, segments_in, stored_facts

if TYPE_CHECKING:
    from lxml.etree import _Element

SUFFIX = ".mrb"
LIMIT_BYTES = 8 << 30
_HEADER_BYTES = 1 << 20


@dataclass
class SlicerScene(StoredFacts):
    """The CT of a scene, its segmentation, and what DeepSeg had stored with it.

    Attributes:
        volume: the CT.
        label_map: the segmentation, on the volume's grid; None if there is none.
        plan: content of a plan file that was stored with the segmentation; may be empty, or anything.
    """

    volume: Volume
    label_map: LabelMap | None = None
    plan: str = ""


def read_slicer_scene(path: Path, scratch: Path | None = None) -> SlicerScene:
    """Read the CT and the segmentation of a scene.

    Of several segmentations, the last one made by DeepSeg is read, else the last one. Of several volumes, the one
    that the segmentation refers to is read, else the first one. ``volume.warnings`` says so.

    Args:
        path: the ``.mrb``.
        scratch: where to unpack; all files are removed again.

    Raises:
        InputError: the scene is damaged, has no volume, has a volume under a transform, or lacks files.
        ResourceError: not enough disk space or memory.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        try:
            return _Archive(path, Path(folder)).read()
        except ModelError as error:  # of safe_zip, which is made for models
            raise InputError(error.message, "Save the scene in 3D Slicer again.", code="input.archive") from error


class _Archive:
    """The files of an ``.mrb`` and the nodes of its scene."""

    def __init__(self, path: Path, folder: Path):
        from lxml import etree

        from ..util.safe_zip import file_sizes
        from .files import opened

        opened(path).close()  # raises unless it is a file
        self._path, self._folder = path, folder
        self._sizes = file_sizes(path)
        scenes = sorted((n for n in self._sizes if n.lower().endswith(".mrml")), key=lambda n: n.count("/"))
        if not scenes:
            raise self._bad("contains no scene")
        self._base = PurePosixPath(scenes[0]).parent
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        try:
            root = etree.parse(self._unpacked(scenes[0]), parser).getroot()
        except (etree.XMLSyntaxError, OSError) as error:  # OSError for bytes that are no text
            raise self._bad("contains a damaged scene") from error
        self._nodes = {node.get("id"): node for node in root.iter(etree.Element) if node.get("id")}

    def read(self) -> SlicerScene:
        """See :func:`read_slicer_scene`."""
        from . import read_label_map, read_volume

        volumes = [node for node in self._nodes.values() if node.tag == "Volume"]
        if not volumes:
            raise self._bad("contains no volume", "Choose a scene with a CT, or the CT itself.")
        drawn = [n for n in self._nodes.values() if n.tag == "Segmentation" and self._file(n).endswith(".seg.nrrd")]
        chosen = max(drawn, key=lambda n: (self._is_ours(n), drawn.index(n)), default=None)
        reference = "" if chosen is None else _references(chosen).get("referenceImageGeometryRef", "")
        shown = next((node for node in volumes if node.get("id") == reference), volumes[0])
        volume = read_volume(self._content(shown))
        volume.name = shown.get("name") or volume.name
        volume.modality = pairs_of(shown.get("attributes") or "").get("DICOM.Modality") or volume.modality
        if len(volumes) > 1:
            volume.warnings.append(f"The scene has {len(volumes)} volumes. This is {volume.name}.")
        if chosen is None:
            return SlicerScene(volume)
        if len(drawn) > 1:
            volume.warnings.append(f"The scene has {len(drawn)} segmentations. This is {chosen.get('name')}.")
        file = self._content(chosen)
        label_map = read_label_map(file)
        if not on_same_grid(label_map, volume):
            if not has_same_voxels(label_map, volume):
                warning = "The segmentation was on another grid than the CT. It was resampled to the CT."
                volume.warnings.append(warning)
            label_map = on_grid_of(volume, label_map)
        told = {name: unquote(text) for name, text in pairs_of(chosen.get("attributes") or "").items()}
        facts = stored_facts(segments_in(file), told.get(RUN, ""))
        return SlicerScene(volume, label_map, plan=told.get(PLAN, ""), **vars(facts))

    def _content(self, node: _Element) -> Path:
        """The unpacked file of a node."""
        name = node.get("name")
        if "transform" in _references(node):
            raise self._bad(
                f"has {name} under a transform", "In 3D Slicer, harden the transform and save the scene again."
            )
        return self._unpacked(self._file(node), name)

    def _file(self, node: _Element) -> str:
        """Path in the archive that a node's storage names; there may be no such file."""
        storage = self._nodes.get(_references(node).get("storage", ""))
        return str(self._base / unquote(storage.get("fileName", ""))) if storage is not None else ""

    def _is_ours(self, node: _Element) -> bool:
        with self._unpacked(self._file(node), node.get("name")).open("rb") as file:
            return PREFIX.encode() in file.read(_HEADER_BYTES)

    def _unpacked(self, member: str, name: str = "the scene") -> Path:
        from ..util.safe_zip import extract

        target = self._folder / self._member(member, name)
        if not target.exists():
            extract(self._path, self._folder, only={member})
        return target

    def _member(self, member: str, name: str) -> str:
        if member not in self._sizes:
            raise self._bad(f"does not contain the file of {name}", "Save the scene as .mrb, which contains all files.")
        if self._sizes[member] > LIMIT_BYTES:
            raise self._bad(f"contains more than {LIMIT_BYTES >> 30} GB of {name}", "Crop the volume first.")
        return member

    def _bad(self, what: str, remedy: str = "Save the scene in 3D Slicer again.") -> InputError:
        return InputError(f"{self._path} {what}.", remedy, code="input.scene")


def _references(node: _Element) -> dict[str, str]:
    return pairs_of(node.get("references") or "")
