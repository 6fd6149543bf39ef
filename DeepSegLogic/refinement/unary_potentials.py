"""Evidence: for each voxel around a prompt, the log odds that it is wrong like the marked voxels.

The evidence is what distinguishes the marked voxels from those that the labels have right:

* **appearance**: how much more often a grey value occurs among the marked voxels (and in the structure that they become
  part of, as far as they look like it) than among the other voxels that could change. Histograms of few voxels are
  shrunk towards the others' (a Dirichlet prior), so what looks the same gives no evidence, however much is marked;
* **likeness**: marked voxels that look like what they will become show that more than them is wrong;
* **shape**: holes, gaps and dents of what the marked voxels will become, as far as they look like it;
* **the network**, where it believed less in the prompt than where it was drawn.

It is set against a cost, which begins with the odds that an unmarked voxel is wrong, and grows with the geodesic
distance from the marked voxels: paths through grey values unlike theirs are longer (Criminisi et al., GeoS, ECCV 2008).
Without evidence only the cost remains, and nothing but the marked voxels changes.

Lengths are in units of the error's size or of voxels, and grey values are ranks, so neither the resolution nor the
scale of grey values matters. Ranks stretch contrasts where most grey values are, but not so far that the noise of air
would be evidence. docs/notes/refine.md says how the numbers were chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..data.types import FloatArray, MaskArray, ScalarArray
from .prompt_context import Float32s, PromptContext, bell
from .voxel_filters import distance_to, filled, gaussian


@dataclass(frozen=True)
class Weights:
    """Weights of the evidence, in log odds, for prompts of one sign.

    Attributes:
        start: cost of a voxel beside the marked ones.
        slope: cost of the logarithm of one plus the geodesic distance, in sizes of the error.
        appearance: factor of the log likelihood ratio of the grey value.
        gap: of a voxel in a hole or gap that looks like what surrounds it.
        around: of a voxel that is surrounded by what the marked voxels will become.
        alike: of every voxel, if the marked ones look like what they will become: then more than them is wrong.
    """

    start: float
    slope: float
    appearance: float
    gap: float
    around: float
    alike: float


# By the prompt's sign. A removed voxel was in the structure, most of which is right.
WEIGHTS = {True: Weights(1.9, 2.64, 1.0, 1.6, 6.0, 3.8), False: Weights(1.2, 1.5, 1.0, 0.5, 7.0, 1.0)}
LIKELY = 3.0  # largest log likelihood ratio of one voxel
LEAST_SIZE = 3.0  # of an error, in voxels
SHRINKAGE = 30.0  # voxels that the marked ones must outnumber for their own grey values to count
FAR = {True: 4.0, False: 3.0}  # error sizes within which all influence ends, except in gaps, by the prompt's sign
END = 10.0  # cost there, growing as the sixth power of the distance
CORRELATION_MM = {True: 9.0, False: 4.0}  # length over which the network's error decays, by the prompt's sign
SURE = 1.0  # log odds of the prompt's own voxel afterwards
AGAINST = 0.5  # weight of log odds that are lower than at the prompt
LARGEST_ERROR = 3.0  # log odds: where the network saw nothing, it has nothing to say nearby either
DISTINCT = 1.0  # mean log likelihood ratio of what is right above which grey values need the other evidence less
LENIENT = 1.5  # log odds that marked voxels look like what they become, where they look as much like the others
UNLIKE, MOST_UNLIKE = 0.7, 8.0  # how much a standard deviation of the noise lengthens a path, and the most that count
CERTAIN = 1.5  # log likelihood ratio above which unlike grey values lengthen a path less
STRETCH = 4.0  # largest contrast of ranks, as a multiple of that of evenly spread grey values
_BINS, _BLUR = 48, 2.5  # of grey value histograms: number, and standard deviation of their smoothing
FURTHEST = 12.0  # geodesic distance, in error sizes


def unary_potentials(context: PromptContext, positive: bool) -> tuple[ScalarArray, ScalarArray]:
    """Log odds that a voxel changes with the seeds, meaningless outside the candidates; and its geodesic distance from
    the seeds, in sizes of the error, infinite where all influence ends. Both are float32 (K, J, I)."""
    weights, voxel, distance = WEIGHTS[positive], context.voxel, context.distance
    size = max(context.scale, LEAST_SIZE * voxel)
    far = (1 - bell(distance / (1.5 * size))) * context.candidates
    if far.sum() < SHRINKAGE:  # nothing is known to be right
        far = context.candidates.astype(np.float32)
    likely, alike = _appearance(context, far, size)
    gap = _gap(context, size)
    around = gaussian(context.goal.astype(np.float32), np.minimum(size / context.spacing, 4), 2.5)
    shape = weights.gap * gap + weights.around * around
    shape -= np.average(shape, weights=far)  # a thin structure has such shapes where it is right
    unlike = UNLIKE * _difference(context) * np.exp(-2 * np.maximum(likely - CERTAIN, 0))
    unlike[gap & (likely > -0.5)] = -0.9  # a gap is filled however wide it is
    furthest = np.where(gap, context.radius, min(context.radius, FAR[positive] * size))
    steps = _geodesic(context, unlike, distance <= furthest, FURTHEST * size) / size
    distinct = max(-float(np.average(likely, weights=far)) - DISTINCT, 0)
    evidence = weights.appearance * likely + alike * (shape + weights.alike - distinct)
    cost = weights.start + weights.slope * np.log1p(np.minimum(steps, FURTHEST))
    odds: ScalarArray = np.asarray(evidence - cost, np.float32)
    if context.prior is not None:
        known, shown = _network(context, context.prior)
        odds += AGAINST * np.minimum(known - shown, 0)
    odds -= END * (distance / furthest) ** 6
    return odds, steps


def _appearance(context: PromptContext, far: Float32s, size: float) -> tuple[Float32s, float]:
    """The log likelihood ratio of each voxel's grey value, (K, J, I): of the error to what is right; and how probable
    it is that the seeds look like the goal rather than like the other candidates."""
    rank, voxel, distance = _ranks(context), context.voxel, context.distance
    near = bell(distance / (1.2 * voxel)) * context.candidates
    around = bell(distance / (size + 10 * voxel)) * context.goal
    bins = np.rint(rank).astype(np.int64).ravel()
    marked, rest, goal = (_histogram(bins, weight) for weight in (near, far, around))
    known = around.sum() >= SHRINKAGE
    if not known:  # a new structure looks like what is marked
        goal = marked
    ratio = np.clip(np.log(goal / rest), -LIKELY, LIKELY)
    apart = 3 * float((marked * ratio).sum())
    alike = 1 / (1 + np.exp(-apart - LENIENT)) if known else float(0.8 * np.tanh(apart / 2))
    count = float(near.sum())
    expected = alike * goal + (1 - alike) * rest
    error = (count * marked + SHRINKAGE * expected) / (count + SHRINKAGE)
    likely = np.clip(np.log(error / rest), -LIKELY, LIKELY)
    return np.interp(rank, np.arange(_BINS), likely).astype(np.float32), alike


def _difference(context: PromptContext) -> Float32s:
    """How far each voxel's grey value is from the middle half of the seeds', (K, J, I), in standard deviations of the
    noise."""
    grey = context.smoothed
    low, high = np.quantile(grey[context.seeds], (0.25, 0.75))
    outside = np.maximum(np.maximum(low - grey, grey - high), 0)
    return np.asarray(np.minimum(outside / context.noise, MOST_UNLIKE), np.float32)


def _ranks(context: PromptContext) -> Float32s:
    """Grey values as ranks among the voxels around the prompt, (K, J, I), 0 to ``_BINS``, with limited contrast.

    Where most of the voxels are air, the others would share a few ranks, and the noise of the air would get the rest.
    So close grey values stay close (contrast-limited equalization; Pizer et al., Adaptive Histogram Equalization and
    Its Variations, CVGIP 1987).
    """
    grey = context.with_edges
    known = grey[context.candidates | context.goal]
    places = np.array([*np.linspace(0, 1, _BINS), 0.02, 0.98]) * (len(known) - 1)  # the last two: without metal
    *grid, low, high = np.interp(places, np.arange(len(known)), np.sort(known))
    levels, places = np.unique(grid, return_index=True)
    most = STRETCH * _BINS * np.diff(levels) / max(high - low, 1e-6)
    steps = np.minimum(np.diff(places), most)
    return np.asarray(np.interp(grey, levels, np.append(0, np.cumsum(steps))), np.float32)


def _histogram(bins: npt.NDArray[np.int64], weights: Float32s) -> FloatArray:
    """Smoothed relative frequencies of whole ranks; none is zero."""
    counts = np.bincount(bins, weights.ravel(), _BINS) + 1e-9
    counts = gaussian((counts / counts.sum())[:, None, None], (_BLUR, 0, 0)).ravel()
    return np.asarray((counts + 0.002) / (counts + 0.002).sum())


def _gap(context: PromptContext, size: float) -> MaskArray:
    """Candidates in holes and gaps of the goal: enclosed by it, or in its morphological closing by a ball slightly
    larger than the error."""
    if not context.goal.any():
        return np.zeros_like(context.goal)
    radius = max(1.15 * size, 1.01 * context.spacing.max())
    reached = distance_to(context.goal, context.spacing, radius) <= radius
    closed = distance_to(~reached, context.spacing, radius) > radius
    return np.asarray((filled(context.goal) | closed) & context.candidates)


def network_error(context: PromptContext, prior: ScalarArray, positive: bool) -> ScalarArray:
    """The network's log odds that a voxel changes, corrected around the prompt by their error there.

    A prompt shows the log odds that the network lacked at it. This error is taken to be correlated nearby and to decay
    with distance, as in kriging (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapter 2).
    """
    known, shown = _network(context, prior)
    distance, reach = context.distance, CORRELATION_MM[positive]
    error = np.clip(SURE - shown, 0, LARGEST_ERROR)
    # Where the network is sure but the labels disagree, the user removed something: undecided, not likely.
    odds = np.minimum(known, 0) + error * bell(distance / reach)
    odds[distance > 1.5 * reach] = -20
    return np.asarray(odds)


def _network(context: PromptContext, prior: ScalarArray) -> tuple[ScalarArray, float]:
    """The network's log odds for what the prompt says, and their mean at the prompt."""
    known = log_odds_of(prior)
    return known, float(known[context.seeds].mean())


def log_odds_of(prior: ScalarArray) -> ScalarArray:
    """The log odds of stored probabilities, float32."""
    p = np.clip(prior, 0.004, 0.996)  # they are stored in 255 steps
    return np.asarray(np.log(p / (1 - p)))


def _geodesic(context: PromptContext, unlike: Float32s, inside: MaskArray, furthest: float) -> ScalarArray:
    """Geodesic distance from the seeds through candidates inside, in mm; infinite beyond the furthest. A path is longer
    where its voxels are less like the seeds (fast marching; Sethian, PNAS 1996)."""
    import SimpleITK as sitk

    speed = sitk.GetImageFromArray(np.where(context.candidates & inside, 1 / (1 + unlike), 0).astype(np.float32))
    speed.SetSpacing([float(s) for s in context.spacing[::-1]])
    march = sitk.FastMarchingImageFilter()
    march.SetTrialPoints(np.argwhere(context.seeds)[:, ::-1].tolist())
    march.SetStoppingValue(furthest)
    found = sitk.GetArrayFromImage(march.Execute(speed))
    return np.where(found < furthest, found, np.float32(np.inf))
