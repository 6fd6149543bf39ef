"""What ``--roi``, ``--roi-mask`` and ``--channel`` mean, for all commands that segment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..data.types import LabelArray
    from ..data.volume import Volume
    from ..models import ModelCard


def box_of(text: str, mask: Path | None) -> list[float] | None:
    """The box of ``--roi``; None if it is not given.

    Raises:
        UsageError: it is not a box, or a mask is given, too.
    """
    from ..util.errors import UsageError

    if text and mask:
        raise UsageError("Both --roi and --roi-mask are given.", "Give one of them.", code="usage.region")
    if not text:
        return None
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
        raise UsageError(f"--roi {text} is not six numbers.", "Give R1,A1,S1,R2,A2,S2 in mm.", code="usage.region")
    return numbers


def region(volume: Volume, source: Path, box: list[float] | None, mask: Path | None) -> LabelArray | list[float] | None:
    """The region of ``--roi`` or ``--roi-mask``, as :func:`DeepSegLogic.segmentation.segment` takes it."""
    from ..data.records import on_same_grid
    from ..util.errors import InputError
    from ..worker.isolated import read_label_map

    if mask is not None:
        marked = read_label_map(mask, source)  # where structures overlap, the array still covers all of them
        if not on_same_grid(marked, volume, 1e-2):
            raise InputError(
                f"{mask} is not on the grid of {volume.name}.",
                "Draw the region on that volume, or resample the mask to its grid.",
                code="input.region",
            )
        return marked.array
    return box


def channel_files(given: Sequence[str], card: ModelCard) -> dict[str, Path]:
    """The files of ``--channel`` by the number of the channel, as :func:`DeepSegLogic.segmentation.segment` takes it.

    Raises:
        UsageError: a channel is unknown, missing or given twice, or a file is not named.
    """
    from ..data.channels import by_number
    from ..util.errors import UsageError

    pairs = []
    for text in given:
        name, _, path = (part.strip() for part in text.partition("="))
        if not name or not path:
            raise UsageError(
                f"--channel {text} does not name a channel and a file.",
                "Give both, e.g. --channel PET=pet.nii.gz.",
                code="usage.channel",
            )
        pairs.append((name, Path(path).expanduser()))
    return {str(number): path for number, path in by_number(card.channels, pairs, card.id).items()}
