"""Further input channels of a model, such as a PET beside a CT: which volume is which, and all on the first one's grid.

Channels have names and numbers, as in nnU-Net: number 0 is the volume that is segmented, and its grid counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from ..util.errors import InputError, UsageError
from .affine import ijk_to_ras_points, ras_to_ijk
from .records import on_same_grid
from .types import VolumeArray
from .volume import Volume

LITTLE = 0.5  # share of the first volume that a further one should cover
_LOOK = 48  # points per axis at which that is measured
_MODALITIES = {"CT": "CT", "PET": "PT", "PT": "PT", "SUV": "PT", "MR": "MR", "MRI": "MR"}
_SEQUENCES = ("T1", "T2", "FLAIR", "ADC", "DWI")

T = TypeVar("T")


def modality_of(channel: str) -> str | None:
    """DICOM's modality for a channel's name, e.g. ``"PT"`` for ``"PET"``; None where the name does not say it."""
    name = channel.upper()
    return _MODALITIES.get(name, "MR" if name.startswith(_SEQUENCES) else None)


def by_number(names: Sequence[str], given: Iterable[tuple[str, T]], model: str) -> dict[int, T]:
    """What is given for each further channel, by its number from 1.

    Args:
        names: of the model's channels; empty for a model of one.
        given: pairs of a channel's name, in any case, or its number, and what is given for it.
        model: id, for messages.

    Raises:
        UsageError: a channel is unknown, missing or given twice.
    """
    found: dict[int, T] = {}
    listed = ", ".join(f"{name} ({number})" for number, name in enumerate(names))
    for key, value in given:
        if len(names) < 2:
            raise UsageError(
                f"The model {model} takes one volume, but another one is given for the channel {key}.",
                "Leave it out, or choose a model with several channels.",
                code="usage.channel",
            )
        number = _number(names, key)
        if number is None:
            raise UsageError(
                f"The model {model} has no channel {key}.", f"Its channels are {listed}.", code="usage.channel"
            )
        if number == 0 or number in found:
            first = ": it is the volume itself" if number == 0 else ""
            raise UsageError(
                f"The channel {names[number]} is given twice{first}.",
                f"Give one volume for each channel: {listed}.",
                code="usage.channel",
            )
        found[number] = value
    for number, name in list(enumerate(names))[1:]:
        if number not in found:
            raise UsageError(
                f"The model {model} also needs a volume for the channel {name}.",
                f"Give one volume for each channel: {listed}.",
                code="usage.channel",
                action="give_channel",
                channel=name,
            )
    return dict(sorted(found.items()))


def _number(names: Sequence[str], key: str) -> int | None:
    known = {name.casefold(): number for number, name in reversed(list(enumerate(names)))}
    known |= {str(number): number for number in range(len(names))}
    return known.get(key.casefold())


def covered(volume: Volume, other: Volume) -> float:
    """The share of a volume, 0 to 1, that another one covers; measured at points on a lattice."""
    k, j, i = (np.unique(np.linspace(0, n - 1, min(n, _LOOK)).round()) for n in volume.shape_kji)
    points = np.stack(np.meshgrid(i, j, k), -1).reshape(-1, 3)
    there = ras_to_ijk(ijk_to_ras_points(points, volume.ijk_to_ras), other.ijk_to_ras)
    return float(((there >= -0.5) & (there <= np.array(other.shape_ijk) - 0.5)).all(1).mean())


def on_grid_of(volume: Volume, other: Volume, name: str) -> tuple[VolumeArray, list[str]]:
    """The voxels of a further channel on a volume's grid, linearly interpolated in space.

    Args:
        name: of the channel.

    Returns:
        (K, J, I) float32, or the array itself if the grids are the same, with the channel's lowest value where it has
        no voxels; and warnings, one sentence each.

    Raises:
        InputError: the two do not overlap.
    """
    if on_same_grid(other, volume):
        return other.array, []
    share, fill = covered(volume, other), float(other.array.min())
    if share == 0:
        raise InputError(
            f"{other.name} ({name}) does not overlap {volume.name}: the two lie at different places.",
            "Choose volumes of the same patient and examination, or register them first.",
            code="input.overlap",
        )
    warnings = []
    if share < LITTLE:
        warnings.append(
            f"{other.name} ({name}) covers only {share:.0%} of {volume.name}; elsewhere its lowest value ({fill:g}) is "
            "used."
        )
    import SimpleITK as sitk

    from .itk import sitk_image

    grid = sitk_image(np.empty((1, 1, 1), np.int16), volume.ijk_to_ras)
    image = sitk.Resample(
        sitk_image(other.array, other.ijk_to_ras),
        [int(n) for n in volume.shape_ijk],
        outputOrigin=grid.GetOrigin(),
        outputSpacing=grid.GetSpacing(),
        outputDirection=grid.GetDirection(),
        defaultPixelValue=fill,
        outputPixelType=sitk.sitkFloat32,
    )
    return sitk.GetArrayFromImage(image), warnings
