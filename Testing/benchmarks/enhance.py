"""What enhancing is worth on CTs that the networks never saw: PSNR, SSIM and Dice afterwards, beside plain methods.

    .venv/bin/python Testing/benchmarks/enhance.py noise|slices|metal|picture --data ../shared/data [--network FILE …]

Noise is made by projecting each slice, adding the noise of few photons to its rays, and reconstructing it: not by the
formula that the training uses. PSNR and SSIM are those of a soft-tissue window (-160 to 240 HU), in the body.
"""

import argparse
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from scipy.ndimage import gaussian_filter, zoom
from skimage.metrics import structural_similarity
from skimage.restoration import denoise_nl_means
from skimage.transform import iradon, radon

from DeepSegLogic import LabelMap, Volume, enhance_volume, read_label_map, read_volume, segment
from DeepSegLogic.enhance.changes import changes
from DeepSegLogic.enhance.degradations import thickened
from DeepSegLogic.enhance.enhancement import Enhanced
from DeepSegLogic.enhance.grids import slow_axis, thinner_matrix
from DeepSegLogic.enhance.slices import with_thin_slices
from DeepSegLogic.evaluation import evaluate
from DeepSegLogic.evaluation.perturbations import PERTURBATIONS

LOW, HIGH = -160.0, 240.0
LEVELS = (20.0, 50.0)  # HU, standard deviation in the soft tissue of the middle slice
MU, ANGLES = 0.019, np.linspace(0, 180, 120, endpoint=False)


def cases(data: Path) -> list[tuple[str, Volume, LabelMap]]:
    """The CTs that no network for enhancing saw, with TotalSegmentator's labels of them; every second pixel of one."""
    found = []
    for name, path, step in (("abdomen", "abdomen_ct/ct.nii.gz", 1), ("slab", "abdomen_ct_dicom/series", 2)):
        volume = read_volume(data / path)
        labels = read_label_map(data / Path(path).parts[0] / "labels.nii.gz", data / path)
        matrix = volume.ijk_to_ras @ np.diag([step, step, 1.0, 1.0])
        arrays = (np.ascontiguousarray(grid.array[:, ::step, ::step]) for grid in (volume, labels))
        image, marked = (replace(g, array=a, ijk_to_ras=matrix) for g, a in zip((volume, labels), arrays, strict=True))
        found.append((name, image, marked))
    return found


