"""What an enhancement changed: the difference on the CT's grid, HU of organs, and structure added or removed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..data.affine import ijk_to_ras_points
from ..data.label_map import LabelMap
from ..data.records import ArrayRecord
from ..data.types import MaskArray, ScalarArray
from ..data.volume import Volume
from ..util.errors import InputError
from ..util.words import anatomical_place_text, counted, signed_text
from .degradations import thickened
from .enhancement import Enhanced

MOST_DRIFT_HU = 5.0
STRUCTURE_HU, STRUCTURE_MM, STRUCTURE_ML = 30.0, 2.0, 0.1  # smaller or fainter changes are noise
_DEVIATIONS = 5.0  # of the smoothed difference, that a structure must exceed too
_STRUCTURE_VOXELS = 4  # that a structure has at least, also where voxels are large
_LEAST_VOXELS = 50  # of an organ whose mean says something
_PADDING_HU = -1024.0


@dataclass(frozen=True)
class Drift:
    """Mean HU of a structure before and after."""

    structure: str
    title: str
    before: float
    after: float

    @property
    def hu(self) -> float:
        """By how much it rose."""
        return self.after - self.before


@dataclass(frozen=True)
class Place:
    """A connected region that an enhancement made brighter or darker.

    Attributes:
        ml: its volume.
        hu: mean change, of the image smoothed over 2 mm.
        ras: its middle, mm.
    """

    ml: float
    hu: float
    ras: tuple[float, float, float]


@dataclass(eq=False, repr=False)
class Changes(ArrayRecord):
    """What an enhancement changed.

    Attributes:
        difference: (K, J, I) HU on the CT's grid: what a scanner would see of the enhanced CT, minus the CT.
        noise_before, noise_after: HU, standard deviation of what is finer than 2 mm in the body, robustly.
        drifts: of the structures, the largest first.
        places: of structure added (``hu`` above 0) or removed, the largest first.
    """

    difference: ScalarArray
    noise_before: float
    noise_after: float
    drifts: list[Drift] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)

    @property
    def warnings(self) -> list[str]:
        """One sentence for each reason not to trust the enhanced CT."""
        far = [d for d in self.drifts if abs(d.hu) >= MOST_DRIFT_HU]
        told = []
        if far:
            worst = ", ".join(f"{d.title} {signed_text(d.hu, '.0f')} HU" for d in far[:3])
            told.append(
                f"Enhancing changed the mean HU of {counted(len(far), 'structure')} by {MOST_DRIFT_HU:g} HU or more: "
                f"{worst}."
            )
        for word, places in (("added", [p for p in self.places if p.hu > 0]), ("removed", self.lost)):
            if places:
                told.append(
                    f"Enhancing {word} structure in {counted(len(places), 'place')}, "
                    f"{sum(p.ml for p in places):.1f} ml; the largest is {places[0].ml:.1f} ml "
                    f"at {anatomical_place_text(places[0].ras)}."
                )
        return told

    @property
    def lost(self) -> list[Place]:
        """Places that became darker."""
        return [p for p in self.places if p.hu < 0]


def changes(before: Volume, enhanced: Enhanced, label_map: LabelMap | None = None) -> Changes:
    """Compare a CT with its enhanced version.

    Thinner slices are averaged over the old thickness first: what is between the scanned slices cannot be checked.

    Args:
        label_map: structures on the CT's grid whose mean HU is compared.

    Raises:
        InputError: the volumes or the label map do not lie on the same grid.
    """
    after = enhanced.volume.array.astype(np.float32)
    if enhanced.factor > 1:
        after = thickened(after, enhanced.factor, enhanced.axis)
    others = [after.shape, *([label_map.array.shape] if label_map is not None else [])]
    if any(shape != before.array.shape for shape in others):
        raise InputError(
            f"{before.name}, its enhanced version and the structures do not lie on the same grid.",
            "Choose those that belong together.",
            code="input.grid",
        )
    old = before.array.astype(np.float32)
    body = old > _PADDING_HU + 24
    difference = np.where(old < _PADDING_HU, 0, after - old)
    return Changes(
        difference,
        _noise(old, before, body),
        _noise(after, before, body),
        _drifts(old, after, label_map) if label_map is not None else [],
        _places(difference, before, body),
    )


def _smoothed(array: ScalarArray, volume: Volume) -> ScalarArray:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(array, STRUCTURE_MM / volume.spacing_kji, truncate=3.0), np.float32)


def _spread(values: ScalarArray) -> float:
    """Standard deviation, robust against outliers."""
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if values.size else 0.0


def _noise(array: ScalarArray, volume: Volume, body: MaskArray) -> float:
    soft = body & (np.abs(array) < 200)
    return _spread((array - _smoothed(array, volume))[soft])


def _drifts(before: ScalarArray, after: ScalarArray, label_map: LabelMap) -> list[Drift]:
    found = []
    for layer in label_map.layers or [label_map]:
        flat, size = layer.array.ravel(), int(layer.array.max(initial=0)) + 1
        counts = np.bincount(flat, minlength=size)
        sums = [np.bincount(flat, array.ravel(), minlength=size) for array in (before, after)]
        for s in layer.structures:
            if s.value < size and counts[s.value] >= _LEAST_VOXELS:
                old, new = (float(total[s.value] / counts[s.value]) for total in sums)
                found.append(Drift(s.name, s.title, old, new))
    return sorted(found, key=lambda d: -abs(d.hu))


def _places(difference: ScalarArray, volume: Volume, body: MaskArray) -> list[Place]:
    from scipy.ndimage import center_of_mass, label, mean

    smooth = _smoothed(difference, volume)
    least = max(STRUCTURE_HU, _DEVIATIONS * _spread(smooth[body]))
    found = []
    for sign in (1, -1):
        parts, count = label((sign * smooth > least) & body)
        sizes = np.bincount(parts.ravel(), minlength=count + 1) * volume.voxel_ml
        least_ml = max(STRUCTURE_ML, _STRUCTURE_VOXELS * volume.voxel_ml)
        large = [n for n in range(1, count + 1) if sizes[n] >= least_ml]
        if not large:
            continue
        middles = np.array(center_of_mass(parts > 0, parts, large))[:, ::-1]
        points = ijk_to_ras_points(middles, volume.ijk_to_ras)
        for n, hu, (r, a, s) in zip(large, mean(smooth, parts, large), points.tolist(), strict=True):
            found.append(Place(float(sizes[n]), float(hu), (r, a, s)))
    return sorted(found, key=lambda p: -p.ml)
