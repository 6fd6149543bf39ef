"""Places worth a look first, from anatomy and from the run's confidence."""

from __future__ import annotations

import csv
import itertools
import re
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..geometry import ijk_to_ras_points
from ..labels import LabelMap, Structure
from ..resources import resource_path

LOW_CONFIDENCE = 0.6
FAR_MM = 15.0  # a piece this far from the main one is suspect ...
FAR_ML = 0.2  # ... unless it is a speck
DOUBLED = 0.3  # a second piece of this share of the first
IN_PIECES = (  # by nature, or where the border of the scan cuts them
    *("small_bowel", "colon", "costal_cartilages", "ribs", "ribs_left", "ribs_right", "lung_left", "lung_right"),
    *("portal_vein_and_splenic_vein", "pulmonary_vein", "vertebrae", "skull", "stomach"),
)
_SPINE = [*(f"C{n}" for n in range(1, 8)), *(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6)), "S1"]
_SIDES = re.compile(r"(?<![a-z])(left|right)(?![a-z])")


@dataclass(frozen=True)
class Finding:
    """A place to look at.

    Attributes:
        kind: ``"swapped"``, ``"order"``, ``"missing"``, ``"volume"``, ``"doubled"``, ``"far"`` or
            ``"confidence"``.
        structure: name of the structure that it is about.
        reason: a sentence for the user.
        ras: where to look, in mm.
    """

    kind: str
    structure: str
    reason: str
    ras: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class _Piece:
    ml: float
    centre: np.ndarray  # RAS
    at: np.ndarray  # RAS of the voxel nearest to the centre
    gap_mm: float  # to the largest piece


def review(label_map: LabelMap, confidence: dict[str, float] | None = None) -> list[Finding]:
    """What to look at, most telling first.

    Args:
        confidence: mean probability by structure name, as a run gives it.
    """
    from scipy.ndimage import find_objects

    boxes = dict(enumerate(find_objects(label_map.array), start=1))  # one pass for all structures
    found = {s.name: (s, _pieces_of(label_map, s, boxes.get(s.value))) for s in label_map.structures}
    found = {name: (s, pieces) for name, (s, pieces) in found.items() if pieces}
    findings = [
        *_swapped(found),
        *_out_of_order(found),
        *_missing(found, label_map),
        *_sized(found, boxes, label_map.array.shape),
        *(f for s, pieces in found.values() for f in _apart(s, pieces)),
    ]
    low = [(confidence[n], n) for n in found if confidence and confidence.get(n, 1.0) < LOW_CONFIDENCE]
    for value, name in sorted(low):
        structure, pieces = found[name]
        sentence = f"{structure.title}: the model was unsure (mean confidence {value:.2f})."
        findings.append(_finding("confidence", structure, sentence, pieces[0]))
    return findings


def _finding(kind: str, structure: Structure, reason: str, piece: _Piece) -> Finding:
    return Finding(kind, structure.name, reason, tuple(float(x) for x in piece.at))


def _pieces_of(label_map: LabelMap, structure: Structure, box) -> list[_Piece]:
    """The largest of the face-connected pieces, then those that are no specks, largest first."""
    from scipy.ndimage import distance_transform_edt, find_objects, label, minimum

    if box is None:
        return []
    mask = label_map.array[box] == structure.value
    pieces, _ = label(mask)
    sizes = np.bincount(pieces.ravel())[1:]
    order = np.argsort(-sizes, kind="stable") + 1
    spacing = label_map.spacing[::-1]
    first = np.array([s.start for s in box])
    large = [n for n in order if n == order[0] or sizes[n - 1] * label_map.voxel_ml >= FAR_ML]
    boxes = find_objects(pieces)
    gaps = [0.0]
    if len(large) > 1:
        gaps = minimum(distance_transform_edt(pieces != order[0], sampling=spacing), pieces, large)
    return [
        _Piece(
            sizes[n - 1] * label_map.voxel_ml,
            *_centre(pieces[boxes[n - 1]] == n, first + [s.start for s in boxes[n - 1]], label_map),
            float(gap),
        )
        for n, gap in zip(large, gaps, strict=True)
    ]


def _centre(piece: np.ndarray, first, label_map: LabelMap) -> tuple[np.ndarray, np.ndarray]:
    """The centre of a piece, and its own voxel that lies nearest to it, in RAS."""
    voxels = np.argwhere(piece) + first
    places = ijk_to_ras_points(voxels[:, ::-1], label_map.ijk_to_ras)
    centre = places.mean(0)
    return centre, places[((places - centre) ** 2).sum(1).argmin()]


def _mirrored(name: str) -> str | None:
    """``"kidney_left"`` for ``"kidney_right"`` and the other way round."""
    side = _SIDES.search(name)
    if side is None:
        return None
    other = "right" if side[1] == "left" else "left"
    return name[: side.start()] + other + name[side.end() :]


