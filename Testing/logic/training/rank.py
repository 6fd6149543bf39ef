"""One of two processes that train together: ``python rank.py FOLDER``, started with the variables of torchrun."""

import sys
from pathlib import Path

import torch

from DeepSegLogic.training.losses import CaseLoss
from DeepSegLogic.training.parallel import ALONE, several

sys.path.insert(0, str(Path(__file__).parent))
from killed import TwoCases, training

STEPS = (3, 6)  # the second training continues the first one


class Quiet(torch.nn.Module):
    """Two levels, a parameter that is not used, and no batch norm, which sees its own process's batch alone."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv3d(1, 4, 3, padding=1)
        self.heads = torch.nn.ModuleList(torch.nn.Conv3d(4, 2, 1) for _ in range(2))
        self.unused = torch.nn.Parameter(torch.ones(3))

    def levels(self, x):
        y = torch.nn.functional.relu(self.first(x))
        return [self.heads[0](y), self.heads[1](y[..., ::2, ::2, ::2])]

    def forward(self, x):
        return self.levels(x)[0]


def run(folder, steps, batch, ranks=ALONE):
    """Train, and keep the weights, the losses and what the optimizer knows of the gradients."""
    # In some steps, one process has nothing to learn; the mean over patches is that of all.
    loss, options = CaseLoss("ce", [[1], []]), {"steps": steps, "batch": batch, "average": 0.5}
    made = training(folder, network=Quiet(), samples=TwoCases, loss=loss, options=options, ranks=ranks)
    outcome = made.run()
    torch.save({"weights": made.network.state_dict(), "average": outcome.weights}, folder / f"rank{ranks.rank}.pth")
    return outcome


if __name__ == "__main__":
    torch.set_num_threads(1)
    with several(torch.device("cpu")) as (own, _):
        for steps in STEPS:
            run(Path(sys.argv[1]), steps, 2, own)
            own.wait()
