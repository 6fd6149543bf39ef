"""Registration of a baseline to its follow-up, on a coarse grid, so that memory is bounded whatever the scans' size.

Transforms are ITK's: they take points of the follow-up to the baseline, in LPS mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from ..data.affine import LPS_TO_RAS, ijk_to_ras_points
from ..data.types import Affine, FloatArray, PointsRas
from ..util.progress import Cancel, Progress, check, share
from .coarse import Coarse, coarse
from .landmarks import rigid_from_centres
from .matching import Match
from .time_point import TimePoint

Basis: TypeAlias = Literal["scans", "structures"]
_MESH_MM = 60.0  # between the control points of the deformable transform
_SEED = 1
_ITERATIONS = {"rigid": 200, "deformable": 40}
_FOLDED = 0.0  # a Jacobian determinant at or below it
_TOO_LITTLE = "The {} registration has too few voxels to compare: it was left out."
_SLACK = 0.02  # Dice that the scans may cost: organs move against each other, structures are not perfect


@dataclass
class Registration:
    """How a baseline lies on its follow-up.

    Attributes:
        transform: takes points of the follow-up to the baseline, LPS mm; rigid, or rigid and B-spline. 3D Slicer loads
            its file as the transform that moves the baseline onto the follow-up.
        rigid: the rigid part in the other direction, baseline to follow-up, 4×4, RAS mm.
        basis: what was registered: the scans, or the structures where a scan is missing.
        overlap: mean Dice of the common structures by stage: ``"none"``, ``"rigid"``, ``"deformable"``.
        deformable: whether ``transform`` is.
        notes: what was discarded, one sentence each.
    """

    transform: sitk.Transform
    rigid: Affine
    basis: Basis
    overlap: dict[str, float]
    deformable: bool
    notes: list[str]

    @property
    def rotation_deg(self) -> float:
        """The angle of the rigid part."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.rigid[:3, :3]) - 1) / 2, -1, 1))))

    def shift_mm(self, baseline: TimePoint) -> FloatArray:
        """How far the rigid part moves the middle of the baseline (3,), RAS mm."""
        grid = baseline.label_map
        middle = ijk_to_ras_points([(np.array(grid.shape_ijk) - 1) / 2], grid.ijk_to_ras)
        return np.asarray((self.to_follow_up(middle) - middle)[0])

    def to_baseline(self, points: PointsRas) -> PointsRas:
        """Points (N, 3) of the follow-up in the baseline, RAS mm."""
        lps = np.asarray(points, float) * [-1, -1, 1]
        return np.array([self.transform.TransformPoint(p.tolist()) for p in lps]).reshape(-1, 3) * [-1, -1, 1]

    def to_follow_up(self, points: PointsRas) -> PointsRas:
        """Points (N, 3) of the baseline in the follow-up by the rigid part, RAS mm."""
        return ijk_to_ras_points(points, self.rigid)


def register(
    baseline: TimePoint,
    follow_up: TimePoint,
    matches: list[Match],
    *,
    deformable: bool,
    progress: Progress,
    cancel: Cancel,
) -> Registration:
    """Register a baseline to its follow-up.

    The start is the scanner's own coordinates, or the centres of the common structures, whichever lets these overlap
    more. The scans, or where one is missing the structures, refine it. A stage that lets the structures overlap less,
    or that folds space, is discarded.

    Args:
        matches: the structures that both have.
    """
    parts = [coarse(point, [m.of(n) for m in matches]) for n, point in enumerate((baseline, follow_up))]
    moving, fixed = parts
    basis: Basis = "scans" if moving.gray is not None and fixed.gray is not None else "structures"
    notes: list[str] = []
    overlap = {"none": dice(moving, fixed, sitk.Transform(3, sitk.sitkIdentity))}
    best, score = _itk(np.eye(4)), overlap["none"]
    start = _start(matches)
    if start is not None and ((found := dice(moving, fixed, _itk(start))) > score or not score):
        best, score = _itk(start), found
    check(cancel)
    progress("register", 0.05, "rigid")
    refined = _rigid(moving, fixed, basis, best, share(progress, 0.05, 0.5 if deformable else 1.0), cancel)
    if refined is None:
        notes.append(_TOO_LITTLE.format("rigid"))
    elif (found := dice(moving, fixed, refined)) >= score - _SLACK:
        best, score = refined, found
    else:
        notes.append("The rigid registration let the structures overlap less than their centres do: it was discarded.")
    overlap["rigid"] = score
    transform: sitk.Transform = best
    if deformable:
        progress("register", 0.5, "deformable")
        bent = _deformable(moving, fixed, basis, best, share(progress, 0.5, 1.0), cancel)
        if bent is None:
            notes.append(_TOO_LITTLE.format("deformable"))
        elif _folds(fixed, bent):
            notes.append("The deformable registration folds space: it was discarded.")
        elif (found := dice(moving, fixed, bent)) < score:
            notes.append("The deformable registration let the structures overlap less: it was discarded.")
        else:
            transform, overlap["deformable"] = bent, found
    progress("register", 1.0, "")
    return Registration(transform, _ras(best), basis, overlap, "deformable" in overlap, notes)


