"""A scene of 3D Slicer in one file (``.mrb``): its CT, and the segmentation of it.

The scene is not loaded. Of all that it describes, two files of the archive are read by our own readers; where it
points elsewhere (web addresses, other folders), it is refused.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np

from .errors import InputError, ModelError
from .geometry import same_grid
from .labels import LabelMap
from .volume import Volume

SUFFIX = ".mrb"
LIMIT_BYTES = 8 << 30
TAG = "DeepSeg."  # begins the tags of segments that DeepSeg made
_HEADER_BYTES = 1 << 20


@dataclass
class Bundle:
    """What was in a scene.

    Attributes:
        volume: the CT.
        label_map: the segmentation on the volume's grid, or None.
        provenance: what its segments tell of the run that made them; the model is ``"unknown"`` if DeepSeg did not.
        confidence, boundary_margin: of the structures of which the segments tell it, see
            :class:`DeepSegLogic.pipeline.Result`.
        ignored: kind and structure of what was taken off the review.
        corrector: id of the model that computed corrections; empty for the solver.
    """

    volume: Volume
    label_map: LabelMap | None = None
    provenance: dict = field(default_factory=dict)
    confidence: dict[str, float] = field(default_factory=dict)
    boundary_margin: dict[str, float] = field(default_factory=dict)
    ignored: set[tuple[str, str]] = field(default_factory=set)
    corrector: str = ""


def read_bundle(path: Path, scratch: Path | None = None) -> Bundle:
    """Read the CT and the segmentation of a scene.

    Of several segmentations the last one made by DeepSeg is taken, else the last one; of several volumes the one
    that it was drawn on, else the first one. ``volume.warnings`` says so.

    Args:
        path: the ``.mrb``.
        scratch: where to unpack; what is written there is removed.

    Raises:
        InputError: it is broken, has no volume, a volume is under a transform, or files are not in the archive.
        ResourceError: the disk is too small.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        try:
            scene = _Scene(path, Path(folder))
            return scene.read()
        except ModelError as error:  # the archive's; models come in such too
            raise InputError(error.message, "Save the scene in 3D Slicer again.", code="input.archive") from error


class _Scene:
    """The nodes of a scene and the files of its archive."""

    def __init__(self, path: Path, folder: Path):
        from lxml import etree

        from .models.archive import file_sizes

        self._path, self._folder = path, folder
        self._sizes = file_sizes(path)
        scenes = sorted((n for n in self._sizes if n.lower().endswith(".mrml")), key=lambda n: n.count("/"))
        if not scenes:
            raise self._bad("has no scene in it")
        self._base = PurePosixPath(scenes[0]).parent
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        try:
            root = etree.parse(self._unpacked(scenes[0]), parser).getroot()
        except etree.XMLSyntaxError as error:
            raise self._bad("has a broken scene in it") from error
        self._nodes = {node.get("id"): node for node in root.iter(etree.Element) if node.get("id")}

    def read(self) -> Bundle:
        """See :func:`read_bundle`."""
        from .io import read_label_map, read_volume

        volumes = [node for node in self._nodes.values() if node.tag == "Volume"]
        if not volumes:
            raise self._bad("has no volume in it", "Choose a scene with a CT, or the CT itself.")
        drawn = [n for n in self._nodes.values() if n.tag == "Segmentation" and self._file(n).endswith(".seg.nrrd")]
        chosen = max(drawn, key=lambda n: (self._is_ours(n), drawn.index(n)), default=None)
        reference = "" if chosen is None else _references(chosen).get("referenceImageGeometryRef", "")
        shown = next((node for node in volumes if node.get("id") == reference), volumes[0])
        volume = read_volume(self._content(shown))
        volume.name = shown.get("name") or volume.name
        volume.modality = _pairs(shown.get("attributes")).get("DICOM.Modality") or volume.modality
        if len(volumes) > 1:
            volume.warnings.append(f"The scene holds {len(volumes)} volumes. This is {volume.name}.")
        if chosen is None:
            return Bundle(volume)
        if len(drawn) > 1:
            volume.warnings.append(f"The scene holds {len(drawn)} segmentations. This is {chosen.get('name')}.")
        file = self._content(chosen)
        label_map = read_label_map(file)
        if label_map.array.shape != volume.shape or not same_grid(label_map.ijk_to_ras, volume.ijk_to_ras):
            if not _same_voxels(label_map, volume):
                warning = "The segmentation had other voxels than the CT. It was fitted to those of the CT."
                volume.warnings.append(warning)
            label_map = _on_grid(label_map, volume)
        segments = _segments(file)
        return Bundle(
            volume,
            label_map,
            _provenance(segments[0] if segments else {}),
            _shares(segments, "confidence"),
            _shares(segments, "boundary_margin"),
            {(kind, s["structure"]) for s in segments if "structure" in s for kind in s.get("ignored", "").split()},
            segments[0].get("corrector", "") if segments else "",
        )

    def _content(self, node) -> Path:
        """The unpacked file of a node, after it was found harmless."""
        from .io.header import check_enclosed

        name = node.get("name")
        if "transform" in _references(node):
            raise self._bad(
                f"moves {name} by a transform", "In 3D Slicer harden the transform, then save the scene again."
            )
        file = self._unpacked(self._file(node), name)
        check_enclosed(file)
        return file

    def _file(self, node) -> str:
        """Path in the archive that a node's storage names; it may not be there."""
        storage = self._nodes.get(_references(node).get("storage", ""))
        return str(self._base / unquote(storage.get("fileName", ""))) if storage is not None else ""

    def _is_ours(self, node) -> bool:
        with self._unpacked(self._file(node), node.get("name")).open("rb") as file:
            return TAG.encode() in file.read(_HEADER_BYTES)

    def _unpacked(self, member: str, name: str = "the scene") -> Path:
        from .models.archive import extract

        target = self._folder / self._member(member, name)
        if not target.exists():
            extract(self._path, self._folder, only={member})
        return target

    def _member(self, member: str, name: str) -> str:
        if member not in self._sizes:
            raise self._bad(f"does not hold the file of {name}", "Save the scene as .mrb, which holds all files.")
        if self._sizes[member] > LIMIT_BYTES:
            raise self._bad(f"holds more than {LIMIT_BYTES >> 30} GB of {name}", "Crop it to what you need.")
        return member

    def _bad(self, what: str, remedy: str = "Save the scene in 3D Slicer again.") -> InputError:
        return InputError(f"{self._path} {what}.", remedy, code="input.scene")


