"""Whether volumes look like what a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..data.channels import modality_of, on_grid_of
from ..data.types import VolumeArray
from ..data.volume import Volume
from ..data.volume_checks import GIVE_THE_CT, SEGMENTATION, ct_doubts, reject_unusable
from ..util.errors import InputError
from .card import ModelCard


def check_volume(volume: Volume, card: ModelCard, force: bool) -> list[str]:
    """Check whether a volume looks like what the model was trained on.

    Returns:
        warnings, one sentence each.

    Raises:
        InputError: it does not, and ``force`` is False; or no model can use it.
    """
    greys = reject_unusable(volume)
    if card.modality != "CT":
        return []
    reasons, doubts = ct_doubts(volume, greys)
    if SEGMENTATION in reasons and not force:
        raise InputError(
            f"{volume.name} is not a CT. {SEGMENTATION}",
            GIVE_THE_CT,
            code="input.segmentation",
            action="make_surfaces",
        )
    if reasons and not force:
        raise InputError(
            f"{volume.name} does not look like a CT in HU. {' '.join(reasons)}",
            f"The model {card.id} was trained on CT. Choose a CT, or segment it anyway if you are sure.",
            code="input.modality",
            action="go_on_anyway",
        )
    return reasons + doubts


def channels_on_grid(
    volume: Volume, others: Mapping[int, Volume], card: ModelCard, force: bool
) -> tuple[list[VolumeArray], list[str]]:
    """Check the volumes of a model's further channels, and put them on the grid of the first one.

    Args:
        others: by number of the channel, see :func:`~DeepSegLogic.data.channels.by_number`.

    Returns:
        their voxels, (K, J, I), in the order of the channels; and warnings, one sentence each.

    Raises:
        InputError: one does not overlap the first volume, no model can use it, or it does not look like its channel
            and ``force`` is False.
    """
    arrays: list[VolumeArray] = []
    warnings: list[str] = []
    for number, other in others.items():
        name = card.channels[number]
        modality = modality_of(name)
        warnings += [*other.warnings, *check_volume(other, replace(card, modality=modality), force)]
        if modality not in (None, "CT") and other.modality not in (None, modality) and not force:
            raise InputError(
                f"{other.name} is given for the channel {name}, but its header says {other.modality}.",
                f"Choose the {name}, or segment it anyway if you are sure.",
                code="input.modality",
                action="go_on_anyway",
            )
        array, doubts = on_grid_of(volume, other, name)
        arrays.append(array)
        warnings += doubts
    return arrays, warnings
