"""The grids of a run: the volume as the network sees it, the network's own grid, and the way back.

Planned once per kind of network, for the estimate and for the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..data import affine
from ..data.boxes import box_of, common, grown, hull, matrix_of, size_of, whole, within
from ..data.types import Affine, MaskArray, Shape, Slices, VolumeArray
from ..data.volume import Volume
from ..data.volume_fixes import BODY_HU, BODY_MARGIN_MM
from ..models.plan import Plan
from ..util.errors import InputError
from .presets import Air
from .resampling import axis_matrices, columns_used, resampled_shape
from .sliding_window import WindowGrid


@dataclass(frozen=True, eq=False)
class GridPlan:
    """Where a network works on a volume. Axes are the network's, (Z, Y, X).

    Attributes:
        seen: box of the oriented, transposed volume that the network sees.
        crop: box of it that gets labels; ``seen`` without a region of interest.
        spacing: of the volume, mm.
        shape: voxels of ``seen`` on the network's grid.
        asked: box of that grid whose logits are needed for ``crop``.
        back: per axis the (crop, asked) matrix that interpolates logits, or None for none.
        grid_to_ras: 4×4, maps (X, Y, Z) indices of the box ``asked`` to RAS in mm.
    """

    seen: Slices
    crop: Slices
    spacing: tuple[float, float, float]
    shape: Shape
    asked: Slices
    back: tuple[torch.Tensor | None, ...]
    grid_to_ras: Affine

    @property
    def asked_shape(self) -> Shape:
        """Voxels of the box ``asked``."""
        return size_of(self.asked)

    @property
    def native_shape(self) -> Shape:
        """Voxels of the box ``crop``, on the volume's own grid."""
        return size_of(self.crop)

    def windows(self, patch_size: Shape, step: float) -> WindowGrid:
        """The windows of this size that the run needs, see :class:`~.sliding_window.WindowGrid`."""
        return WindowGrid(self.shape, patch_size, step, self.asked)


class Grids:
    """Plans the grids of a volume; networks with the same grid share one plan.

    Args:
        air: see :class:`~.presets.Quality`.
        region: (K, J, I) bool on the volume's grid: where labels are wanted, None for everywhere. Networks see as much
            of the volume as without it.
        channels: the further input channels, (K, J, I) on the volume's grid.
    """

    def __init__(
        self,
        volume: Volume,
        air: Air = "kept",
        region: MaskArray | None = None,
        channels: Sequence[VolumeArray] = (),
    ):
        self._volume, self._air, self._region, self._channels = volume, air, region, channels
        self._plans: dict[tuple[object, ...], GridPlan] = {}

    def of(self, plan: Plan) -> GridPlan:
        """The grids of networks with this plan.

        Raises:
            InputError: the volume is empty, or the region holds nothing to segment.
        """
        kind = (
            *(plan.orientation, plan.transpose, plan.crop_to_nonzero),
            *(plan.spacing, plan.image_resampling, plan.logit_resampling),
        )
        if kind not in self._plans:
            self._plans[kind] = self._planned(plan)
        return self._plans[kind]

    def _planned(self, plan: Plan) -> GridPlan:
        view, matrix = network_view(self._volume.array, self._volume.ijk_to_ras, plan)
        seen, wanted = self._boxes(view, matrix, plan)
        matrix, size = matrix_of(seen, matrix), size_of(seen)
        # float32, because nnU-Net reads spacings from float32 headers and rounds shapes with them
        z, y, x = (float(s) for s in affine.spacing_kji(matrix).astype(np.float32))
        spacing = (z, y, x)
        target = plan.spacing_on(spacing)
        shape = resampled_shape(size, spacing, target)
        back = axis_matrices(plan.logit_resampling, shape, size, target, spacing)
        matrix = affine.resampled_matrix(matrix, size, shape)
        if wanted is None:
            return GridPlan(seen, seen, spacing, shape, whole(shape), tuple(back), matrix)
        box = within(wanted, seen)
        z_asked, y_asked, x_asked = (b if m is None else columns_used(m[b]) for m, b in zip(back, box, strict=True))
        asked = (z_asked, y_asked, x_asked)
        back = [None if m is None else m[b, a] for m, b, a in zip(back, box, asked, strict=True)]
        return GridPlan(seen, wanted, spacing, shape, asked, tuple(back), matrix_of(asked, matrix))

    def _boxes(self, view: npt.NDArray[Any], matrix: Affine, plan: Plan) -> tuple[Slices, Slices | None]:
        """The box that the network sees, and the one that gets labels; None where they are the same."""
        seen: Slices = whole(view.shape)
        if plan.crop_to_nonzero:
            views = [view, *(network_view(c, self._volume.ijk_to_ras, plan)[0] for c in self._channels)]
            boxes = [box for box in (box_of(v != 0) for v in views) if box is not None]
            if not boxes:
                raise InputError(
                    "The volume is empty: all its voxels are 0.", "Choose another volume.", code="input.empty"
                )
            seen = hull(boxes)
        limits: list[Slices | None] = []
        if self._region is not None:
            limits.append(box_of(network_view(self._region, self._volume.ijk_to_ras, plan)[0]))
        if self._air != "kept":
            body = _body(view, matrix)
            if self._air == "cut":
                seen = common(seen, body) or seen
            else:
                limits.append(body)
        wanted: Slices | None = seen
        for limit in limits:
            wanted = None if wanted is None or limit is None else common(wanted, limit)
        if wanted is None:
            raise InputError(
                f"There is nothing of {self._volume.name} in the region of interest.",
                "Choose a region that touches the patient.",
                code="input.region",
            )
        return seen, wanted if limits else None


def network_view(array: npt.NDArray[Any], ijk_to_ras: Affine, plan: Plan) -> tuple[npt.NDArray[Any], Affine]:
    """``array`` (K, J, I) with its axes as the network sees them: a view, so writing to it writes to ``array``.

    Returns:
        the view (Z, Y, X) and the 4×4 matrix from its (X, Y, Z) indices to RAS.
    """
    if plan.orientation is not None:
        array, ijk_to_ras = affine.reorient(array, ijk_to_ras, plan.orientation)
    columns = [2 - plan.transpose[2 - c] for c in range(3)]
    matrix = ijk_to_ras.copy()
    matrix[:3, :3] = ijk_to_ras[:3, columns]
    return array.transpose(plan.transpose), matrix


def _body(view: npt.NDArray[Any], matrix: Affine) -> Slices:
    """The box around the patient; the whole volume if it holds only air."""
    body = box_of(view > BODY_HU) or whole(view.shape)
    return grown(body, BODY_MARGIN_MM / affine.spacing_kji(matrix), view.shape)
