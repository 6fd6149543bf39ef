"""Why a model says so: which parts of the image speak for a structure at a place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from ..data.affine import ijk_to_ras_points, sampled
from ..data.boxes import box_of, matrix_of
from ..data.channels import by_number
from ..data.label_map import LabelMap, Structure, known_structure
from ..data.records import ArrayRecord
from ..data.terminology import structure_for
from ..data.types import Affine, ByteArray, FloatArray
from ..data.volume import Volume
from ..models.model import segments_nothing
from ..util.errors import ModelError, UsageError
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel, share
from .measurements import position

if TYPE_CHECKING:
    from ..models import Model

Method: TypeAlias = Literal["gradcam", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(eq=False, repr=False)
class Attribution(ArrayRecord):
    """Which parts of the image speak for a structure at a place.

    Attributes:
        array: (K, J, I) uint8 on the volume's grid, 255 where it matters most; 0 outside of the window that the network
            saw.
        ijk_to_ras: 4×4 of that grid.
        structure: its name.
        method: see :func:`explain`.
        at: the place, RAS in mm.
        probability: the mean probability of the structure around the place.
        largest: for occlusion, how far this probability falls where ``array`` is 255; None for Grad-CAM, whose values
            have no unit.
    """

    array: ByteArray
    ijk_to_ras: Affine
    structure: str
    method: Method
    at: tuple[float, float, float]
    probability: float
    largest: float | None = None

    @property
    def away_mm(self) -> float:
        """From the place to where the map is strongest: far away, it says little about the place."""
        kji = np.unravel_index(int(self.array.argmax()), self.array.shape)
        return float(np.linalg.norm(ijk_to_ras_points([kji[::-1]], self.ijk_to_ras)[0] - self.at))


def explain(
    volume: Volume,
    model: Model,
    structure: str,
    at: Sequence[float],
    *,
    method: Method = "gradcam",
    channels: Mapping[str, Volume] | None = None,
    device: str = "auto",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> Attribution:
    """Find which parts of the image speak for a structure at a place, in one window of the network around it.

    What is explained is the network's mean output for the structure over the sphere of 10 mm around the
    place, whether or not it labels it so: also why something was *not* found can be asked.

    Args:
        model: loaded for this call, since it is changed: gradients need layers that a run replaces by faster ones.
        structure: its name or title.
        at: the place, RAS in mm; :func:`place_in` finds one in a label map.
        method: ``"gradcam"`` weighs the channels of a coarse layer by their gradients (Selvaraju et al., ICCV 2017;
            for segmentation Vinogradova et al., AAAI 2020): one pass, but as coarse as the layer. ``"occlusion"``
            blurs one block after the other and takes the drop of the probability (Zeiler and Fergus, ECCV 2014): some
            two hundred passes, and it needs nothing but the output.
        channels, device: as for :func:`DeepSegLogic.segmentation.segment`.

    Raises:
        UsageError: an unknown structure, method or device.
        InputError: the place lies outside of the volume, or the network cannot use the volume.
        ModelError: a model that cannot be explained: one that sees a region which another model finds, or, with
            Grad-CAM, one whose layers are hidden, or MONAI is not installed.
        Cancelled: ``cancel`` returned True.
    """
    from ..inference.device import choose_device
    from ..inference.grid_plan import Grids
    from ..inference.preprocessing import prepare
    from ..models.input_checks import channels_on_grid
    from ..models.model import require_monai
    from .saliency import Window

    if method not in METHODS:
        raise UsageError(
            f"There is no method named {method!r}.", f"Choose {' or '.join(METHODS)}.", code="usage.method"
        )
    part, wanted = _part_of(model, structure)
    if method == "gradcam":
        require_monai(model.card)
    plan, where = part.plan, choose_device(device)
    assert plan is not None  # a part has one network
    others = by_number(model.card.channels, (channels or {}).items(), model.card.id)
    arrays, _ = channels_on_grid(volume, others, model.card, force=True)
    prepared = prepare(volume, plan, where, Grids(volume, channels=arrays), arrays)
    window = Window(prepared, plan, at, volume.name)
    channel = wanted.value if plan.regions is None else plan.regions.index(wanted.value)
    chances: list[float] = []
    maps: list[FloatArray] = []
    for number, network in enumerate(part.networks):
        told = share(progress, number / len(part.networks), (number + 1) / len(part.networks))
        chance, found = window.explained(network.to(where), channel, method, part.card.id, told, cancel)
        chances.append(chance)
        maps.append(found)
    progress("explain", 1.0, wanted.title)
    mean = np.mean(maps, 0)
    largest = float(mean.max())
    array = sampled(mean / max(largest, 1e-12), window.ijk_to_ras, volume.shape_kji, volume.ijk_to_ras)
    return Attribution(
        np.rint(255 * array).astype(np.uint8),
        volume.ijk_to_ras.copy(),
        wanted.name,
        method,
        position(np.asarray(at, float)),
        float(np.mean(chances)),
        largest if method == "occlusion" else None,
    )


def place_in(label_map: LabelMap, structure: str) -> tuple[float, float, float]:
    """A place well inside a structure, RAS in mm: the voxel that is farthest from its border.

    Raises:
        UsageError: there is no such structure, or it has no voxels.

    Example:
        >>> import numpy as np
        >>> from DeepSegLogic import LabelMap, Structure
        >>> from DeepSegLogic.review.attribution import place_in
        >>> voxels = np.zeros((9, 9, 9), np.uint8)
        >>> voxels[2:7, 2:7, 2:7] = 1
        >>> place_in(LabelMap(voxels, np.diag([2.0, 2.0, 2.0, 1.0]), [Structure(1, "spleen", "Spleen")]), "spleen")
        (8.0, 8.0, 8.0)
    """
    from scipy.ndimage import distance_transform_edt

    mask, known = label_map.mask(structure), label_map.structure(structure)
    box = box_of(mask)
    if box is None:
        raise UsageError(
            f"{known.title or known.name} has no voxels, so there is no place to explain.",
            "Name a place, or another structure.",
            code="usage.place",
        )
    depth = distance_transform_edt(np.pad(mask[box], 1), label_map.spacing_kji)[1:-1, 1:-1, 1:-1]
    kji = np.unravel_index(int(depth.argmax()), depth.shape)
    return position(ijk_to_ras_points([kji[::-1]], matrix_of(box, label_map.ijk_to_ras))[0])


def _part_of(model: Model, name: str) -> tuple[Model, Structure]:
    """The network that marks a structure, and the structure with the value that it has there."""
    card = model.card
    if card.takes_prompts:
        raise segments_nothing(card)
    if card.crop is not None or model.previous is not None:
        raise ModelError(
            f"{card.id} sees what another network finds, so its labels cannot be explained by the image alone.",
            "Choose a model of one stage that sees the whole volume.",
            code="model.chain",
        )
    known = known_structure(name, [structure_for(n, v) for v, n in model.labels.items() if n not in card.on_request])
    part = model.part(model.cards_for({known.name})[0])
    assert part.plan is not None
    return part, replace(known, value=next(v for v, n in part.plan.labels.items() if n == known.name))
