"""Train a detector on artificial nodules in the lungs of real CTs, and write its model folder.

    .venv/bin/python Testing/reference/train_lesion_detector.py --data ../shared/data --out GRID
    .venv/bin/python Testing/reference/train_lesion_detector.py --data ../shared/data --out MASKS --masks GRID

The second one trains a mask detector that begins with the first one's weights.

The CTs named in TRAINED are used; ``Testing/benchmarks/detection.py`` judges on others.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lung_rules import AIR, lungs_and_air
from scipy import ndimage

from DeepSegLogic import find_model, read_label_map, read_volume
from DeepSegLogic.detection.artificial import LUNG_NODULE
from DeepSegLogic.detection.detector import load_detector
from DeepSegLogic.detection.grid_training import Recipe, Scan, train_grid_detector
from DeepSegLogic.detection.mask_training import train_mask_detector
from DeepSegLogic.inference.preprocessing import prepare
from DeepSegLogic.models.plan import Normalization, Plan

TRAINED = ("ct_unlabelled/neck_chest.nii.gz", "abdomen_ct/ct.nii.gz", "ct_unlabelled/abdomen_contrast.nii.gz")


def lungs_of(hu: np.ndarray, spacing: float) -> np.ndarray:
    """Lungs with the vessels in them, (K, J, I) bool, of HU on a RAS grid of ``spacing`` mm."""
    lungs = lungs_and_air(hu, (spacing,) * 3) > AIR
    return ndimage.binary_erosion(ndimage.binary_closing(lungs, iterations=4), iterations=2)


def scan_of(path: Path, recipe: Recipe) -> Scan:
    volume = read_volume(path)
    plan = Plan("RAS", (recipe.spacing,) * 3, (recipe.patch,) * 3, Normalization("none"), {}, crop_to_nonzero=False)
    hu = prepare(volume, plan, torch.device("cpu")).image[0].numpy()
    labels = path.with_name("labels.nii.gz")
    if not labels.is_file():
        return Scan(hu, lungs_of(hu, recipe.spacing))
    known = read_label_map(labels)
    lungs = np.logical_or.reduce([known.mask(s.name) for s in known.structures if s.name.startswith("lung")])
    lungs = prepare(replace(volume, array=lungs.astype(np.int16)), plan, torch.device("cpu")).image[0].numpy()
    return Scan(hu, ndimage.binary_erosion(lungs > 0.5, iterations=2))


def card_of(name: str, recipe: Recipe) -> dict[str, object]:
    return {
        "id": "lung_nodules_artificial",
        "title": "Lung nodules, trained on artificial ones",
        "version": "1",
        "modality": "CT",
        "backend": "torchscript",
        "task": "detection",
        "structures": [recipe.kind.name],
        "orientation": "RAS",
        "spacing": [recipe.spacing] * 3,
        "licence": "Apache-2.0",
        "network": {
            "patch_size": [2 * recipe.patch] * 3,
            "axes": "KJI",
            "intensity": {"window": list(recipe.window)},
            "architecture": {"name": name, "arguments": {"features": list(recipe.features)}},
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--masks", type=Path, help="train a mask detector that begins with this grid detector")
    parser.add_argument("--minutes", type=float, default=9, help="of processor time, at most")
    parser.add_argument("--until", type=float, default=600, help="minutes by the clock, at most")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = Recipe(LUNG_NODULE)
    scans = [scan_of(options.data / name, recipe) for name in TRAINED]
    for name, scan in zip(TRAINED, scans, strict=True):
        print(name, scan.hu.shape, f"lungs {scan.where.sum() * recipe.spacing**3 / 1e6:.2f} l", flush=True)
    losses: list[float] = []

    def told(step: int, loss: float) -> None:
        losses.append(loss)
        if step % 50 == 0:
            print(step, f"{np.mean(losses[-50:]):.3f}", f"{time.process_time() / 60:.1f} min", flush=True)

    began, used = time.monotonic(), time.process_time()

    def share_done(step: int) -> float:
        clock, processor = time.monotonic() - began, time.process_time() - used
        return max(processor / options.minutes, clock / options.until) / 60

    if options.masks:
        grid = load_detector(find_model(options.masks)).network
        trained = train_mask_detector(scans, recipe, share_done, told, grid)
    else:
        trained = train_grid_detector(scans, recipe, share_done, told)
    options.out.mkdir(parents=True, exist_ok=True)
    weights = {name: w.half() if w.is_floating_point() else w for name, w in trained.state_dict().items()}
    torch.save(weights, options.out / "model.pt")
    card = card_of(type(trained).__name__, recipe)
    (options.out / "card.json").write_text(json.dumps(card, indent=1), "utf-8")
    print(f"{len(losses)} steps, {sum(w.numel() for w in trained.parameters())} weights")


if __name__ == "__main__":
    main()
