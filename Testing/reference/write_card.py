"""Write the card of the bundled model, with its Dice on subjects that it never saw, and the statistics of what it was
trained on. Runs in DeepSeg's own environment.

.venv/bin/python Testing/reference/write_card.py --data ../shared/data --date 2026-11-28 --training "6000 steps"
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from demo_cases import demo_cases
from dice import STRANGERS, cases, dice_of

from DeepSegLogic.evaluation.card_facts import coarsest_stage
from DeepSegLogic.inference.familiarity import TrainingStatistics
from DeepSegLogic.models import ModelCard, load_model
from DeepSegLogic.training.samples import Samples

MEANING = {
    "dicom": "upper abdomen, another subject and scanner, never seen; labels by TotalSegmentator",
    "chest_contrast": "contrast chest, another subject and site, never seen; lungs by their density",
}
SAMPLES, SEED = 160, 1000  # of the training, drawn anew for its statistics
SMALLEST_ML = 10  # of an organ; 233 voxels of the network's grid
IN_PIECES = ("ribs", "lung", "colon", "small_bowel", "stomach", "aorta", "inferior_vena_cava")  # or cut by a slab
NOTES = [
    "Its grid is 3.5 mm: borders are coarse, thin and small structures are lost, ribs are broken.",
    "Bowel, stomach and the inferior vena cava are found in part; in a slab of few slices kidneys are seen where there "
    "are none.",
    f"Pieces of up to {SMALLEST_ML} ml are left out, except of ribs. An organ of which the image shows less is not "
    "found. Of what is one piece in the body, only the largest piece is kept.",
    "It knows the trunk only: of head, neck and arms it makes bones and organs of the trunk. Large masses, ascites "
    "and missing organs mislead it.",
]
CREDITS = [
    "TotalSegmentator test data (abdomen CT with labels): Wasserthal et al., Apache-2.0.",
    "Label maps s0327 and s0328 of the TotalSegmentator data set: Wasserthal et al., "
    "doi:10.5281/zenodo.6802613, CC BY 4.0; turned into synthetic CT.",
    "SPL abdominal atlas: Surgical Planning Laboratory, Brigham and Women's Hospital, 3D Slicer licence; turned into "
    "synthetic CT.",
    "CTChest4 with its segmentation: 3D Slicer's sample data, from slicerio (MIT).",
    "Three CTs of TCGA-OV, TCGA-THCA and CPTAC-LSCC: The Cancer Imaging Archive, by way of xcist/phantoms-voxelized, "
    "CC BY 3.0; used without labels for lungs and air. In the first one the network itself labelled what it was sure "
    "of, and liver, spleen and left kidney come from a public network (MIT licence).",
]


def training_statistics(data: Path, model: Path) -> dict:
    """Of samples as the model was trained on them."""
    loaded = load_model(ModelCard.read(model))
    plan, network = loaded.plan, loaded.networks[0]
    samples = Samples(demo_cases(data), plan.patch_size, plan.spacing[0], SEED)
    images = (samples[n][0] for n in range(SAMPLES))
    return TrainingStatistics.of(images, network, plan.normalization, coarsest_stage(network)).as_json()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--date", required=True)
    parser.add_argument("--training", required=True, help="steps and time, in words")
    parser.add_argument("--model", type=Path, default=Path("Resources/Models/ct_demo"))
    options = parser.parse_args()
    plans, dataset = (json.loads((options.model / f"{n}.json").read_text("utf-8")) for n in ("plans", "dataset"))
    structures = [name for name in dataset["labels"] if name != "background"]
    files = sorted(p for p in options.model.rglob("*") if p.is_file() and p.name != "card.json")
    found = cases(options.data)
    scores = {f"{n} ({MEANING[n]})": dice_of(*found[n], str(options.model)) for n in STRANGERS}
    card = {
        "id": "ct_demo",
        "title": "Torso CT, demonstration",
        "version": "6",
        "modality": "CT",
        "backend": "nnunet",
        "structures": structures,
        "min_piece_ml": {name: SMALLEST_ML for name in structures if not name.startswith("ribs")},
        "one_piece": [name for name in structures if not name.startswith(IN_PIECES)],
        "orientation": "RAS",
        "spacing": plans["configurations"]["3d_fullres"]["spacing"],
        "licence": "Apache-2.0",
        "citation": "Network: Isensee et al., nnU-Net, Nature Methods 2021, doi:10.1038/s41592-020-01008-z. Synthetic "
        "images from label maps: Billot et al., SynthSeg, Medical Image Analysis 2023, "
        "doi:10.1016/j.media.2023.102789. Labels: Wasserthal et al., TotalSegmentator, Radiology: AI 2023, "
        "doi:10.1148/ryai.230024.",
        "description": "A small network on a coarse grid, trained mostly on synthetic CT made from the label maps of "
        "four anatomies, with one labelled abdomen CT, one partly labelled chest CT, two CTs of which only lungs and "
        "air are known, and one that it labelled itself in part. It finds the large organs in patients that it never "
        "saw; borders are coarse.",
        "intended_use": "Demonstration only. Research use only; not for clinical decisions.",
        "notes": NOTES,
        "provenance": {
            "subjects": dataset["numTraining"],
            "script": "Testing/reference/train_demo_model.py",
            "training": options.training,
            "credits": CREDITS,
            "date": options.date,
        },
        "dice": scores,
        "training_statistics": training_statistics(options.data, options.model),
        "size_bytes": sum(p.stat().st_size for p in files),
        "digests": {
            p.relative_to(options.model).as_posix(): f"sha256:{hashlib.sha256(p.read_bytes()).hexdigest()}"
            for p in files
        },
    }
    (options.model / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
