"""Which voxels around a prompt are wrong in the same way as the voxel that it marks: log odds from several cues.

The cues are lengths in units of the size of what is wrong and of voxels, and contrasts in units of the tissue's own
spread, so that neither the resolution nor the scale of grey values matters. Their weights were fitted to Dice after
simulated clicks on two subjects (``Testing/benchmarks/refine.py`` measures it, docs/refine.md tells how).

Where the network's probabilities are known, a prompt also says how far off they are: by the log odds that the network
lacked at the prompt. Around it the network is held to be off by the same, the less the further away, as in kriging
(Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapter 2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

CUES = (
    *("one", "distance", "geodesic distance", "depth by size", "depth by voxel", "like the click", "like the goal"),
    *("unlike the click", "goal beside", "goal around", "edge", "probability"),
)
WEIGHTS = {  # by the sign of the prompt
    True: (0.179, -0.67, -0.217, 0.355, 0.208, 0.183, 0.559, 0.334, 1.247, 0.291, -0.659, 0.5),
    False: (1.773, -0.564, -0.322, -0.06, -0.001, 0.158, 0.613, -0.245, 0.604, 2.135, -0.458, 0.5),
}
FILLING = (1.73, -0.131, 0.0, 0.0, 0.0, 0.0, 0.087, -0.202, 0.098, 0.0, 0.0, 0.5)  # of voxels between goal and goal
WIDE, WIDE_VOXELS = 1.7, 6.0  # all other changes end at so many times the size of what is wrong, or voxels
DEEP = 3.0  # and at so many times that size from the goal: what is wrong cannot be much thicker where it goes on
ALIKE = {True: 7.0, False: 2.0}  # voxels over which the network errs alike, by the sign of the prompt
SURE = 1.0  # log odds that the prompt's own voxel has afterwards
MOST_OFF = 3.0  # log odds that the network is held to be off at most: one that saw nothing tells nothing nearby either
_BINS = 48  # of grey value histograms
_FURTHEST = 60.0  # voxels along geodesic paths


@dataclass(frozen=True, eq=False)
class Scene:
    """What is known around a prompt. All arrays are (K, J, I).

    Attributes:
        image: grey values.
        candidates: voxels that may change.
        seeds: those that must.
        goal: voxels that are already what the seeds are to become.
        spacing: mm along (K, J, I).
        scale: size in mm of what is wrong, as the prompt tells it.
        prior: the network's probability that a voxel is what the seeds are to become; None if not known.
    """

    image: np.ndarray
    candidates: np.ndarray
    seeds: np.ndarray
    goal: np.ndarray
    spacing: np.ndarray
    scale: float
    prior: np.ndarray | None = None

    def coarser(self, steps: np.ndarray) -> Scene:
        """The scene on voxels larger by whole factors along (K, J, I)."""
        from scipy.ndimage import uniform_filter

        thin = tuple(slice(None, None, int(s)) for s in steps)
        seeds = np.zeros_like(self.seeds[thin])
        at = np.minimum(np.argwhere(self.seeds) // steps, np.array(seeds.shape) - 1)
        seeds[tuple(at.T)] = True
        return replace(
            self,
            image=uniform_filter(self.image.astype(np.float32), tuple(steps))[thin],
            candidates=self.candidates[thin] | seeds,
            seeds=seeds,
            goal=self.goal[thin] & ~seeds,
            spacing=self.spacing * steps,
            prior=None if self.prior is None else self.prior[thin],
        )


def evidence(scene: Scene, positive: bool) -> np.ndarray:
    """Log odds that a voxel changes with the seeds: float32 (K, J, I), without meaning outside of the candidates."""
    from scipy.ndimage import distance_transform_edt

    voxel = float(np.prod(scene.spacing)) ** (1 / 3)
    distance = distance_transform_edt(~scene.seeds, sampling=scene.spacing).astype(np.float32)
    values = _cues(scene, distance, scene.scale, voxel)
    total = _weighted(WEIGHTS[positive], values)
    far = distance > max(WIDE * scene.scale, WIDE_VOXELS * voxel)
    total[far | (values[CUES.index("depth by size")] >= DEEP)] = -20
    if positive:  # what a structure lacks between two of its parts is filled however far that reaches sideways
        between = _between(scene)
        total[between] = np.logaddexp(total[between], _weighted(FILLING, values)[between])
    if scene.prior is None:
        return total
    return np.logaddexp(total, _corrected(scene, distance, values, max(ALIKE[positive] * voxel, scene.scale)))


def _corrected(scene: Scene, distance: np.ndarray, values: list[np.ndarray], reach: float) -> np.ndarray:
    """The network's log odds, put right around the prompt by what they lack at it."""
    known = _log_odds(scene.prior)
    off = np.clip(SURE - known[scene.seeds].mean(), 0, MOST_OFF)
    # What the network believes but the labels deny was taken away by the user: it is open, not likely.
    odds = np.minimum(known, 0) + off * _bell(distance / reach)
    odds[(distance > 1.5 * reach) | (values[CUES.index("depth by size")] >= DEEP)] = -20
    return odds


