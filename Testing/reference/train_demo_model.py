"""Train the bundled model on synthetic and real CT, and write ``Resources/Models/ct_demo`` without its card.

    .venv/bin/python Testing/reference/train_demo_model.py --data ../shared/data --work WORK --out MODEL

Goes on from the checkpoints in WORK after any stop. Coarse first: a step takes half the time, and a patch shows as much
of the body.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from demo_cases import CLASSES, demo_cases
from demo_structures import LEFT_OUT

from DeepSegLogic.training.export import write_results
from DeepSegLogic.training.teacher import Teacher
from DeepSegLogic.training.train import Settings, train, with_classes

COARSE = Settings(
    classes=CLASSES,
    spacing=6.0,
    patch=(40, 40, 40),
    features=(16, 32, 64, 128),
    kernels=(1, 3, 3, 3),
    encoder=(1, 1, 2, 3),
    decoder=(1, 1, 1),
    rate=2e-3,
)
FINE = replace(COARSE, spacing=5.0, patch=(48, 48, 48), seed=1)
FINER = replace(FINE, spacing=4.0, patch=(56, 56, 56), rate=1.5e-3, seed=3)
TAUGHT = replace(FINER, spacing=3.5, rate=1.2e-3, seed=4)
STAGES = {  # settings and steps; each begins with the weights of the one before
    "coarse": (COARSE, 5600),
    "fine": (FINE, 1650),
    "last": (replace(FINE, rate=1e-3, seed=2), 500),
    "finer": (FINER, 6400),
    "taught": (TAUGHT, 6000),  # the stage before labels what it is sure of in a CT without labels
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="for checkpoints and logs")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = demo_cases(options.data)
    before, weights = None, {}
    for stage, (settings, steps) in STAGES.items():
        if settings is TAUGHT:
            cases = demo_cases(options.data, Teacher(weights, FINER))
        weights = train(cases, settings, options.work / stage, steps, before)
        before = options.work / stage / "checkpoint.pth"
    shipped = replace(TAUGHT, classes=tuple(c for c in CLASSES if c not in LEFT_OUT))
    weights = with_classes(weights, TAUGHT.classes, shipped.classes)
    write_results(options.out, weights, shipped.plan(), "DeepSeg demonstration", len(cases))


if __name__ == "__main__":
    main()
