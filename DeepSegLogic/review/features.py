"""First-order and shape features of structures, as the Image Biomarker Standardisation Initiative (IBSI) defines them.

A. Zwanenburg et al., Radiology 295 (2020) 328; the feature families "morphology", "intensity-based statistics" and, for
entropy and uniformity, "intensity histogram". Nothing is resampled and no HU are left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..data.boxes import boxes_by_label, grown, within
from ..data.label_map import LabelMap, Structure
from ..data.types import FloatArray, MaskArray
from ..data.volume import Volume
from ..util.errors import InputError
from ..util.given import checks_arguments
from ..util.progress import Cancel, Progress, check, ignore_progress, never_cancel
from ..util.tables import write_table
from .field_of_view import cut_labels

BIN_HU = 25.0
"""Width of the bins for entropy and uniformity; they start at multiples of it, as in pyradiomics."""


@dataclass(frozen=True)
class Features:
    """Features of one structure. Lengths in mm, grey values in HU.

    Attributes:
        cut: whether the field of view cuts it, so that its shape is not whole.
        mesh_volume_ml, surface_mm2: of the marching cubes surface of the voxels; ``sphericity`` is 1 for a ball.
        max_diameter_mm: the largest distance of two points of that surface.
        major_axis_mm, minor_axis_mm, least_axis_mm: of the ellipsoid with the same covariance; ``elongation`` and
            ``flatness`` are the second and third as a share of the first.
        variance: of the voxels, not of a sample. ``kurtosis`` is in excess of a normal distribution's.
        robust_mad: mean absolute deviation of the values from the 10th to the 90th percentile.
        entropy, uniformity: of the histogram, see :data:`BIN_HU`; bits.
    """

    name: str
    title: str
    cut: bool
    voxels: int
    volume_ml: float
    mesh_volume_ml: float
    surface_mm2: float
    surface_to_volume: float
    sphericity: float
    max_diameter_mm: float
    major_axis_mm: float
    minor_axis_mm: float
    least_axis_mm: float
    elongation: float
    flatness: float
    mean: float
    variance: float
    skewness: float
    kurtosis: float
    median: float
    minimum: float
    percentile_10: float
    percentile_90: float
    maximum: float
    interquartile_range: float
    value_range: float
    mad: float
    robust_mad: float
    energy: float
    rms: float
    entropy: float
    uniformity: float


@checks_arguments
def features(
    label_map: LabelMap,
    volume: Volume,
    bin_hu: float = BIN_HU,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> list[Features]:
    """Features of every structure with voxels.

    Args:
        label_map, volume: on the same grid.
        bin_hu: width of the bins for entropy and uniformity.

    Raises:
        InputError: the grids differ.
        Cancelled: ``cancel`` returned True.

    Example:
        >>> from DeepSegLogic import read_label_map, read_volume
        >>> from DeepSegLogic.review.features import features
        >>> lung = features(read_label_map("organs.seg.nrrd"), read_volume("ct.nrrd"))[5]
        >>> lung.name, round(lung.mean), 0 < lung.sphericity < 1
        ('left_lung', -835, True)
    """
    if label_map.shape_kji != volume.shape_kji:
        raise InputError(
            "The label map does not have the grid of the volume.",
            "Choose the volume that was segmented.",
            code="input.grid",
        )
    found: dict[str, Features] = {}
    for layer in label_map.layers or [label_map]:
        boxes, cut = boxes_by_label(layer.array), cut_labels(layer, volume)
        for number, structure in enumerate(layer.structures):
            check(cancel)
            progress("features", number / len(layer.structures), structure.title or structure.name)
            box = boxes.get(structure.value)
            if box is None:
                continue
            around = grown(box, 1, layer.shape_kji)
            mask = np.asarray(layer.array[around] == structure.value)
            values = volume.array[around][mask].astype(np.float64)
            inner = mask[within(box, around)]
            found[structure.name] = _features(structure, structure.value in cut, inner, values, layer, bin_hu)
    progress("features", 1.0, "")
    return [found[s.name] for s in label_map.structures if s.name in found]


def write_features(rows: Iterable[Features], path: Path) -> None:
    """Write features as CSV: one row per structure.

    Raises:
        OSError: the file cannot be written.
    """
    header = [field.name for field in fields(Features)]
    cells = ([float(f"{v:.6g}") if isinstance(v, float) else v for v in asdict(row).values()] for row in rows)
    write_table(path, header, ([("yes" if v else "") if isinstance(v, bool) else v for v in row] for row in cells))


def _features(
    structure: Structure, cut: bool, mask: MaskArray, values: FloatArray, grid: LabelMap, bin_hu: float
) -> Features:
    points, triangles = _mesh(mask, grid.spacing_kji)
    a, b, c = (points[triangles[:, n]] for n in range(3))
    area = float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)
    volume = float(abs(np.einsum("ij,ij->", a, np.cross(b, c))) / 6)
    major, minor, least = _axes(mask, grid.spacing_kji)
    mean = float(values.mean())
    away = values - mean
    variance = float(np.mean(away**2))
    low, q1, median, q3, high = (float(p) for p in np.percentile(values, [10, 25, 50, 75, 90]))
    middle = values[(values >= low) & (values <= high)]
    bins = np.floor(values / bin_hu)
    share = np.unique(bins, return_counts=True)[1] / len(values)
    return Features(
        structure.name,
        structure.title,
        cut,
        len(values),
        len(values) * grid.voxel_ml,
        volume / 1000,
        area,
        area / volume if volume else 0.0,
        (36 * np.pi * volume**2) ** (1 / 3) / area if area else 0.0,
        _diameter(points),
        major,
        minor,
        least,
        minor / major if major else 0.0,
        least / major if major else 0.0,
        mean,
        variance,
        float(np.mean(away**3) / variance**1.5) if variance else 0.0,
        float(np.mean(away**4) / variance**2 - 3) if variance else 0.0,
        median,
        float(values.min()),
        low,
        high,
        float(values.max()),
        q3 - q1,
        float(np.ptp(values)),
        float(np.mean(np.abs(away))),
        float(np.mean(np.abs(middle - middle.mean()))),
        float(np.sum(values**2)),
        float(np.sqrt(np.mean(values**2))),
        float(-np.sum(share * np.log2(share))),
        float(np.sum(share**2)),
    )


def _mesh(mask: MaskArray, spacing_kji: FloatArray) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Points (N, 3), mm, and triangles of the marching cubes surface half-way between inside and outside."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkMarchingCubes

    padded = np.pad(mask, 1).astype(np.uint8)
    image = vtkImageData()
    image.SetDimensions(*padded.shape[::-1])
    image.SetSpacing(*(float(s) for s in spacing_kji[::-1]))
    image.GetPointData().SetScalars(numpy_to_vtk(padded.ravel(), deep=True))
    cubes = vtkMarchingCubes()
    cubes.SetInputData(image)
    cubes.SetValue(0, 0.5)
    cubes.ComputeNormalsOff()
    cubes.Update()
    mesh = cubes.GetOutput()
    points = vtk_to_numpy(mesh.GetPoints().GetData()).astype(np.float64)
    return points, vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)


def _axes(mask: MaskArray, spacing_kji: FloatArray) -> tuple[float, float, float]:
    """Four times the standard deviations along the principal axes, the largest first."""
    places = np.argwhere(mask) * spacing_kji
    spread = np.linalg.eigvalsh(np.cov(places, rowvar=False)) if len(places) > 1 else np.zeros(3)
    least, minor, major = (4 * np.sqrt(np.maximum(spread, 0))).tolist()
    return major, minor, least


def _diameter(points: FloatArray) -> float:
    """The largest distance of two points (N, 3)."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    return float(pdist(points[ConvexHull(points).vertices]).max())