def _weighted(weights, values: list[np.ndarray]) -> np.ndarray:
    total = np.zeros(values[1].shape, np.float32)
    for weight, value in zip(weights, values, strict=True):
        if weight:
            total += np.float32(weight) * value
    return total


def _between(scene: Scene) -> np.ndarray:
    """The morphological closing of the goal by a ball a little larger than what is wrong."""
    from scipy.ndimage import distance_transform_edt

    radius = max(1.15 * scene.scale, 1.01 * scene.spacing.max())
    if not scene.goal.any():
        return np.zeros_like(scene.goal)
    reached = distance_transform_edt(~scene.goal, sampling=scene.spacing) <= radius
    if reached.all():
        return reached
    return distance_transform_edt(reached, sampling=scene.spacing) > radius


def _cues(scene: Scene, distance: np.ndarray, size: float, voxel: float) -> list[np.ndarray]:
    """The values of ``CUES``, each (K, J, I), from distances to the seeds and lengths in mm."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    image, goal = scene.image.astype(np.float32), scene.goal.astype(np.float32)
    depth = np.full(goal.shape, size, np.float32)
    if scene.goal.any():
        depth = distance_transform_edt(~scene.goal, sampling=scene.spacing).astype(np.float32)
    smooth = gaussian_filter(image, 0.7)
    near = _bell(distance / (0.6 * size)) * scene.candidates
    low, high = np.percentile(image[::2, ::2, ::2], [0.5, 99.5])
    mean = np.average(smooth, weights=near)
    spread = np.sqrt(np.average((smooth - mean) ** 2, weights=near)) + max(0.01 * (high - low), 1e-6)
    bins = np.clip((image - low) / max(high - low, 1e-6) * (_BINS - 1), 0, _BINS - 1).astype(np.int16)
    of_click = _histogram(bins, near)
    of_goal = _histogram(bins, goal * _bell(distance / (3 * size + 10))) if scene.goal.any() else of_click
    of_rest = _histogram(bins, scene.candidates * (1 - _bell(distance / (1.5 * size))))
    steepness = np.sqrt(sum(g**2 for g in np.gradient(smooth)))
    return [
        np.float32(1),
        np.minimum(distance / size, 6),
        np.minimum(_geodesic(scene, np.abs(image - mean) / spread, _FURTHEST * voxel) / size, 12),
        np.minimum(depth / size, 3),
        np.minimum(depth / voxel, 6),
        np.clip(np.log(of_click / of_rest), -4, 4)[bins],
        np.clip(np.log(of_goal / of_rest), -4, 4)[bins],
        np.minimum(np.abs(smooth - mean) / spread, 6),
        gaussian_filter(goal, 1.0),
        gaussian_filter(goal, np.minimum(size / scene.spacing, 6), truncate=2.5),
        np.minimum(steepness / spread, 4),
        np.float32(0) if scene.prior is None else _against_prompt(scene),
    ]


def _against_prompt(scene: Scene) -> np.ndarray:
    """Log odds by the network that it is what the prompt says, compared with those of the prompt's own voxels."""
    known = _log_odds(scene.prior)
    return known - known[scene.seeds].mean()


def _log_odds(prior: np.ndarray) -> np.ndarray:
    p = np.clip(prior, 0.004, 0.996)  # as fine as they are kept
    return np.log(p / (1 - p))


def _geodesic(scene: Scene, unlike: np.ndarray, furthest: float) -> np.ndarray:
    """Length in mm of the easiest path from the seeds through candidates, where a path is longer the less its voxels
    are like the seeds (fast marching; Sethian, PNAS 1996)."""
    import SimpleITK as sitk

    speed = sitk.GetImageFromArray(np.where(scene.candidates, 1 / (1 + unlike), 0).astype(np.float32))
    speed.SetSpacing([float(s) for s in scene.spacing[::-1]])
    march = sitk.FastMarchingImageFilter()
    march.SetTrialPoints(np.argwhere(scene.seeds)[:, ::-1].tolist())
    march.SetStoppingValue(furthest)
    return np.minimum(sitk.GetArrayFromImage(march.Execute(speed)), furthest)


def _bell(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x**2)


def _histogram(bins: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Frequencies of grey values, smoothed; no value is held to be impossible."""
    from scipy.ndimage import gaussian_filter1d

    counts = gaussian_filter1d(np.bincount(bins.ravel(), weights.ravel(), _BINS), 1.0) + 1e-9
    return counts / counts.sum() + 0.002
