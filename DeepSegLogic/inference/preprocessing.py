"""From a volume to the network's input, and from the network's grid back to the volume's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .. import geometry
from ..boxes import Slices, box_of, common, grown, matrix_of, within
from ..errors import InputError
from ..volume import Volume
from ..volume_fixes import BODY_HU, BODY_MARGIN_MM
from .device import reproducible
from .plan import Normalization, Plan
from .resampling import axis_matrices, columns_used, resample_image, resampled_shape, separate_axis


@dataclass
class Prepared:
    """A network's input and the way back.

    Attributes:
        image: (Z, Y, X) float32, normalised, on the network's grid, on the device that runs it.
        asked: the box of ``image`` whose logits are asked for; all of it without a region of interest.
        crop: the box of the oriented, transposed volume that they are interpolated on.
        back: per axis the (volume, network) matrix that interpolates logits, or None for none.
        grid_to_ras: 4×4, maps (X, Y, Z) indices of the box ``asked`` to RAS in mm.
    """

    image: torch.Tensor
    asked: tuple[slice, slice, slice]
    crop: tuple[slice, slice, slice]
    back: list[torch.Tensor | None]
    grid_to_ras: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels of the box asked for on the network's grid."""
        return tuple(s.stop - s.start for s in self.asked)

    @property
    def native_shape(self) -> tuple[int, ...]:
        """Voxels of the box on the volume's own grid."""
        return tuple(s.stop - s.start for s in self.crop)


def normalised(image: torch.Tensor, rule: Normalization) -> torch.Tensor:
    """A resampled image (Z, Y, X) float32, normalised; the image itself stays as it is."""
    result = _normaliser(image, rule)(image.clone())
    return result if rule.function is None else rule.function(result)


