"""A tiny training in a process of its own that kills itself: ``python killed.py FOLDER STEP`` (0: never)."""

import sys
from pathlib import Path

import psutil
import torch
from torch.utils.data import Dataset

from DeepSegLogic.training.loop import Training
from DeepSegLogic.training.losses import CaseLoss
from DeepSegLogic.training.optimization import Options

STEPS = 9


class Cubes(Dataset):
    """A bright cube in noise, its place by number."""

    def __init__(self, patch=(8, 8, 8)):
        self.patch = patch

    def __getitem__(self, n):
        generator = torch.Generator().manual_seed(n)
        labels = torch.zeros(self.patch, dtype=torch.int16)
        z = int(torch.randint(0, 4, (1,), generator=generator))
        labels[z : z + 4, 2:6, 2:6] = 1
        image = torch.randn(1, *self.patch, generator=generator) + 2 * labels
        return image, labels, 0


class TwoCases(Cubes):
    """Two patches of a case, two of another one, and so on."""

    def __getitem__(self, n):
        image, labels, _ = super().__getitem__(n)
        return image, labels, int(n % 4 > 1)


def network():
    """With dropout, whose random numbers must go on, too."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.BatchNorm3d(4), torch.nn.Dropout3d(0.5)]
    return torch.nn.Sequential(*layers, torch.nn.Conv3d(4, 2, 1))


def training(folder, **changes):
    options = {"steps": STEPS, "batch": 2, "every": 0.0, "half": False, "rate": 1e-2, **changes.pop("options", {})}
    given = {"network": network(), "samples": Cubes, "loss": CaseLoss("ce", [[1]]), "patch": (8, 8, 8)}
    return Training(**(given | {"folder": folder} | changes), options=Options(**options))


def main() -> None:
    torch.set_num_threads(1)
    folder, last = Path(sys.argv[1]), int(sys.argv[2])
    rule, calls = CaseLoss("ce", [[1]]), 0

    def loss(*arguments):
        nonlocal calls
        calls += 1
        if calls == last:
            psutil.Process().kill()
        return rule(*arguments)

    training(folder, loss=loss).run()


if __name__ == "__main__":
    main()
