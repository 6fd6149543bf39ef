"""Write the card of the demonstration model, with its measured Dice. Runs in DeepSeg's own environment.

.venv/bin/python Testing/reference/write_card.py --data ../shared/data --date 2026-11-21
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from demo_structures import NAMES

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from dice import cases, dice_of

MEANING = {"chest": "trained on, partly labelled", "abdomen": "trained on", "dicom": "another subject, never seen"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--date", required=True)
    parser.add_argument("--model", type=Path, default=Path("Resources/Models/ct_demo"))
    options = parser.parse_args()
    plans = json.loads((options.model / "plans.json").read_text("utf-8"))
    files = sorted(p for p in options.model.rglob("*") if p.is_file() and p.name != "card.json")
    scores = {f"{n} ({MEANING[n]})": dice_of(*paths, str(options.model)) for n, paths in cases(options.data).items()}
    card = {
        "id": "ct_demo",
        "title": "Torso CT, demonstration",
        "version": "1",
        "modality": "CT",
        "backend": "nnunet",
        "structures": NAMES,
        "orientation": "RAS",
        "spacing": plans["configurations"]["3d_fullres"]["spacing"],
        "licence": "Apache-2.0",
        "citation": "Network and training: Isensee et al., nnU-Net, Nature Methods 2021, "
        "doi:10.1038/s41592-020-01008-z. Labels: Wasserthal et al., TotalSegmentator, Radiology: AI 2023, "
        "doi:10.1148/ryai.230024.",
        "description": "A small network, trained on one abdomen CT (labels by TotalSegmentator) and one chest CT "
        "(labels by 3D Slicer's sample segmentation: lungs, ribs and spine only). It shows how DeepSeg works. On "
        "other patients its results are poor.",
        "intended_use": "Demonstration only. Research use only; not for clinical decisions.",
        "provenance": {
            "subjects": 2,
            "script": "Testing/reference/train_demo_model.py",
            "trainer": "nnunetv2 2.8.1, nnUNetTrainerNoDA with AdamW, stopped at step 1860 of 1920",
            "date": options.date,
        },
        "dice": scores,
        "size_bytes": sum(p.stat().st_size for p in files),
        "digests": {
            p.relative_to(options.model).as_posix(): f"sha256:{hashlib.sha256(p.read_bytes()).hexdigest()}"
            for p in files
        },
    }
    (options.model / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