def network_view(array: np.ndarray, ijk_to_ras: np.ndarray, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """``array`` (K, J, I) with its axes as the network sees them: a view, so writing to it writes to ``array``.

    Returns:
        the view (Z, Y, X) and the 4×4 matrix from its (X, Y, Z) indices to RAS.
    """
    if plan.orientation is not None:
        array, ijk_to_ras = geometry.reorient(array, ijk_to_ras, plan.orientation)
    columns = [2 - plan.transpose[2 - c] for c in range(3)]
    matrix = ijk_to_ras.copy()
    matrix[:3, :3] = ijk_to_ras[:3, columns]
    return array.transpose(plan.transpose), matrix


@reproducible()
def prepare(volume: Volume, plan: Plan, device: torch.device, boxes: Boxes | None = None) -> Prepared:
    """Orient, crop, normalise and resample as the plan says.

    Args:
        boxes: of the volume; None for labels everywhere.

    Raises:
        InputError: see :meth:`Boxes.of`.
    """
    view, matrix = network_view(volume.array, volume.ijk_to_ras, plan)
    crop, box = (boxes or Boxes(volume)).of(plan)
    view = view[crop]
    matrix = matrix_of(crop, matrix)
    # float32, because nnU-Net reads spacings from float32 headers and rounds shapes with them
    spacing = [float(s) for s in geometry.spacing_of(matrix)[::-1].astype(np.float32)]
    shape = tuple(max(1, n) for n in resampled_shape(view.shape, spacing, plan.spacing))

    image = torch.from_numpy(np.ascontiguousarray(view)).to(device)
    rule = plan.image_resampling
    matrices = axis_matrices(rule, view.shape, shape, spacing, plan.spacing)
    normalise = _normaliser(image, plan.normalization)
    resampled = resample_image(image, matrices, normalise, separate_axis(rule, spacing, plan.spacing))
    if plan.normalization.function is not None:
        resampled = plan.normalization.function(resampled)
    back = axis_matrices(plan.logit_resampling, shape, view.shape, plan.spacing, spacing)
    asked = tuple(slice(0, n) for n in shape)
    matrix = geometry.resampled_matrix(matrix, view.shape, shape)
    if box is not None:
        crop, box = box, within(box, crop)
        asked = tuple(b if m is None else columns_used(m[b]) for m, b in zip(back, box, strict=True))
        back = [None if m is None else m[b, a] for m, b, a in zip(back, box, asked, strict=True)]
        matrix = matrix_of(asked, matrix)
    return Prepared(resampled.contiguous(), asked, crop, back, matrix)


class Boxes:
    """Where networks look at a volume, and where labels are asked for; found once for all that see it alike.

    Args:
        air: see :class:`~.quality.Quality`.
        region: (K, J, I) bool on the volume's grid: where labels are asked for. Networks see as much as without it.
    """

    def __init__(self, volume: Volume, air: str = "kept", region: np.ndarray | None = None):
        self._volume, self._air, self._region = volume, air, region
        self._found: dict[tuple, tuple[Slices, Slices | None]] = {}

    def of(self, plan: Plan) -> tuple[Slices, Slices | None]:
        """The box of the oriented, transposed volume that the network sees, and that which labels are asked for.

        The latter is None where it is the former.

        Raises:
            InputError: the volume is empty, or there is nothing to segment in the region.
        """
        alike = plan.orientation, plan.transpose, plan.crop_to_nonzero
        if alike not in self._found:
            self._found[alike] = self._look(plan)
        return self._found[alike]

    def _look(self, plan: Plan) -> tuple[Slices, Slices | None]:
        volume, region = self._volume, self._region
        view, matrix = network_view(volume.array, volume.ijk_to_ras, plan)
        crop = tuple(slice(0, n) for n in view.shape)
        if plan.crop_to_nonzero:
            crop = box_of(view != 0)
            if crop is None:
                raise InputError(
                    "The volume is empty: all its voxels are 0.", "Choose another volume.", code="input.empty"
                )
        limits = [] if region is None else [box_of(network_view(region, volume.ijk_to_ras, plan)[0])]
        if self._air != "kept":
            body = _body(view, matrix)
            if self._air == "cut":
                crop = common(crop, body) or crop
            else:
                limits.append(body)
        asked = crop
        for limit in limits:
            asked = asked and common(asked, limit)
        if asked is None:
            raise InputError(
                f"There is nothing of {volume.name} in the region of interest.",
                "Choose a region that touches the patient.",
                code="input.region",
            )
        return crop, asked if limits else None


def _body(view: np.ndarray, matrix: np.ndarray) -> Slices:
    """The box around the patient; of a volume of air only, all of it."""
    body = box_of(view > BODY_HU) or tuple(slice(0, n) for n in view.shape)
    return grown(body, BODY_MARGIN_MM / geometry.spacing_of(matrix)[::-1], view.shape)


def _normaliser(image: torch.Tensor, rule: Normalization):
    """A function from raw to normalised voxels; statistics of the whole image are taken here, once."""
    if rule.scheme == "ct":
        return lambda x: x.to(torch.float32).clamp(rule.lower, rule.upper).sub_(rule.mean).div_(max(rule.sd, 1e-8))
    if rule.scheme in ("none", "function"):  # a function is applied after resampling
        return lambda x: x.to(torch.float32)
    if rule.scheme == "rescale01":
        low = float(image.amin())
        width = max(float(image.amax()) - low, 1e-8)
        return lambda x: x.to(torch.float32).sub_(low).div_(width)
    if rule.scheme in ("zscore", "zscore_nonzero"):
        values = image[image != 0] if rule.scheme == "zscore_nonzero" else image
        values = (values.cpu() if values.device.type == "mps" else values).to(torch.float64)  # Apple's GPU has none
        mean, sd = float(values.mean()), max(float(values.std(correction=0)), 1e-8)
        if rule.scheme == "zscore":
            return lambda x: x.to(torch.float32).sub_(mean).div_(sd)
        return lambda x: torch.where(x != 0, (x.to(torch.float32) - mean) / sd, 0.0)
    raise ValueError(f"unknown normalisation {rule.scheme!r}")