def projected_noise(volume: Volume, sd: float) -> Volume:
    """The slices with the noise of so few photons that its standard deviation in soft tissue is ``sd`` HU."""
    middle = volume.array[len(volume.array) // 2].astype(np.float32)
    pixel, rng = float(volume.spacing_ijk[0]), np.random.default_rng(0)
    photons = 1e6
    for _ in range(2):
        noise = slice_noise(middle, pixel, photons, rng)
        photons *= (noise[(middle > -100) & (middle < 200)].std() / sd) ** 2
    array = np.stack([plane + slice_noise(plane, pixel, photons, rng) for plane in volume.array])
    return replace(volume, array=np.rint(array).clip(-1024, 3071).astype(np.int16))


def slice_noise(plane: np.ndarray, pixel: float, photons: float, rng: np.random.Generator) -> np.ndarray:
    """What this many photons per ray, in air, add to a slice, in HU."""
    side = max(plane.shape)
    square = np.pad(plane.astype(np.float32), [(0, side - n) for n in plane.shape], constant_values=-1000)
    rays = radon(MU * np.clip(1 + square / 1000, 0, 4), ANGLES, circle=False) * pixel
    counts = np.maximum(rng.poisson(photons * np.exp(-rays)), 1)
    noise = iradon(-np.log(counts / photons) - rays, ANGLES, output_size=side, filter_name="hann", circle=False)
    return noise[: plane.shape[0], : plane.shape[1]] * 1000 / (MU * pixel)


def quality(image: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """PSNR and SSIM in the window, over the body of the truth."""
    a, b = (np.clip(x.astype(np.float32), LOW, HIGH) for x in (image, truth))
    body = truth > -500
    error = float(((a - b)[body] ** 2).mean())
    similar = structural_similarity(a, b, data_range=HIGH - LOW, full=True)[1]
    return 10 * float(np.log10((HIGH - LOW) ** 2 / error)), float(similar[body].mean())


def dice(volume: Volume, reference: LabelMap) -> float:
    """Mean Dice of the bundled model over the structures of both; thinner slices count where the scanned ones are."""
    found = segment(volume, "ct_demo", device="cpu", force=True).label_map
    scores = [s.values["dice"] for s in evaluate(found, reference).scores]
    return float(np.nanmean(scores))


def nl_means(volume: Volume) -> np.ndarray:
    """Non-local means of each slice, its strength from its own noise."""
    planes = []
    for plane in np.clip(volume.array, -1024, 1500).astype(np.float32):
        soft = np.abs(plane[:, 1:]) < 200
        sigma = 1.4826 * float(np.median(np.abs(np.diff(plane, axis=1)[soft]))) / np.sqrt(2) if soft.any() else 1.0
        planes.append(denoise_nl_means(plane, 5, 6, 0.8 * sigma, fast_mode=True, sigma=sigma))
    return np.where(volume.array > 1500, volume.array, np.stack(planes))


def curvature_flow(volume: Volume) -> np.ndarray:
    image = sitk.GetImageFromArray(volume.array.astype(np.float32))
    return sitk.GetArrayFromImage(sitk.CurvatureFlow(image, timeStep=0.0625, numberOfIterations=15))


def gaussian(volume: Volume) -> np.ndarray:
    return gaussian_filter(volume.array.astype(np.float32), (0, 0.8, 0.8))


def row(
    case: str, method: str, image: np.ndarray, truth: Volume, labels: LabelMap, before: Volume, factor: int = 1
) -> None:
    """Print a row of the table: what an image on the grid of the truth is worth.

    Args:
        before: what was enhanced; with slices ``factor`` times as thick.
    """
    psnr, ssim = quality(image, truth.array)
    axis = slow_axis(before)
    seen = replace(truth, array=np.rint(image).clip(-1024, 3071).astype(np.int16))
    enhanced = Enhanced(seen, "", axis, factor)
    found = changes(before, enhanced, replace(labels, array=enhanced.gathered(labels.array)))
    numbers = (
        f"{psnr:.2f} | {ssim:.3f} | {dice(seen, labels):.3f} | {abs(found.drifts[0].hu):.1f} | {len(found.places)}"
    )
    print(f"| {case} | {method} | {numbers} |", flush=True)


def noise(data: Path, networks: list[Path]) -> None:
    plain = {"Gaussian": gaussian, "curvature flow": curvature_flow, "non-local means": nl_means}
    for name, truth, labels in cases(data):
        print(f"| {name} | as scanned | | | {dice(truth, labels):.3f} | | |", flush=True)
        for sd in LEVELS:
            noisy, level = projected_noise(truth, sd), f"{sd:g} HU"
            row(f"{name}, {level}", "none", noisy.array, truth, labels, noisy)
            for file in networks:
                found = enhance_volume(noisy, "denoise", network=file, device="cpu").volume.array
                row(f"{name}, {level}", file.stem, found, truth, labels, noisy)
            for method, run in plain.items():
                row(f"{name}, {level}", method, run(noisy), truth, labels, noisy)


def slices(data: Path, networks: list[Path]) -> None:
    for name, truth, labels in cases(data):
        axis = slow_axis(truth)
        factor = 3
        count = (truth.array.shape[axis] - 1) // factor * factor + 1
        keep = tuple(slice(0, count) if a == axis else slice(None) for a in range(3))
        truth = replace(truth, array=np.ascontiguousarray(truth.array[keep]))
        labels = replace(labels, array=np.ascontiguousarray(labels.array[keep]))
        matrix = thinner_matrix(truth.ijk_to_ras, axis, 1)
        matrix[:3, 2 - axis] *= factor
        array = np.rint(thickened(truth.array.astype(np.float32), factor, axis)).astype(np.int16)
        thick = replace(truth, array=array, ijk_to_ras=matrix)
        scale = [1.0] * 3
        scale[axis] = count / array.shape[axis]
        images = {}
        for method, order in (("nearest", 0), ("linear", 1), ("cubic", 3)):
            images[method] = zoom(array.astype(np.float32), scale, order=order, mode="nearest")
        plain = with_thin_slices(thick, None, torch.device("cpu"), lambda *_: None, lambda: False)[0]
        images["cubic, back-projected"] = plain
        for file in networks:
            images[file.stem] = enhance_volume(thick, "slices", network=file, device="cpu").volume.array
        for method, image in images.items():
            finer = (image.shape[axis] - 1) // (count - 1)  # than the truth
            kept = tuple(slice(None, None, finer) if a == axis else slice(None) for a in range(3))
            row(name, method, image[kept], truth, labels, thick, factor)


def metal(data: Path, _networks: list[Path]) -> None:
    rods = next(p for p in PERTURBATIONS if p.name == "Metal rods")
    name, truth, labels = cases(data)[0]
    for radius in (3, 6):
        streaked = rods.volume(truth, radius, np.random.default_rng(0))
        row(f"{name}, rods {radius} mm", "none", streaked.array, truth, labels, streaked)
        found = enhance_volume(streaked, "metal").volume.array
        row(f"{name}, rods {radius} mm", "interpolated projections", found, truth, labels, streaked)


def picture(data: Path, _networks: list[Path]) -> None:
    """Write docs/enhance.png."""
    from matplotlib.figure import Figure

    truth = cases(data)[0][1]
    few = replace(truth, array=truth.array[50:61].copy())
    noisy = projected_noise(few, LEVELS[1])
    clean = enhance_volume(noisy, "denoise", device="cpu").volume
    difference = clean.array.astype(np.float32) - noisy.array
    figure = Figure((13, 3.4))
    shown = (("CT", few.array), (f"with noise of {LEVELS[1]:g} HU", noisy.array), ("denoised", clean.array))
    for n, (name, array) in enumerate((*shown, ("difference, ±100 HU", difference)), start=1):
        axes = figure.add_subplot(1, 4, n)
        limits = (LOW, HIGH) if n < 4 else (-100, 100)
        axes.imshow(array[5][::-1], cmap="gray", vmin=limits[0], vmax=limits[1])
        axes.set_title(name)
        axes.axis("off")
    figure.tight_layout()
    figure.savefig(Path(__file__).parents[2] / "docs" / "enhance.png", dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("noise", "slices", "metal", "picture"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", type=Path, action="append", default=[])
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    print("| case | method | PSNR (dB) | SSIM | Dice | largest drift (HU) | places |")
    print("|---|---|---|---|---|---|---|")
    runs = {"noise": noise, "slices": slices, "metal": metal, "picture": picture}
    runs[options.task](options.data, options.network)


if __name__ == "__main__":
    main()