def dice(moving: Coarse, fixed: Coarse, transform: sitk.Transform) -> float:
    """Mean Dice of the structures in the part that both scans show; 0 if nothing overlaps."""
    moved = sitk.GetArrayFromImage(
        sitk.Resample(moving.labels, fixed.labels, transform, sitk.sitkNearestNeighbor, fixed.outside)
    )
    still = sitk.GetArrayFromImage(fixed.labels)
    seen = moved != fixed.outside
    size = fixed.outside
    ours, theirs = moved[seen], still[seen]
    both = np.bincount(ours[ours == theirs], minlength=size)[1:]
    sums = (np.bincount(ours, minlength=size) + np.bincount(theirs, minlength=size))[1:]
    there = sums > 0
    return float(np.mean(2 * both[there] / sums[there])) if there.any() else 0.0


def _start(matches: list[Match]) -> Affine | None:
    """From the centres of structures that are whole on both sides; else of all."""
    whole = [m for m in matches if not (m.before.cut or m.after.cut)] or matches
    centres = [np.array([m.centre(n) for m in whole]).reshape(-1, 3) for n in (0, 1)]
    return rigid_from_centres(centres[0], centres[1]) if whole else None


def _rigid(
    moving: Coarse, fixed: Coarse, basis: Basis, start: sitk.AffineTransform, progress: Progress, cancel: Cancel
) -> sitk.AffineTransform | None:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(fixed.centre_lps)
    matrix = np.array(start.GetMatrix()).reshape(3, 3)
    transform.SetMatrix(matrix.ravel().tolist())
    centre = np.array(fixed.centre_lps)
    transform.SetTranslation((matrix @ centre + np.array(start.GetTranslation()) - centre).tolist())
    method = _method(fixed, basis, "rigid", progress, cancel)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-3, numberOfIterations=_ITERATIONS["rigid"], gradientMagnitudeTolerance=1e-8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SetInitialTransform(transform, inPlace=True)
    if not _done(method, fixed.seen(basis), moving.seen(basis), cancel):
        return None
    linear = sitk.AffineTransform(3)
    matrix = np.array(transform.GetMatrix()).reshape(3, 3)
    linear.SetMatrix(matrix.ravel().tolist())
    linear.SetTranslation((np.array(transform.TransformPoint(centre.tolist())) - matrix @ centre).tolist())
    return linear


def _deformable(
    moving: Coarse, fixed: Coarse, basis: Basis, rigid: sitk.Transform, progress: Progress, cancel: Cancel
) -> sitk.Transform | None:
    image = fixed.seen(basis)
    extent = np.array(image.GetSize()) * image.GetSpacing()
    mesh = np.maximum(1, np.round(extent / _MESH_MM)).astype(int).tolist()
    spline = sitk.BSplineTransformInitializer(image, mesh, 3)
    method = _method(fixed, basis, "deformable", progress, cancel)
    method.SetOptimizerAsLBFGSB(
        gradientConvergenceTolerance=1e-5,
        numberOfIterations=_ITERATIONS["deformable"],
        maximumNumberOfFunctionEvaluations=2 * _ITERATIONS["deformable"],
        costFunctionConvergenceFactor=1e7,
    )
    method.SetMovingInitialTransform(rigid)
    method.SetInitialTransform(spline, inPlace=True)
    method.SetShrinkFactorsPerLevel([2])
    method.SetSmoothingSigmasPerLevel([1])
    if not _done(method, image, moving.seen(basis), cancel):
        return None
    return sitk.CompositeTransform([rigid, spline])  # the last one comes first


def _method(
    fixed: Coarse, basis: Basis, stage: str, progress: Progress, cancel: Cancel
) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    if basis == "scans":
        method.SetMetricAsMattesMutualInformation(50)  # contrast agent may differ
        if fixed.body is not None:
            method.SetMetricFixedMask(fixed.body)
    else:
        method.SetMetricAsMeanSquares()
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.1, _SEED)
    method.SetInterpolator(sitk.sitkLinear)

    def told() -> None:
        progress("register", min(1.0, method.GetOptimizerIteration() / _ITERATIONS[stage]), stage)
        if cancel():
            method.StopRegistration()

    method.AddCommand(sitk.sitkIterationEvent, told)
    return method


def _done(method: sitk.ImageRegistrationMethod, fixed: sitk.Image, moving: sitk.Image, cancel: Cancel) -> bool:
    """Register; False if ITK refuses to, because the images have too little in common."""
    try:
        method.Execute(fixed, moving)
    except RuntimeError:
        return False
    check(cancel)
    return True


def _folds(fixed: Coarse, transform: sitk.Transform) -> bool:
    image = sitk.Shrink(fixed.labels, [2, 2, 2])
    moved = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, image.GetSize(), image.GetOrigin(), image.GetSpacing(), image.GetDirection()
    )
    lowest: npt.NDArray[np.float64] = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(moved))
    return bool(lowest.min() <= _FOLDED)


def _itk(baseline_to_follow_up: Affine) -> sitk.AffineTransform:
    """A matrix from baseline to follow-up, RAS, as ITK's transform in the other direction."""
    matrix = LPS_TO_RAS @ np.linalg.inv(baseline_to_follow_up) @ LPS_TO_RAS
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    return transform


def _ras(transform: sitk.AffineTransform) -> Affine:
    """The inverse of :func:`_itk`."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    matrix[:3, 3] = transform.GetTranslation()
    return np.asarray(LPS_TO_RAS @ np.linalg.inv(matrix) @ LPS_TO_RAS)
