"""What can be said of a volume before it is segmented."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from ..errors import InputError, ResourceError
from ..models.card import ModelCard
from ..volume import Volume
from ..volume_checks import ct_doubts, reject_unusable
from ..volume_fixes import COARSE_MM, FINE_MM, FINE_TO_MM, body_share, cropped_to_body, resampled

LARGE_VOXELS = 512 * 512 * 800
MOSTLY_AIR = 0.5  # share of the voxels around the body
WORTH_CROPPING = 0.8


class WayOut(Enum):
    """What can be done about a note at the press of a button. The value is the button's text."""

    CROP = "Crop to the body"
    RESAMPLE = "Resample"

    def apply(self, volume: Volume) -> Volume:
        """A new volume whose name says what was done, see :mod:`DeepSegLogic.volume_fixes`."""
        change, ending = {WayOut.CROP: (cropped_to_body, "cropped"), WayOut.RESAMPLE: (resampled, "resampled")}[self]
        return replace(change(volume), name=f"{volume.name} {ending}")


@dataclass(frozen=True)
class Note:
    """Something to know about the input, and what to do. ``blocking``: it cannot be segmented as it is."""

    text: str
    remedy: str = ""
    blocking: bool = False
    way_out: WayOut | None = None


@dataclass(frozen=True)
class Preflight:
    """Facts of a volume in one line, and notes, the blocking ones first."""

    facts: str = ""
    notes: tuple[Note, ...] = field(default_factory=tuple)

    @property
    def ready(self) -> bool:
        """Whether nothing stands in the way."""
        return bool(self.facts) and not any(note.blocking for note in self.notes)

    @property
    def ways_out(self) -> list[WayOut]:
        """Those of the notes, each once."""
        return [way for way in WayOut if any(note.way_out is way for note in self.notes)]


def preflight(volume: Volume | None, card: ModelCard | None = None, shortage: ResourceError | None = None) -> Preflight:
    """Look at a volume with the eyes of a model.

    Args:
        shortage: why an estimate or a run found too little memory for it.
    """
    if volume is None:
        return Preflight()
    try:
        greys = reject_unusable(volume)
    except InputError as error:
        return Preflight(_facts(volume), (Note(error.message, error.remedy, blocking=True),))
    notes = []
    if card is not None and card.modality == "CT":
        reasons, doubts = ct_doubts(volume, greys)
        notes += [Note(r, "Choose a CT in HU, or tick 'Segment anyway' if you are sure.", True) for r in reasons]
        notes += [Note(d) for d in doubts]
    elif card is not None and card.modality == "MR" and volume.modality == "CT":
        notes.append(Note(f"The model {card.id} is for MR, the volume is a CT.", "Choose a model for CT."))
    notes += [Note(sentence) for sentence in volume.warnings]
    return Preflight(_facts(volume), (*notes, *_size_notes(volume, shortage), *_geometry_notes(volume)))


def _facts(volume: Volume) -> str:
    size = "×".join(str(n) for n in volume.shape[::-1])
    spacing = " × ".join(f"{s:.3g}" for s in volume.spacing)
    extent = " × ".join(f"{n * s / 10:.0f}" for n, s in zip(volume.shape[::-1], volume.spacing, strict=True))
    modality = volume.modality or "modality not stated"
    return f"{modality} · {size} voxels of {spacing} mm · {volume.orientation} · {extent} cm"


def _geometry_notes(volume: Volume) -> list[Note]:
    notes = []
    spacing, extent = volume.spacing, volume.spacing * volume.shape[::-1]
    if spacing.max() > COARSE_MM:
        notes.append(
            Note(
                f"Voxels are {spacing.max():.3g} mm thick: small structures will be missed.",
                "Load a thinner series; or resample, for smoother shapes but no more detail.",
                way_out=WayOut.RESAMPLE,
            )
        )
    if min(volume.shape) < 8 or extent.min() < 30:
        notes.append(
            Note(f"The volume is only {extent.min():.0f} mm thick: models know whole organs.", "Load more slices.")
        )
    directions = np.abs(volume.ijk_to_ras[:3, :3] / spacing)
    tilt = np.degrees(np.arccos(np.clip(directions.max(0), 0, 1))).max()
    if tilt > 15:
        notes.append(Note(f"The volume is turned by {tilt:.0f}° against the patient's axes: results may be poorer."))
    return notes


def _size_notes(volume: Volume, shortage: ResourceError | None) -> list[Note]:
    """More voxels than there is memory or need for."""
    share, large = body_share(volume), volume.array.size > LARGE_VOXELS
    smaller = WayOut.CROP if share < WORTH_CROPPING else WayOut.RESAMPLE if volume.spacing.min() < FINE_MM else None
    remedy = {
        WayOut.CROP: "Crop it to the body.",
        WayOut.RESAMPLE: f"Resample it to {FINE_TO_MM:g} mm.",
        None: "Crop it to what you need.",
    }[smaller]
    if shortage is not None:
        return [Note(shortage.message, remedy if smaller else shortage.remedy, way_out=smaller)]
    if large:
        return [Note("The volume is very large: this takes time and memory.", remedy, way_out=smaller)]
    if share < MOSTLY_AIR:
        return [Note(f"The body fills {share:.0%} of the volume: the rest costs time.", remedy, way_out=smaller)]
    return []
