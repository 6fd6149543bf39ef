"""What the network of ``DeepSegLogic.classify`` learns from: coarse copies of real and painted CT, and what they show.

The ends of the regions come from the label maps, and in CTs without one from their bones and lungs, by eye: legs end at
the lower end of the hip bones, the pelvis at their crests, the abdomen where lungs fill more of a slice than organs do,
the chest at the tips of the lungs, the neck at the base of the skull.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicerio
import torch
from demo_cases import _atlas_name
from scipy.ndimage import gaussian_filter

from DeepSegLogic.classify.coarse import coarse_copy
from DeepSegLogic.classify.names import REGIONS
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io.read import read_volume
from DeepSegLogic.training.cases import depth_positions, hull_depth
from DeepSegLogic.training.fields import linear
from DeepSegLogic.training.synthetic_ct import paint, scanned

STEP = 6.0  # mm, of painted CT
ROOM = 8  # voxels around a label map for the body's wall
HIGH = 9999.0
REAL = {  # file: upper ends of the regions in mm above the lowest slice
    "abdomen_ct": ("abdomen_ct/ct.nii.gz", {"pelvis": 180, "abdomen": 328, "chest": HIGH}),
    "abdomen_ct_dicom": ("abdomen_ct_dicom/series", {"abdomen": HIGH}),
    "abdomen_contrast": (
        "ct_unlabelled/abdomen_contrast.nii.gz",
        {"pelvis": 195, "abdomen": 430, "chest": HIGH},
    ),
    "chest_contrast": ("ct_unlabelled/chest_contrast.nii.gz", {"abdomen": 105, "chest": 285, "neck": HIGH}),
    "neck_chest": ("ct_unlabelled/neck_chest.nii.gz", {"chest": 45, "neck": 195, "head": HIGH}),
    "head": ("ct_unlabelled/head.nii.gz", {"neck": 88, "head": HIGH}),
    "CTChest4": ("", {"abdomen": 95, "chest": 318, "neck": HIGH}),
}
MAPS = {
    "s0327": {"legs": 14, "pelvis": 237, "abdomen": 410, "chest": 616, "neck": HIGH},
    "s0328": {"pelvis": 199, "abdomen": 392, "chest": HIGH},
    "spl_abdominal": {"pelvis": 56, "abdomen": 162, "chest": HIGH},
}


@dataclass
class Shown:
    """A coarse copy (slices, 56, 56) in HU; regions per slice and modality as numbers."""

    array: np.ndarray
    regions: np.ndarray
    modality: int = 0


@dataclass
class Subject:
    """One person: a real CT, or None, and painted ones."""

    name: str
    real: Shown | None = None
    painted: list[Shown] = field(default_factory=list)


def regions_of(slices: int, extent: float, ends: dict[str, float]) -> np.ndarray:
    """The number of the region of each coarse slice."""
    heights = (np.arange(slices) + 0.5) * extent / slices
    names = list(ends)
    return np.array([REGIONS.index(names[np.searchsorted(list(ends.values()), h)]) for h in heights])


def subjects(data: Path, copies: int) -> list[Subject]:
    """All subjects, with so many painted copies of each label map."""
    found = {name: Subject(name, _real(data, name)) for name in REAL}
    for name, ends in MAPS.items():
        found[name] = Subject(name)
        labels, names = _labels(data, name)
        found[name].painted = [_painted(labels, names, ends, seed) for seed in range(copies)]
    labels, names = _abdomen_labels(data)
    found["abdomen_ct"].painted = [
        _painted(labels, names, REAL["abdomen_ct"][1], 100 + seed, body=True) for seed in range(copies // 3)
    ]
    found["legs"] = Subject("legs", painted=[_legs(np.random.default_rng(seed)) for seed in range(copies // 2)])
    return list(found.values())


def _real(data: Path, name: str) -> Shown:
    file, ends = REAL[name]
    path = data / file if file else Path(slicerio.__file__).parent / "data" / "CTChest4.nrrd"
    coarse = coarse_copy(read_volume(path))
    return Shown(coarse.array, regions_of(len(coarse.array), coarse.size_mm[2], ends))


def _on_step(path: Path) -> np.ndarray:
    """Labels (S, A, R) in voxels of STEP."""
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")
    array, spacing = sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]
    index = [
        np.minimum((np.arange(round(n * s / STEP)) * STEP / s).round().astype(int), n - 1)
        for n, s in zip(array.shape, spacing, strict=True)
    ]
    return array[np.ix_(*index)]


def _total_names(data: Path) -> dict[int, str]:
    names = json.loads((data / "totalsegmentator_total_labels.json").read_text("utf-8"))
    return {int(value): name for value, name in names.items()}


def _numbered(array: np.ndarray, names: dict[int, str]) -> tuple[torch.Tensor, list[str]]:
    values = [v for v in np.unique(array) if v in names]
    lookup = np.zeros(int(array.max()) + 1, np.uint8)
    lookup[values] = np.arange(1, len(values) + 1)
    return torch.from_numpy(lookup[array]), ["nothing", *(names[v] for v in values)]


def _labels(data: Path, name: str) -> tuple[torch.Tensor, list[str]]:
    maps = data / "label_maps"
    if name != "spl_abdominal":
        return _numbered(_on_step(maps / f"{name}.nii.gz"), _total_names(data))
    names = {}
    for line in (maps / "spl_abdominal_names.ctbl").read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            value, theirs = line.split()[:2]
            names[int(value)] = _atlas_name(theirs).split("|")[0]
    return _numbered(_on_step(maps / "spl_abdominal.nrrd"), names)


def _abdomen_labels(data: Path) -> tuple[torch.Tensor, list[str]]:
    ct, labels = (_on_step(data / "abdomen_ct" / f"{n}.nii.gz") for n in ("ct", "labels"))
    labels = np.where(labels == 0, 200 + np.digitize(ct, (-300, -30, 150)), labels)
    return _numbered(labels, _total_names(data) | {200: "air", 201: "fat", 202: "muscle_other", 203: "bone_other"})


def _painted(labels: torch.Tensor, names: list[str], ends: dict, seed: int, body: bool = False) -> Shown:
    rng = np.random.default_rng(seed)
    depth = None
    if not body:
        hull = torch.from_numpy(hull_depth(labels.numpy() > 0, (STEP,) * 3))
        labels = torch.nn.functional.pad(labels, (ROOM,) * 4)
        places = torch.meshgrid(*(torch.arange(n) * STEP for n in labels.shape), indexing="ij")
        depth = linear(
            hull, depth_positions(torch.stack(places) - torch.tensor([0, ROOM, ROOM]).view(3, 1, 1, 1) * STEP)
        )
    image = scanned(paint(labels, names, depth, STEP, rng), STEP, rng)
    coarse = coarse_copy(Volume(image.numpy(), np.diag([STEP, STEP, STEP, 1.0])))
    return Shown(coarse.array, regions_of(len(coarse.array), coarse.size_mm[2], ends))


def _legs(rng: np.random.Generator) -> Shown:
    """Two legs made of cylinders, from below the hips to the ankles: no CT of legs is at hand."""
    heights = np.arange(rng.integers(60, 130)) * STEP
    top, size = heights[-1], 72
    y, x = np.meshgrid(*[(np.arange(size) - size / 2) * STEP] * 2, indexing="ij")
    image = np.full((len(heights), size, size), -1000.0)
    knee, gap = top * rng.uniform(0.4, 0.6), rng.uniform(0, 30)
    thick, fat, muscle, bone = rng.uniform(65, 100), rng.uniform(4, 30), rng.uniform(40, 70), rng.uniform(200, 600)
    for k, height in enumerate(heights):
        radius = thick * (0.5 + 0.5 * height / top)
        near = np.exp(-(((height - knee) / 25) ** 2))
        for side in (-1, 1):
            u, v = x - side * (radius + gap), y + rng.normal(0, 0.5)
            away = np.hypot(u, v)
            image[k][away < radius] = -100
            image[k][away < radius - fat] = muscle
            shaft = 14 + 26 * near
            image[k][np.hypot(u, v - 10) < shaft] = bone
            image[k][np.hypot(u, v - 10) < shaft - 6] = rng.uniform(20, 200) if near > 0.3 else 0
            if height < knee - 20:
                image[k][np.hypot(u - side * 25, v + 12) < 7] = bone
    image = gaussian_filter(image + rng.normal(0, rng.uniform(5, 30), image.shape), 0.4)
    coarse = coarse_copy(Volume(image.astype(np.float32), np.diag([STEP, STEP, STEP, 1.0])))
    return Shown(coarse.array, np.zeros(len(coarse.array), int))
