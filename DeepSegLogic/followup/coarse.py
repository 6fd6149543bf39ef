"""Scans and label maps on coarse grids of bounded size, for registration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..data.itk import sitk_image
from ..data.label_map import LabelMap, Structure
from ..data.types import LabelArray
from .time_point import TimePoint

_VOXELS = 1e6  # of a coarse grid
_AIR_HU, _BRIGHT_HU, _TISSUE_HU = -1000.0, 1000.0, -300.0
_BODY = 0.05  # of the voxels: less is no body
_TABLE_MM = 8.0  # thickness of what is not part of the body
_LEAST = 4  # voxels along an axis, which ITK's filters need
_TINTS = 5  # values that structures are painted with


@dataclass
class Coarse:
    """A time point on a coarse, isotropic grid.

    Attributes:
        labels: 1, 2, … for the common structures, in their order, 0 for all else; uint16.
        outside: the value for what a grid does not show.
        gray: HU from air to bone, float32; None without a scan.
        painted: the structures in a few values, softened; what is registered without scans.
        body: 1 inside the body; None where none was found.
    """

    labels: sitk.Image
    outside: int
    gray: sitk.Image | None
    painted: sitk.Image
    body: sitk.Image | None

    @property
    def centre_lps(self) -> tuple[float, float, float]:
        """The middle of the grid, mm."""
        x, y, z = self.labels.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in self.labels.GetSize()])
        return x, y, z

    def seen(self, basis: str) -> sitk.Image:
        """The image to register."""
        if basis == "scans":
            assert self.gray is not None
            return self.gray
        return self.painted


def coarse(point: TimePoint, structures: Sequence[Structure]) -> Coarse:
    """A time point on its coarse grid.

    Args:
        structures: those common to both time points, in their order.
    """
    native = sitk_image(_numbered(point.label_map, structures), point.label_map.ijk_to_ras)
    grid = coarse_grid(native, _VOXELS)
    labels = sitk.Resample(native, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    tints = sitk.GetArrayFromImage(labels).astype(np.float32)
    tints = np.where(tints > 0, 1 + (tints - 1) % _TINTS, 0).astype(np.float32)
    painted = sitk.GetImageFromArray(tints)
    painted.CopyInformation(labels)
    painted = sitk.SmoothingRecursiveGaussian(painted, grid.GetSpacing()[0])
    gray = None
    if point.volume is not None:
        gray = sitk.Resample(
            sitk_image(point.volume.array, point.volume.ijk_to_ras),
            grid,
            sitk.Transform(),
            sitk.sitkLinear,
            _AIR_HU,
            sitk.sitkFloat32,
        )
        gray = sitk.Clamp(gray, sitk.sitkFloat32, _AIR_HU, _BRIGHT_HU)
    return Coarse(labels, len(structures) + 1, gray, painted, _body(gray) if gray is not None else None)


def coarse_grid(image: sitk.Image, voxels: float) -> sitk.Image:
    """An empty, isotropic image over the same extent, as fine as the finest spacing, of about ``voxels`` at most."""
    spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
    wanted = max(float(spacing.min()), float(np.cbrt(np.prod(spacing * size) / voxels)))
    new = np.maximum(_LEAST, np.ceil(spacing * size / wanted - 1e-6)).astype(int)
    grid = sitk.Image([int(n) for n in new], sitk.sitkUInt8)
    grid.SetDirection(image.GetDirection())
    grid.SetSpacing([wanted] * 3)
    first = (size - 1) / 2 - (new - 1) / 2 * wanted / spacing
    grid.SetOrigin(image.TransformContinuousIndexToPhysicalPoint(first.tolist()))
    return grid


def _numbered(label_map: LabelMap, structures: Sequence[Structure]) -> LabelArray:
    """The structures' voxels as 1, 2, …, uint16."""
    highest = max(int(label_map.array.max(initial=0)), *(s.value for s in structures), 0)
    table = np.zeros(highest + 1, np.uint16)
    for number, structure in enumerate(structures, 1):
        table[structure.value] = number
    return table[label_map.array]


def _body(gray: sitk.Image) -> sitk.Image | None:
    """The largest piece of tissue, without the table, with all that it encloses in the slices."""
    tissue = gray > _TISSUE_HU
    radius = [max(1, round(_TABLE_MM / 2 / s)) for s in gray.GetSpacing()]
    opened = sitk.BinaryMorphologicalOpening(tissue, radius)
    pieces = sitk.RelabelComponent(sitk.ConnectedComponent(opened), sortByObjectSize=True)
    body = sitk.BinaryMorphologicalClosing(pieces == 1, [2 * r for r in radius])
    share = float(np.mean(sitk.GetArrayFromImage(body)))
    return sitk.BinaryFillhole(body) if share > _BODY else None
