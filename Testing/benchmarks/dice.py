"""Dice of the bundled model against reference labels, per structure, on real CTs.

    python Testing/benchmarks/dice.py [--data ../shared/data] [--model ct_demo] [--strangers]

The bundled model never saw the DICOM series and the contrast chest CT (``--strangers``: these two only). It was
trained on the other two, of the chest on lungs, ribs and spine. The reference labels come from a trained network
(TotalSegmentator), for the demo's chest CT from Slicer's own segmentation, and for the contrast chest CT, where only
the lungs are known, from their density.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import slicerio

from DeepSegLogic.data.affine import reorient, spacing_kji
from DeepSegLogic.io import read_label_map, read_volume
from DeepSegLogic.segmentation import segment

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "reference"))
from demo_structures import ours
from lung_rules import LEFT, RIGHT, UNSURE, lungs_and_air

CHEST = Path(slicerio.__file__).parent / "data"
CHEST_NAMES = {
    "left_lung": "lung_left",
    "right_lung": "lung_right",
    "ribs": "ribs",
    "cervical_vertebral_column": "vertebrae",
    "thoracic_vertebral_column": "vertebrae",
    "lumbar_vertebral_column": "vertebrae",
}
TOGETHER = {  # what is also counted as one: how the names begin
    "all bone": ("vertebrae", "sacrum", "ribs", "sternum", "hip", "femur", "scapula", "clavicula"),
    "all muscle": ("gluteus", "autochthon", "iliopsoas"),
}
STRANGERS = ("dicom", "chest_contrast")


def cases(data: Path) -> dict[str, tuple[Path, Path | None]]:
    """Image and labels by name; no labels where the lungs follow from their density."""
    found = {"chest": (CHEST / "CTChest4.nrrd", CHEST / "Segmentation.seg.nrrd")}
    if data.is_dir():
        found["abdomen"] = data / "abdomen_ct" / "ct.nii.gz", data / "abdomen_ct" / "labels.nii.gz"
        found["dicom"] = data / "abdomen_ct_dicom" / "series", data / "abdomen_ct_dicom" / "labels.nii.gz"
        found["chest_contrast"] = data / "ct_unlabelled" / "chest_contrast.nii.gz", None
    return found


def dice_of(image: Path, labels: Path | None, model: str) -> dict[str, float]:
    """Dice by structure, for those that the reference has."""
    volume = read_volume(image)
    result = segment(volume, model).label_map
    found, _ = reorient(result.array, result.ijk_to_ras, "RAS")
    ours_ = {structure.name: {structure.value} for structure in result.structures}
    if labels is None:
        ct, matrix = reorient(volume.array, volume.ijk_to_ras, "RAS")
        every = (slice(None), slice(None, None, 2), slice(None, None, 2))  # the rule closes gaps of some mm only
        truth = lungs_and_air(ct[every], spacing_kji(matrix) * (1, 2, 2))
        found = np.where(truth == UNSURE, 0, found[every])
        return _scores(found, truth, ours_, {"lung_left": {LEFT}, "lung_right": {RIGHT}})
    reference = read_label_map(labels)
    truth, _ = reorient(reference.array, reference.ijk_to_ras, "RAS")
    theirs: dict[str, set[int]] = {}
    for structure in reference.structures:
        if name := CHEST_NAMES.get(structure.name) or ours(structure.name):
            theirs.setdefault(name, set()).add(structure.value)
    ours_["ribs"] = ours_["ribs_left"] | ours_["ribs_right"]  # Slicer's segmentation does not part them
    for whole, parts in TOGETHER.items():
        for side in (ours_, theirs):
            side[whole] = set().union(*(values for name, values in side.items() if name.startswith(parts)))
    return _scores(found, truth, ours_, theirs)


def _scores(found: np.ndarray, truth: np.ndarray, ours_: dict, theirs: dict) -> dict[str, float]:
    scores = {}
    for name in (n for n in theirs if n in ours_ and theirs[n]):
        a, b = np.isin(found, list(ours_[name])), np.isin(truth, list(theirs[name]))
        scores[name] = round(float(2 * (a & b).sum() / (a.sum() + b.sum())), 3)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="ct_demo")
    parser.add_argument("--strangers", action="store_true", help="only subjects that the bundled model never saw")
    options = parser.parse_args()
    for name, (image, labels) in cases(options.data).items():
        if options.strangers and name not in STRANGERS:
            continue
        scores = dice_of(image, labels, options.model)
        single = [score for structure, score in scores.items() if structure not in TOGETHER]
        print(f"{name}: mean Dice {np.mean(single):.3f} over {len(single)} structures")
        for structure, score in sorted(scores.items(), key=lambda item: -item[1]):
            print(f"    {structure:<30}{score:.3f}")


if __name__ == "__main__":
    main()
