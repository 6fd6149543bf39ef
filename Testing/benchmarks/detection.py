"""How well a detector finds artificial nodules in the lungs of CTs that it was not trained on.

    .venv/bin/python Testing/benchmarks/detection.py MODEL --data ../shared/data --out FOLDER

Each CT gets lesions of stated size, density and texture, several times over; all findings elsewhere are false, also
lesions that the patient really has. Writes the tables and plots of ``deepseg evaluate-boxes``; tells what was found by
size and density, and the Dice of its masks if the model draws some, beside that of the ellipsoids that fill the boxes.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reference"))
from train_lesion_detector import lungs_of

from DeepSegLogic import BoxFinding, BoxFindings, detect, find_model, read_volume, score_detections, write_findings_csv
from DeepSegLogic.data.affine import ijk_to_ras_points, sampled
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.detection.artificial import LUNG_NODULE, Lesion, put_lesions
from DeepSegLogic.detection.detector import load_detector
from DeepSegLogic.detection.score_files import write_scores
from DeepSegLogic.inference.preprocessing import prepare
from DeepSegLogic.models.plan import Normalization, Plan

JUDGED = {"ct_unlabelled/chest_contrast.nii.gz": 10}  # lesions in each draw
GRID_MM = 2.0


def lungs_in(volume: Volume) -> np.ndarray:
    """The lungs on the volume's own grid, (K, J, I) bool."""
    plan = Plan("RAS", (GRID_MM,) * 3, (8,) * 3, Normalization("none"), {}, crop_to_nonzero=False)
    prepared = prepare(volume, plan, torch.device("cpu"))
    lungs = lungs_of(prepared.image[0].numpy(), GRID_MM).astype(np.float32)
    return sampled(lungs, prepared.grid.grid_to_ras, volume.shape_kji, volume.ijk_to_ras) > 0.5


def as_finding(lesion: Lesion) -> BoxFinding:
    return BoxFinding(LUNG_NODULE.name, 1.0, tuple(lesion.box[0]), tuple(lesion.box[1]))


def hit(lesion: Lesion, found: list[BoxFinding]) -> BoxFinding | None:
    """The best finding with a score of at least one half whose centre lies in the lesion's box."""
    low, high = lesion.box
    hits = (f for f in found if f.score >= 0.5 and np.all((f.center_ras >= low) & (f.center_ras <= high)))
    return next(hits, None)


def dice(lesion: Lesion, one: BoxFinding, found: BoxFindings, volume: Volume) -> tuple[float, float]:
    """Of a finding's mask with a lesion, and of the ellipsoid that fills its box."""
    low = np.array([max(0, s.start - 20) for s in lesion.part])
    part = tuple(slice(a, s.stop + 20) for a, s in zip(low, lesion.part, strict=True))
    drawn = found.masks.mask(one.segment)[part] if one.segment else np.zeros(volume.array[part].shape, bool)
    true = np.zeros(drawn.shape, bool)
    true[tuple(slice(s.start - a, s.stop - a) for a, s in zip(low, lesion.part, strict=True))] = lesion.mask
    places = np.indices(drawn.shape).reshape(3, -1).T[:, ::-1] + low[::-1]
    points = ijk_to_ras_points(places, volume.ijk_to_ras)
    away = np.linalg.norm((points - one.center_ras) / (np.array(one.size_mm) / 2), axis=1).reshape(drawn.shape)
    return tuple(2 * (mask & true).sum() / (mask.sum() + true.sum()) for mask in (drawn, away <= 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    detector = load_detector(find_model(options.model))
    found, true, every, shares = {}, {}, [], []
    for path, count in JUDGED.items():
        volume = read_volume(options.data / path)
        lungs = lungs_in(volume)
        for draw in range(options.draws + 1):  # the first without lesions
            name = f"{path.split('/')[-1].partition('.')[0]}_{draw}"
            changed, put = put_lesions(volume, lungs, LUNG_NODULE, count if draw else 0, seed=draw)
            done = detect(changed, detector, device="cpu")
            found[name] = done.findings
            true[name] = [as_finding(x) for x in put]
            hits = [(lesion, hit(lesion, done.findings)) for lesion in put]
            every += hits
            if done.masks is not None:
                shares += [dice(lesion, one, done, changed) for lesion, one in hits if one is not None]
            print(name, f"{len(put)} lesions, {sum(f.score >= 0.5 for f in found[name])} findings of 0.5", flush=True)
            for side, listed in (("found", found[name]), ("true", true[name])):
                write_findings_csv(listed, options.out / side / f"{name}.csv")
    scores = score_detections(found, true)
    write_scores(scores, options.out / "scores")
    print("mAP 0.1 to 0.5", round(scores.mean_average_precision, 3), scores.average_precision)
    print("sensitivity", scores.sensitivity)
    if shares:
        print("mean Dice of masks, and of ellipsoids", np.mean(shares, 0).round(3), "of", len(shares), flush=True)
    for title, test in (
        ("6 to 10 mm", lambda x: x.diameter_mm < 10),
        ("10 to 16 mm", lambda x: 10 <= x.diameter_mm < 16),
        ("16 to 24 mm", lambda x: x.diameter_mm >= 16),
        ("solid", lambda x: x.density_hu > -200),
        ("ground glass", lambda x: x.density_hu <= -200),
    ):
        chosen = [one is not None for lesion, one in every if test(lesion)]
        print(f"{title}: {sum(chosen)} of {len(chosen)} found with a score of 0.5", flush=True)


if __name__ == "__main__":
    main()
