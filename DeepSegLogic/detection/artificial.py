"""Artificial lesions of stated size, density and texture, put into real CT: what detectors are trained and judged on.

A lesion is an ellipsoid with a wavy surface. Its edge is as soft as the scan is coarse, and its density varies around
the stated mean with the stated standard deviation, correlated over :data:`GRAIN_MM`. It is no substitute for real ones:
it grows through vessels and fissures, and nothing around it reacts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..data.affine import ijk_to_ras_points, spacing_kji
from ..data.label_map import label_dtype
from ..data.types import Affine, FloatArray, LabelArray, MaskArray, ScalarArray, VolumeArray
from ..data.volume import Volume, compact

GRAIN_MM = 2.0
_WAVES = 6  # directions of the waves on the surface


@dataclass(frozen=True)
class LesionKind:
    """What lesions are drawn from, evenly.

    Attributes:
        name: of the structure, e.g. ``"lung_nodule"``.
        diameter_mm: smallest and largest mean diameter.
        density_hu: ranges of the mean density; one is chosen for each lesion.
        texture_hu: smallest and largest standard deviation inside.
        waviness: largest share of the radius by which the surface moves.
        elongation: largest ratio of an axis to the mean diameter.
    """

    name: str
    diameter_mm: tuple[float, float]
    density_hu: tuple[tuple[float, float], ...]
    texture_hu: tuple[float, float] = (5.0, 40.0)
    waviness: float = 0.2
    elongation: float = 1.25


LUNG_NODULE = LesionKind("lung_nodule", (6.0, 24.0), ((-50.0, 80.0), (-50.0, 80.0), (-600.0, -350.0)))
"""Solid in two cases of three, ground glass in one."""


@dataclass(frozen=True)
class Lesion:
    """A lesion that was put into a CT.

    Attributes:
        box: first and last corner, (2, 3), RAS in mm.
        diameter_mm, density_hu, texture_hu: as drawn.
        part, mask: where it lies in the array, and its voxels there, bool.
    """

    box: FloatArray
    diameter_mm: float
    density_hu: float
    texture_hu: float
    part: tuple[slice, ...]
    mask: MaskArray


def put_lesions(
    volume: Volume, where: MaskArray, kind: LesionKind, count: int, seed: int
) -> tuple[Volume, list[Lesion]]:
    """A copy of a CT with artificial lesions.

    Args:
        where: (K, J, I) bool: voxels in which a lesion may be centred.
        count: lesions; fewer if there is no room for so many without touching each other.

    Returns:
        the CT, and the lesions in the order in which they were put.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import Volume
        >>> from DeepSegLogic.detection.artificial import LUNG_NODULE, put_lesions
        >>> lung = Volume(np.full((40, 40, 40), -850, np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
        >>> _, lesions = put_lesions(lung, np.ones((40, 40, 40), bool), LUNG_NODULE, 2, seed=0)
        >>> len(lesions)
        2
    """
    rng = np.random.default_rng(seed)
    array = volume.array.astype(np.float32)
    lesions = add_lesions(array, volume.ijk_to_ras, where, kind, count, rng)
    return replace(volume, array=compact(np.rint(array))), lesions


def add_lesions(
    array: ScalarArray, ijk_to_ras: Affine, where: MaskArray, kind: LesionKind, count: int, rng: np.random.Generator
) -> list[Lesion]:
    """As :func:`put_lesions`, into the array itself."""
    lesions: list[Lesion] = []
    candidates = np.argwhere(where)
    for _ in range(8 * count):
        if len(lesions) == count or not len(candidates):
            break
        diameter = float(rng.uniform(*kind.diameter_mm))
        center = ijk_to_ras_points(candidates[rng.integers(len(candidates)), None, ::-1], ijk_to_ras)[0]
        center += rng.uniform(-0.5, 0.5, 3) * np.abs(ijk_to_ras[:3, :3]).sum(1)
        reach = diameter / 2 * kind.elongation * (1 + kind.waviness)
        if any(np.all((center + reach > box[0]) & (center - reach < box[1])) for box in (x.box for x in lesions)):
            continue
        found = _add(array, ijk_to_ras, center, diameter, kind, rng)
        if found is not None:
            lesions.append(found)
    return lesions


def _add(
    array: VolumeArray,
    ijk_to_ras: Affine,
    center: FloatArray,
    diameter: float,
    kind: LesionKind,
    rng: np.random.Generator,
) -> Lesion | None:
    spacing = spacing_kji(ijk_to_ras)
    reach = diameter / 2 * kind.elongation * (1 + kind.waviness) + 2 * float(spacing.max())
    middle = (np.linalg.inv(ijk_to_ras) @ [*center, 1])[2::-1]
    low = np.maximum(0, np.floor(middle - reach / spacing)).astype(int)
    high = np.minimum(array.shape, np.ceil(middle + reach / spacing).astype(int) + 1)
    if np.any(low >= high):
        return None
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    shape = tuple(high - low)
    places = np.indices(shape).reshape(3, -1).T + low
    points = ijk_to_ras_points(places[:, ::-1], ijk_to_ras)
    edge = float(rng.uniform(1.0, 1.5) * max(1.0, spacing.max()))
    share = np.clip(0.5 - _outside(points - center, diameter, kind, rng) / edge, 0, 1).reshape(shape)
    mask = share >= 0.5
    inside = points[mask.ravel()]
    if not len(inside):
        return None
    density = float(rng.uniform(*kind.density_hu[rng.integers(len(kind.density_hu))]))
    texture = float(rng.uniform(*kind.texture_hu))
    grain = ndimage.gaussian_filter(rng.standard_normal(shape), GRAIN_MM / spacing)
    filling = density + texture * grain / max(float(grain.std()), 1e-6)
    array[part] = array[part] + share * (filling - array[part])
    half = np.abs(ijk_to_ras[:3, :3]).sum(1) / 2  # of a voxel
    return Lesion(np.stack([inside.min(0) - half, inside.max(0) + half]), diameter, density, texture, part, mask)


def _outside(points: FloatArray, diameter: float, kind: LesionKind, rng: np.random.Generator) -> FloatArray:
    """How far points (N, 3) lie outside of a wavy ellipsoid around the origin, mm; inside is negative."""
    axes = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    ratios = np.exp(rng.uniform(-1, 1, 3) * np.log(kind.elongation))
    scaled = points @ axes / ratios
    distance = np.linalg.norm(scaled, axis=1)
    directions = scaled / np.maximum(distance, 1e-6)[:, None]
    waves = _directions(rng)
    phase = rng.uniform(0, 2 * np.pi, _WAVES)
    height = np.cos(directions @ waves.T * 3 + phase).mean(1) * rng.uniform(0, kind.waviness)
    return np.asarray(distance - diameter / 2 * (1 + height))


def _directions(rng: np.random.Generator) -> FloatArray:
    found = rng.standard_normal((_WAVES, 3))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def instances(lesions: Sequence[Lesion], shape: Sequence[int]) -> LabelArray:
    """Lesions as labels (K, J, I) from 1, in their order; 0 elsewhere."""
    labels = np.zeros(tuple(shape), label_dtype(len(lesions)))
    for number, lesion in enumerate(lesions, start=1):
        labels[lesion.part][lesion.mask] = number
    return labels


def boxes(lesions: Sequence[Lesion]) -> FloatArray:
    """The boxes (N, 2, 3) of lesions, RAS in mm."""
    return np.array([lesion.box for lesion in lesions]).reshape(-1, 2, 3)