def _swapped(found) -> list[Finding]:
    """Pairs whose left one lies to the right of the right one."""
    findings = []
    for name, (structure, pieces) in found.items():
        other = _mirrored(name)
        if "left" not in name or other not in found:
            continue
        if pieces[0].centre[0] > found[other][1][0].centre[0]:
            sentence = f"{structure.title} lies to the right of {found[other][0].title}: the two are swapped."
            findings.append(_finding("swapped", structure, sentence, pieces[0]))
    return findings


def _out_of_order(found) -> list[Finding]:
    """Vertebrae that lie below the next one down."""
    spine = [(n, found[f"vertebrae_{n}"]) for n in _SPINE if f"vertebrae_{n}" in found]
    findings = []
    for (_, (upper, above)), (_, (lower, below)) in itertools.pairwise(spine):
        if above[0].centre[2] <= below[0].centre[2]:
            sentence = f"{upper.title} lies below {lower.title}: the vertebrae are out of order."
            findings.append(_finding("order", upper, sentence, above[0]))
    return findings


def _missing(found, label_map: LabelMap) -> list[Finding]:
    """A vertebra or rib whose neighbours above and below are there; one of a pair whose place the scan shows."""
    findings = []
    series = [[f"vertebrae_{n}" for n in _SPINE], *([f"rib_{s}_{n}" for n in range(1, 13)] for s in ("left", "right"))]
    known = {s.name: s for s in label_map.structures}
    gaps = set()
    for names in series:
        present = [i for i, n in enumerate(names) if n in found]
        for i in range(min(present, default=0), max(present, default=0)):
            if names[i] not in found:
                gaps.add(names[i])
                beside = max(p for p in present if p < i)
                structure, pieces = found[names[beside]]
                title = known[names[i]].title if names[i] in known else names[i]
                sentence = f"{title} is missing between {structure.title} and those that follow."
                findings.append(Finding("missing", names[i], sentence, tuple(map(float, pieces[0].at))))
    middle = _midline(found)
    for name, (structure, pieces) in found.items():
        other = _mirrored(name)
        if other is None or other in found or other in gaps or middle is None:
            continue
        place = pieces[0].centre * [-1, 1, 1] + [2 * middle, 0, 0]
        if _shows(label_map, place):
            sentence = f"{structure.title} has no counterpart on the other side."
            findings.append(Finding("missing", other, sentence, tuple(map(float, place))))
    return findings


def _midline(found) -> float | None:
    """R coordinate of the spine, in mm."""
    spine = [pieces[0].centre[0] for n, (_, pieces) in found.items() if n.startswith(("vertebrae", "spinal_cord"))]
    return float(np.median(spine)) if spine else None


def _shows(label_map: LabelMap, ras: np.ndarray) -> bool:
    from ..geometry import ras_to_ijk

    ijk = ras_to_ijk(ras[None], label_map.ijk_to_ras)[0]
    return bool(((ijk >= 0) & (ijk <= np.array(label_map.array.shape[::-1]) - 1)).all())


@cache
def _volumes() -> dict[str, dict[str, str]]:
    """Plausible volumes of adults' organs by name: ``low_ml``, ``high_ml``, how they come about, and the source."""
    with resource_path("Terminology", "volumes.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def _sized(found, boxes, shape) -> list[Finding]:
    """Organs too small or too large for an adult, of those that the scan shows whole."""
    findings = []
    for name, (structure, pieces) in found.items():
        known = _volumes().get(name)
        if known is None or any(
            s.start == 0 or s.stop == n for s, n in zip(boxes[structure.value], shape, strict=True)
        ):
            continue
        low, high, ml = float(known["low_ml"]), float(known["high_ml"]), sum(p.ml for p in pieces)
        if not low <= ml <= high:
            word = "small" if ml < low else "large"
            sentence = (
                f"{structure.title} is {word} for an adult: {ml:.0f} ml, plausible are {low:.0f} to {high:.0f} ml "
                f"({known['source']})."
            )
            findings.append(_finding("volume", structure, sentence, pieces[0]))
    return findings


def _apart(structure: Structure, pieces: list[_Piece]) -> list[Finding]:
    """Pieces that cannot belong to it: as large as a second organ, or far away."""
    if structure.name in IN_PIECES:
        return []
    findings = []
    twins = [p for p in pieces[1:] if p.ml >= DOUBLED * pieces[0].ml]
    if twins:
        sentence = f"{structure.title} is there twice: pieces of {pieces[0].ml:.1f} and {twins[0].ml:.1f} ml."
        findings.append(_finding("doubled", structure, sentence, twins[0]))
    far = [p for p in pieces[1:] if p not in twins and p.gap_mm > FAR_MM]
    if far:
        others = f", and {len(far) - 1} more" if len(far) > 1 else ""
        sentence = (
            f"A piece of {structure.title} ({far[0].ml:.1f} ml{others}) lies {far[0].gap_mm:.0f} mm from the rest."
        )
        findings.append(_finding("far", structure, sentence, far[0]))
    return findings
