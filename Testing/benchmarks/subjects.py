"""Dice on strangers against the number of subjects that a small model was trained on.

    python Testing/benchmarks/subjects.py --work WORK [--data ../shared/data] [--steps 2000]

The first stage of the bundled model (6 mm, synthetic and real CT; ``Testing/reference/train_demo_model.py``) with 1, 2,
4 and 8 of its subjects and equally many steps. One CT and one anatomy without image come first, and the CTs of which
only lungs and air are known come last. Goes on from the checkpoints in WORK after any stop. The strangers are the DICOM
series and the contrast chest CT, on which nothing here was trained.
"""

import argparse
import sys
from pathlib import Path

import torch
from dice import STRANGERS, cases, dice_of

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "reference"))
from demo_cases import demo_cases
from train_demo_model import COARSE

from DeepSegLogic.training.export import write_results
from DeepSegLogic.training.train import train

NUMBERS = (1, 2, 4, 8)  # in the order of `demo_cases`: a labelled CT, three anatomies, four CTs with few labels
SHOWN = ("lung_left", "liver", "spleen", "stomach", "aorta", "vertebrae", "all bone", "all muscle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="for checkpoints and models")
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    subjects, strangers = demo_cases(options.data), cases(options.data)
    print("| subjects | mean of all | " + " | ".join(SHOWN) + " |")
    print("|---:|" + "---:|" * (1 + len(SHOWN)))
    for number in NUMBERS:
        taken, folder = subjects[:number], options.work / str(number)
        weights = train(taken, COARSE, folder, options.steps)
        write_results(folder / "model", weights, COARSE.plan(), "subjects", number)
        scores: dict[str, list[float]] = {}
        for name in STRANGERS:
            for structure, score in dice_of(*strangers[name], str(folder / "model")).items():
                scores.setdefault(structure, []).append(score)
        mean = {structure: sum(values) / len(values) for structure, values in scores.items()}
        single = [score for structure, score in mean.items() if " " not in structure]
        cells = [sum(single) / len(single), *(mean[structure] for structure in SHOWN)]
        print(f"| {number} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