def _references(node) -> dict[str, str]:
    return _pairs(node.get("references"))


def _pairs(text: str | None) -> dict[str, str]:
    """MRML's ``"a:b;c:d;"``."""
    return dict(part.split(":", 1) for part in (text or "").split(";") if ":" in part)


def _same_voxels(label_map: LabelMap, volume: Volume) -> bool:
    """Whether each voxel of one is a voxel of the other's grid; Slicer cuts off what is empty round the segments."""
    to_labels = np.linalg.inv(label_map.ijk_to_ras) @ volume.ijk_to_ras
    return np.allclose(to_labels, np.rint(to_labels), atol=1e-2) and np.isclose(abs(np.linalg.det(to_labels)), 1)


def _on_grid(label_map: LabelMap, volume: Volume) -> LabelMap:
    """A label map on a volume's grid; each voxel takes the label of the nearest."""
    from scipy.ndimage import affine_transform

    to_labels = np.linalg.inv(label_map.ijk_to_ras) @ volume.ijk_to_ras
    matrix, offset = to_labels[:3, :3][::-1, ::-1], to_labels[2::-1, 3]  # (I, J, K) to (K, J, I)
    array = affine_transform(label_map.array, matrix, offset, volume.shape, order=0, mode="grid-constant")
    return LabelMap(array, volume.ijk_to_ras.copy(), label_map.structures)


def _segments(file: Path) -> list[dict[str, str]]:
    """What DeepSeg wrote into the tags of each segment of a ``.seg.nrrd``."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.ReadImageInformation()
    told = []
    while reader.HasMetaDataKey(key := f"Segment{len(told)}_Tags"):
        tags = _pairs(reader.GetMetaData(key).replace("|", ";"))
        told.append({name.removeprefix(TAG): value for name, value in tags.items() if name.startswith(TAG)})
    return told


def _shares(segments: list[dict[str, str]], name: str) -> dict[str, float]:
    """A number from 0 to 1 of each structure; what is none is left out."""
    shares = {}
    for segment in segments:
        with contextlib.suppress(KeyError, ValueError):
            if 0 <= (share := float(segment[name])) <= 1:
                shares[segment["structure"]] = share
    return shares


def _provenance(told: dict[str, str]) -> dict:
    """What the tags of a segment tell, in the form of a result's provenance."""
    facts = {
        "model": {"id": told.get("model", "unknown"), "version": told.get("version", "")},
        "settings": {"quality": told.get("quality", "")},
        "versions": {"deepseg": told.get("deepseg", "")},
    }
    return facts | {"created": told["created"]} if "created" in told else facts
