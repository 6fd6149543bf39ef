"""Checks of a volume before it is segmented, and what can be done about what they find."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from ..classify import Scan
from ..data.volume import Volume
from ..data.volume_checks import ct_doubts, reject_unusable
from ..data.volume_fixes import COARSE_MM, FINE_MM, FINE_TO_MM, body_share, cropped_to_body, resampled
from ..models.card import ModelCard
from ..util.errors import InputError, ResourceError
from ..util.i18n import mark as N_
from ..util.i18n import tr as _
from .scan_texts import doubts, shown

LARGE_VOXELS = 512 * 512 * 800
MOSTLY_AIR = 0.5  # share of the voxels around the body
WORTH_CROPPING = 0.8


class WayOut(Enum):
    """What can be done about a note at the press of a button. The value, translated, is the button's text."""

    CROP = N_("Crop to body")
    RESAMPLE = N_("Resample")

    def apply(self, volume: Volume) -> Volume:
        """A new volume whose name says what was done, see :mod:`DeepSegLogic.data.volume_fixes`."""
        change, ending = {WayOut.CROP: (cropped_to_body, "cropped"), WayOut.RESAMPLE: (resampled, "resampled")}[self]
        return replace(change(volume), name=f"{volume.name} {ending}")


@dataclass(frozen=True)
class Note:
    """A warning about the input, and what to do. ``blocking``: it cannot be segmented as it is."""

    text: str
    remedy: str = ""
    blocking: bool = False
    way_out: WayOut | None = None


@dataclass(frozen=True)
class Preflight:
    """Facts of a volume in one line, what it shows in another, and notes, the blocking ones first."""

    facts: str = ""
    notes: tuple[Note, ...] = field(default_factory=tuple)
    shows: str = ""

    @property
    def ready(self) -> bool:
        """Whether nothing blocks a run."""
        return bool(self.facts) and not any(note.blocking for note in self.notes)

    @property
    def ways_out(self) -> list[WayOut]:
        """Those of the notes, each once."""
        return [way for way in WayOut if any(note.way_out is way for note in self.notes)]


def preflight(
    volume: Volume | None,
    card: ModelCard | None = None,
    shortage: ResourceError | None = None,
    scan: Scan | None = None,
) -> Preflight:
    """Check a volume for a model.

    Args:
        shortage: why an estimate or a run had too little memory for it.
        scan: what the volume is, see :func:`DeepSegLogic.classify.what_is`; None if nobody looked.
    """
    if volume is None:
        return Preflight()
    try:
        greys = reject_unusable(volume)
    except InputError as error:
        return Preflight(_facts(volume), (Note(error.message, error.remedy, blocking=True),))
    notes = []
    if card is not None and card.modality == "CT":
        reasons, hints = ct_doubts(volume, greys)
        notes += [Note(r, _("Choose a CT in HU, or segment it anyway if you are sure."), True) for r in reasons]
        notes += [Note(hint) for hint in hints]
    elif card is not None and card.modality == "MR" and volume.modality == "CT":
        notes.append(
            Note(_("The model {} is for MR, but the volume is a CT.").format(card.id), _("Choose a model for CT."))
        )
    notes += [Note(sentence) for sentence in volume.warnings]
    if scan is not None:
        model = (card.title, card.structures) if card is not None else ("", ())
        notes += [Note(text, remedy) for text, remedy in doubts(scan, *model)]
    every = (*notes, *_size_notes(volume, shortage), *_geometry_notes(volume))
    return Preflight(_facts(volume), every, shown(scan) if scan is not None else "")


def _facts(volume: Volume) -> str:
    size = "×".join(str(n) for n in volume.shape_ijk)
    spacing = " × ".join(f"{s:.3g}" for s in volume.spacing_ijk)
    extent = " × ".join(f"{n * s / 10:.0f}" for n, s in zip(volume.shape_ijk, volume.spacing_ijk, strict=True))
    facts = {"modality": volume.modality or _("Unknown modality"), "size": size, "spacing": spacing}
    return _("{modality} · {size} voxels of {spacing} mm · {orientation} · {extent} cm").format(
        **facts, orientation=volume.orientation, extent=extent
    )


def _geometry_notes(volume: Volume) -> list[Note]:
    notes = []
    spacing, extent = volume.spacing_ijk, volume.spacing_ijk * volume.shape_ijk
    if spacing.max() > COARSE_MM:
        notes.append(
            Note(
                _("Slices are {:.3g} mm thick: small structures will be missed.").format(spacing.max()),
                _("Load a series with thinner slices. Resampling makes shapes smoother, but adds no detail."),
                way_out=WayOut.RESAMPLE,
            )
        )
    if min(volume.shape_kji) < 8 or extent.min() < 30:
        notes.append(
            Note(
                _("The volume is only {:.0f} mm thick: models expect whole organs.").format(extent.min()),
                _("Load more slices."),
            )
        )
    directions = np.abs(volume.ijk_to_ras[:3, :3] / spacing)
    tilt = np.degrees(np.arccos(np.clip(directions.max(0), 0, 1))).max()
    if tilt > 15:
        text = _("The volume is tilted by {:.0f}° against the patient's axes: results may be less accurate.")
        notes.append(Note(text.format(tilt)))
    return notes


def _size_notes(volume: Volume, shortage: ResourceError | None) -> list[Note]:
    """Notes on more voxels than memory allows or the model needs."""
    share, large = body_share(volume), volume.array.size > LARGE_VOXELS
    smaller = WayOut.CROP if share < WORTH_CROPPING else WayOut.RESAMPLE if volume.spacing_ijk.min() < FINE_MM else None
    remedy = {
        WayOut.CROP: _("Crop it to the body."),
        WayOut.RESAMPLE: _("Resample it to {:g} mm.").format(FINE_TO_MM),
        None: _("Crop it to the region that you need."),
    }[smaller]
    if shortage is not None:
        return [Note(shortage.message, remedy if smaller else shortage.remedy, way_out=smaller)]
    if large:
        return [Note(_("The volume is very large: this needs much time and memory."), remedy, way_out=smaller)]
    if share < MOSTLY_AIR:
        return [Note(_("The body fills only {:.0%} of the volume.").format(share), remedy, way_out=smaller)]
    return []
