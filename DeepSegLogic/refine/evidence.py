"""Which voxels around a prompt are likely to be wrong in the same way."""

from __future__ import annotations

import numpy as np

WEIGHTS = np.array([2.0, -1.0, -1.0, -1.0, 0.5, 0.3, -0.3])


def evidence(image, candidates, seeds, goal, spacing, scale: float, prior=None) -> np.ndarray:
    """Log odds that a voxel changes with the seeds: float32 (K, J, I); meaningless outside of ``candidates``."""
    return np.tensordot(WEIGHTS, features(image, candidates, seeds, goal, spacing, scale, prior), 1)


def features(image, candidates, seeds, goal, spacing, scale: float, prior=None) -> np.ndarray:
    """(7, K, J, I) float32."""
    from scipy import ndimage as ndi

    image = np.ascontiguousarray(image, np.float32)
    apart = ndi.distance_transform_edt(~seeds, sampling=spacing).astype(np.float32)
    voxel = float(np.prod(spacing)) ** (1 / 3)
    if goal.any():
        to_goal = ndi.distance_transform_edt(~goal, sampling=spacing).astype(np.float32)
    else:
        to_goal = np.full(image.shape, 4 * scale, np.float32)
    smooth = ndi.gaussian_filter(image, 0.7)
    near = np.exp(-0.5 * (apart / (0.6 * scale)) ** 2) * candidates
    mean = np.average(smooth, weights=near)
    low, high = np.percentile(image[::2, ::2, ::2], [0.5, 99.5])
    sd = np.sqrt(np.average((smooth - mean) ** 2, weights=near)) + 0.01 * (high - low)
    geo = geodesic(image, candidates, seeds, spacing, mean, sd, reach=60 * voxel)
    bins = _bins(image)
    far = candidates * (1 - np.exp(-0.5 * (apart / (1.5 * scale)) ** 2))
    at_goal = goal * np.exp(-0.5 * (apart / (3 * scale + 10)) ** 2)
    h_near, h_goal, h_far = (_histogram(bins, w) for w in (near, at_goal, far))
    around = ndi.gaussian_filter(goal.astype(np.float32), 1.0)
    wide = ndi.gaussian_filter(goal.astype(np.float32), np.minimum(scale / spacing, 6), truncate=2.5)
    slope = np.sqrt(sum(g**2 for g in np.gradient(smooth))) / sd
    return np.stack(
        [
            np.ones_like(image),
            np.minimum(apart / scale, 6),
            np.minimum(geo / scale, 12),
            np.minimum(to_goal / scale, 3),
            np.minimum(to_goal / voxel, 6),
            np.clip(np.log(h_near / h_far)[bins], -4, 4),
            np.clip(np.log(h_goal / h_far)[bins], -4, 4),
            np.minimum(np.abs(smooth - mean) / sd, 6),
            around,
            wide,
            np.minimum(slope, 4),
        ]
    )


def geodesic(image, candidates, seeds, spacing, mean, sd, reach) -> np.ndarray:
    import SimpleITK as sitk

    cost = 1 + np.abs(image - mean) / sd
    speed = sitk.GetImageFromArray(np.where(candidates, 1 / cost, 0).astype(np.float32))
    speed.SetSpacing([float(s) for s in spacing[::-1]])
    march = sitk.FastMarchingImageFilter()
    march.SetTrialPoints([list(map(int, p[::-1])) for p in np.argwhere(seeds)])
    march.SetStoppingValue(float(reach))
    found = sitk.GetArrayFromImage(march.Execute(speed))
    return np.minimum(found, reach).astype(np.float32)


def _bins(image) -> np.ndarray:
    low, high = np.percentile(image[::2, ::2, ::2], [0.5, 99.5])
    return np.clip((image - low) / max(high - low, 1e-6) * 47, 0, 47).astype(np.int16)


def _histogram(bins, weights) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    counts = np.bincount(bins.ravel(), weights.ravel(), 48)
    counts = gaussian_filter1d(counts, 1.0) + 1e-9
    counts = counts / counts.sum() + 0.002
    return (counts / counts.sum()).astype(np.float32)
