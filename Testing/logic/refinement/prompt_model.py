"""A network that takes prompts and whose answer is known by formula, scripted and imported as a user's would be."""

import json

import numpy as np
import torch

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.models.trust import trust

LIVER, SPLEEN = 5, 1
SIGMA, SHARE = 4.0, 0.3  # the network's answer: bright, and a positive prompt's signal 0.3 above a negative one's
TITLE, LICENCE = "A lab's prompt network", "CC-BY-NC-4.0"
CARD = {
    "title": TITLE,
    "licence": LICENCE,
    "spacing": [2.0, 2.0, 2.0],
    "orientation": "LPS",
    "structures": ["foreground"],
    "network": {
        "patch_size": [32, 28, 24],
        "axes": "IJK",
        "intensity": {"window": [-100, 100]},
        "guidance": {"sigma": SIGMA},
    },
}
EVERYTHING_BRIGHT = {**CARD["network"], "intensity": {"window": [-3000, -2000]}}  # "network": only the prompt counts


class Formula(torch.nn.Module):
    """Foreground where the image is bright and a positive prompt is near, and no negative one is."""

    def forward(self, x):
        return 50 * torch.minimum(x[:, 0:1] - 0.5, x[:, 1:2] - x[:, 2:3] - 0.3)


class Slow(torch.nn.Module):
    """Never ends."""

    def forward(self, x):
        while bool(x.isfinite().all()):
            x = x * 0.5
        return x


class Greedy(torch.nn.Module):
    """Wants more memory than a computer can have."""

    def forward(self, x):
        return torch.zeros(1 << 50) + x.sum()


def imported(folder, module=None, trusted=True, **changes):
    """The card of the module, imported into the store as ``prompt_net``; ``changes`` are to the card."""
    torch.jit.script((module or Formula()).eval()).save(folder / "prompt_net.ts")
    (folder / "prompt_net.json").write_text(json.dumps({**CARD, **changes}), "utf-8")
    card = import_model(folder / "prompt_net.ts", replace_installed=True)
    if trusted:
        trust(card)
    return card


def slab():
    """A bright slab in a dark volume of 2 mm (RAS), no liver yet, and a spleen in one corner of the slab."""
    array = np.full((40, 44, 48), -80, np.int16)
    array[10:30] = 80
    matrix = np.diag([2.0, 2, 2, 1])
    labels = np.zeros(array.shape, np.uint8)
    labels[12:28, 22:30, 22:26] = SPLEEN
    structures = [structure_for("spleen", SPLEEN), structure_for("liver", LIVER)]
    return Volume(array, matrix), LabelMap(labels, matrix, structures)
