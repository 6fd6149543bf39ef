"""What publishers do with the labels of their networks, by the name in a model's card.

The steps are TotalSegmentator's (version 2.18, ``postprocessing.py``). It takes them on the network's grid and repeats
the voxels of the result; here they change the labels on the volume's own grid, in mm. Where the two grids are one, the
labels are the same, but for margins that are no whole number of voxels: its ball is off its centre then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..data.affine import ijk_to_ras_points, ras_to_ijk, spacing_kji
from ..data.boxes import box_of, boxes_by_label, grown, matrix_of
from ..data.pieces import pieces
from ..data.types import Affine, FloatArray, LabelArray, MaskArray, VolumeArray

LIMBS_MM3 = 50_000.0  # smaller pieces of arms and legs are none
SKIN_HU, SKIN_VOXELS, SPECK_VOXELS = (-200, 250), 3, 5
VERTEBRA_MM3 = 100.0  # smaller pieces are no vertebra
INNER_MM = 3.0  # that the network's labels of vertebrae were eroded for its training
OUTER_MM = 2.0  # that they are grown further where another network tells their border
_SPINE = tuple(f"vertebrae_{part}{n}" for part, count in (("C", 7), ("T", 12), ("L", 5)) for n in range(1, count + 1))


@dataclass
class Labels:
    """What a step changes, and what it may look at.

    Attributes:
        array: (K, J, I) labels on the volume's grid, changed in place.
        image: (K, J, I) the volume, CT in HU.
        ijk_to_ras: 4×4 of that grid.
        values: label value by name of the structure.
        wanted: names of the structures that were asked for.
        coarse: (K, J, I) labels on the network's own grid.
        coarse_to_ras: 4×4 of that grid.
        other: (K, J, I) bool, what the other model marks; None where the step needs none.
    """

    array: LabelArray
    image: VolumeArray
    ijk_to_ras: Affine
    values: dict[str, int]
    wanted: set[str]
    coarse: LabelArray
    coarse_to_ras: Affine
    other: MaskArray | None = None


@dataclass(frozen=True)
class Step:
    """One way of postprocessing: the function, the structures that the model must mark, and the one that it needs from
    another model."""

    change: Callable[[Labels], None]
    structures: tuple[str, ...]
    other: str = ""


def body(labels: Labels) -> None:
    """Keep the largest piece of the trunk, and large pieces of the limbs; mark the skin if it is asked for, which then
    takes its voxels from them."""
    trunk, limbs = labels.values["body_trunc"], labels.values["body_extremities"]
    remove_small(labels.array, trunk, 0.0, labels.ijk_to_ras, all_but_one=True)
    remove_small(labels.array, limbs, LIMBS_MM3, labels.ijk_to_ras)
    if "skin" in labels.wanted:
        labels.array[_skin(np.isin(labels.array, (trunk, limbs)), labels.image)] = labels.values["skin"]


def vertebrae(labels: Labels) -> None:
    """Name vertebral bodies by their order where labels of neighbours touch, and grow them by what the network's
    training had eroded."""
    spine = [labels.values[name] for name in _SPINE]
    box = box_of(labels.coarse)  # a small part of the scan
    if box is not None and _touch(labels.coarse[box]):
        matrix = matrix_of(box, labels.coarse_to_ras)
        _name_by_order(replace(labels, coarse=labels.coarse[box], coarse_to_ras=matrix), spine)
    grow(labels.array, INNER_MM, spacing_kji(labels.ijk_to_ras))


def vertebrae_refined(labels: Labels) -> None:
    """As :func:`vertebrae`, with the border that another network sees."""
    vertebrae(labels)
    grow(labels.array, OUTER_MM, spacing_kji(labels.ijk_to_ras))
    assert labels.other is not None
    labels.array[~labels.other] = 0


STEPS = {
    "body": Step(body, ("body_trunc", "body_extremities")),
    "vertebrae": Step(vertebrae, _SPINE),
    "vertebrae_refined": Step(vertebrae_refined, _SPINE, "vertebrae_body"),
}
"""The steps that a card can name."""


def remove_small(array: LabelArray, value: int, mm3: float, ijk_to_ras: Affine, *, all_but_one: bool = False) -> None:
    """Remove the face-connected pieces of a label, in place, that are not larger than a volume; all but the largest one
    if asked for."""
    voxels = mm3 / abs(float(np.linalg.det(ijk_to_ras[:3, :3])))

    def kept(sizes: FloatArray) -> MaskArray:
        large: MaskArray = sizes > voxels
        return large & (np.arange(len(sizes)) == sizes.argmax()) if all_but_one else large

    mask = array == value
    if (left := pieces(mask, kept)) is not mask:
        array[mask & ~left] = 0


def grow(array: LabelArray, mm: float, spacing_mm: FloatArray) -> None:
    """Grow each label into the background, in place, by a distance between voxel centres; the lower value first."""
    from scipy.ndimage import distance_transform_edt

    before = array.copy()
    for value, box in boxes_by_label(before).items():
        around = grown(box, mm / spacing_mm, array.shape)
        near = distance_transform_edt(before[around] != value, sampling=spacing_mm) <= mm + 1e-6
        part = array[around]
        part[near & (part == 0)] = value


def _skin(inside: MaskArray, image: VolumeArray) -> MaskArray:
    """The outermost voxels of the body that look like skin: one outside of the mask and two inside."""
    from scipy.ndimage import binary_dilation, binary_erosion

    outer = binary_dilation(inside)
    shell = outer & ~binary_erosion(outer, iterations=SKIN_VOXELS)
    low, high = SKIN_HU
    return pieces(shell & (image > low) & (image < high), lambda sizes: sizes > SPECK_VOXELS)


def _touch(array: LabelArray) -> bool:
    """Whether voxels of different labels share a face."""
    for axis in range(3):
        first, second = np.moveaxis(array, axis, 0)[:-1], np.moveaxis(array, axis, 0)[1:]
        if ((first > 0) & (second > 0) & (first != second)).any():
            return True
    return False


def _name_by_order(labels: Labels, spine: Sequence[int]) -> None:
    """Give each connected body one label, by its place from below; from above where C1 is there and L5 is not."""
    from scipy.ndimage import label

    bodies = np.asarray(label(labels.coarse > 0)[0], np.int32)
    named = np.zeros(bodies.max() + 1, labels.array.dtype)
    sizes = np.bincount(bodies.ravel()) * abs(np.linalg.det(labels.coarse_to_ras[:3, :3]))
    large = sizes >= VERTEBRA_MM3
    large[0] = False
    seen = set(np.unique(labels.coarse[large[bodies]]).tolist())
    present = [value for value in spine if value in seen]
    if present:
        upwards = sorted(np.flatnonzero(large).tolist(), key=_heights(bodies, labels.coarse_to_ras).__getitem__)
        if spine[-1] not in present and spine[0] in present:
            order = zip(reversed(upwards), spine, strict=False)
        else:
            order = zip(upwards, reversed(spine[: spine.index(present[-1]) + 1]), strict=False)
        for n, value in order:
            named[n] = value
    marked = np.nonzero(labels.array)
    labels.array[marked] = named[_nearest_body(bodies, labels, marked)]


def _heights(bodies: npt.NDArray[np.int32], to_ras: Affine) -> dict[int, float]:
    """S coordinate in mm of the centre of each body."""
    from scipy.ndimage import center_of_mass

    numbers = range(1, int(bodies.max()) + 1)
    centres = np.asarray(center_of_mass(bodies > 0, bodies, numbers))[:, ::-1]
    return dict(zip(numbers, ijk_to_ras_points(centres, to_ras)[:, 2].tolist(), strict=True))


def _nearest_body(
    bodies: npt.NDArray[np.int32], labels: Labels, at: tuple[npt.NDArray[np.intp], ...]
) -> npt.NDArray[np.int32]:
    """The body nearest to each of some voxels of the volume, given by their (K, J, I) indices."""
    from scipy.ndimage import distance_transform_edt

    sampling = spacing_kji(labels.coarse_to_ras)
    nearest = distance_transform_edt(bodies == 0, sampling, return_distances=False, return_indices=True)
    ras = ijk_to_ras_points(np.stack(at[::-1], 1), labels.ijk_to_ras)
    ijk = np.rint(ras_to_ijk(ras, labels.coarse_to_ras)).astype(int)
    k, j, i = (np.clip(ijk[:, 2 - axis], 0, n - 1) for axis, n in enumerate(bodies.shape))
    found: npt.NDArray[np.int32] = bodies[tuple(nearest[:, k, j, i])]
    return found
