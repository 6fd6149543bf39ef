"""Dice of the bundled model against reference labels, per structure, on three real CTs.

    python Testing/benchmarks/dice.py [--data ../shared/data] [--model ct_demo]

Two of the CTs it was trained on; the DICOM series is another subject that it never saw. The reference labels
come from a trained network (TotalSegmentator), or, for the chest, from Slicer's own segmentation.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import slicerio

from DeepSegLogic.geometry import reorient
from DeepSegLogic.io import read_label_map, read_volume
from DeepSegLogic.pipeline import segment

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "reference"))
from demo_structures import ours

CHEST = Path(slicerio.__file__).parent / "data"
CHEST_NAMES = {
    "left_lung": "lung_left",
    "right_lung": "lung_right",
    "ribs": "ribs",
    "cervical_vertebral_column": "vertebrae",
    "thoracic_vertebral_column": "vertebrae",
    "lumbar_vertebral_column": "vertebrae",
}


def cases(data: Path) -> dict[str, tuple[Path, Path]]:
    """Image and labels by name."""
    found = {"chest": (CHEST / "CTChest4.nrrd", CHEST / "Segmentation.seg.nrrd")}
    if data.is_dir():
        found["abdomen"] = data / "abdomen_ct" / "ct.nii.gz", data / "abdomen_ct" / "labels.nii.gz"
        found["dicom"] = data / "abdomen_ct_dicom" / "series", data / "abdomen_ct_dicom" / "labels.nii.gz"
    return found


def dice_of(image: Path, labels: Path, model: str) -> dict[str, float]:
    """Dice by structure, for those that the reference has."""
    result = segment(read_volume(image), model).label_map
    reference = read_label_map(labels)
    found, _ = reorient(result.array, result.ijk_to_ras, "RAS")
    truth, _ = reorient(reference.array, reference.ijk_to_ras, "RAS")
    values: dict[str, list[int]] = {}
    for structure in reference.structures:
        name = CHEST_NAMES.get(structure.name) or ours(structure.name)
        if name:
            values.setdefault(name, []).append(structure.value)
    scores = {}
    for name, theirs in values.items():
        # Slicer's segmentation does not part the ribs by side
        members = [s.value for s in result.structures if s.name == name or (name == "ribs" and "ribs_" in s.name)]
        a, b = np.isin(found, members), np.isin(truth, theirs)
        scores[name] = round(float(2 * (a & b).sum() / (a.sum() + b.sum())), 3)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="ct_demo")
    options = parser.parse_args()
    for name, (image, labels) in cases(options.data).items():
        scores = dice_of(image, labels, options.model)
        print(f"{name}: mean Dice {np.mean(list(scores.values())):.3f} over {len(scores)} structures")
        for structure, score in sorted(scores.items(), key=lambda item: -item[1]):
            print(f"    {structure:<24}{score:.3f}")


if __name__ == "__main__":
    main()
