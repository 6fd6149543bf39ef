"""Dice on cases that were not seen after training on one, two and three: from nothing, an encoder, and a model.

python Testing/benchmarks/few_shot.py DATA --test 5 --steps 5000 --encoder ENCODER --model ct_demo --out few_shot.csv

DATA is a data set that `deepseg train` takes. Every training sees the same cases in the same order for the same number
of steps, and the last `--test` cases (by name) are measured whole. What is done already is read from the work folder.
"""

import argparse
import csv
from pathlib import Path

import torch

from DeepSegLogic.models import find_model
from DeepSegLogic.segmentation import segment
from DeepSegLogic.training.checks import check_cases
from DeepSegLogic.training.dataset import find_cases, modality_of
from DeepSegLogic.training.encoder import read_encoder
from DeepSegLogic.training.folds import case_dice, means
from DeepSegLogic.training.optimization import Options
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.training.reading import read_case
from DeepSegLogic.training.recipe import Recipe
from DeepSegLogic.training.run import budget, rate_for, train_recipe
from DeepSegLogic.training.transfer import begin_with

_STARTS = ("nothing", "encoder", "model")


def recipe_for(start, report, options, arguments, device):
    """How to train on the cases of a report from one of the three starts."""
    if start == "encoder":
        encoder = read_encoder(arguments.encoder, report, arguments.batch)
        return Recipe(report, encoder.plan, options, device=device, encoder=encoder)
    if start == "model":
        origin = begin_with(find_model(arguments.model), report, arguments.batch)
        return Recipe(report, origin.plan, options, origin, device=device)
    if arguments.encoder is not None:  # the same network, spacing and patch: only the weights differ
        return Recipe(report, read_encoder(arguments.encoder, report, arguments.batch).plan, options, device=device)
    given, sizes = budget(device), {"batch": arguments.batch, "patch": arguments.patch}
    plan = plan_training(report, memory_gb=given.memory_gb, width=given.width, **sizes)
    return Recipe(report, plan, options, device=device)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--test", type=int, default=5, help="number of cases to measure on")
    parser.add_argument("--cases", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--patch", type=int, nargs=3, help="voxels Z Y X, from nothing; default: by nnU-Net's rules")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--encoder", type=Path, help="of `deepseg pretrain`")
    parser.add_argument("--model", default="", help="id or folder of a model to begin with")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--work", type=Path, default=Path("few_shot"))
    parser.add_argument("--out", type=Path, default=Path("few_shot.csv"))
    arguments = parser.parse_args()
    device, files = torch.device(arguments.device), find_cases(arguments.data)
    seen, unseen = files[: -arguments.test], files[-arguments.test :]
    starts = [s for s in _STARTS if s == "nothing" or getattr(arguments, s)]
    rows = []
    for count in arguments.cases:
        report = check_cases(seen[:count], modality_of(arguments.data))
        for start in starts:
            for seed in arguments.seeds:
                options = Options(steps=arguments.steps, rate=rate_for("unet", "adamw"), seed=seed)
                output = arguments.work / f"{count}_{start}_{seed}"
                recipe = recipe_for(start, report, options, arguments, device)
                train_recipe(recipe, output)
                scores = {}
                for case_files in unseen:
                    case = read_case(case_files)
                    found = segment(case.volume, output, device=arguments.device).label_map.array
                    scores[case_files.name] = case_dice(found, case, recipe.plan, frozenset(report.structures))
                for name, dice in means(scores).items():
                    rows.append((count, start, seed, name, "" if dice is None else f"{dice:.4f}"))
                known = [float(row[4]) for row in rows if row[:3] == (count, start, seed) and row[4]]
                print(
                    f"{count} cases from {start}, seed {seed}: Dice {sum(known) / max(1, len(known)):.3f}", flush=True
                )
                with arguments.out.open("w", newline="", encoding="utf-8") as file:
                    csv.writer(file).writerows([("cases", "start", "seed", "structure", "dice"), *rows])


if __name__ == "__main__":
    main()
