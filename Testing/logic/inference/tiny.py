"""Small networks with random weights, whose labels depend on where the windows lie, as those of real ones do."""

import numpy as np
import torch
from torch import nn

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.models import Model, ModelCard
from DeepSegLogic.models.plan import Normalization, Plan


def network(classes=4, seed=0, inputs=1) -> nn.Module:
    torch.manual_seed(seed)
    layers = [
        nn.Conv3d(inputs, 8, 3, padding=1),
        nn.InstanceNorm3d(8, affine=True),
        nn.LeakyReLU(),
        nn.Conv3d(8, classes, 1),
    ]
    for layer in (layers[0], layers[3]):
        nn.init.normal_(layer.weight)
    return nn.Sequential(*layers).eval()


def plan(classes=4, **changes) -> Plan:
    settings = {
        "orientation": "RAS",
        "spacing": (3.0, 2.0, 2.0),
        "patch_size": (16, 16, 16),
        "normalization": Normalization("ct", -1000, 1000, 0, 400),
        "labels": {n: f"structure_{n}" for n in range(1, classes)},
        "crop_to_nonzero": False,
    }
    return Plan(**(settings | changes))


def model(classes=4, seed=0, net=None, **changes) -> Model:
    the_plan = plan(classes, **changes)
    card = ModelCard(id="tiny", title="Tiny", structures=list(the_plan.labels.values()), digests={"weights": "none"})
    return Model(card, the_plan, [net or network(classes, seed, the_plan.inputs)])


def volume(shape=(40, 60, 70), spacing=(1.5, 1.5, 2.5), seed=0) -> Volume:
    """Smooth blobs from air to bone in HU; ``shape`` is (K, J, I), ``spacing`` along I, J, K in mm."""
    from scipy.ndimage import gaussian_filter, zoom

    noise = np.random.default_rng(seed).standard_normal([max(2, n // 4) for n in shape])
    smooth = zoom(gaussian_filter(noise, 1), [n / max(2, n // 4) for n in shape], order=1)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return Volume((smooth * 2000 - 1000).astype(np.int16), np.diag([*spacing, 1.0]))
