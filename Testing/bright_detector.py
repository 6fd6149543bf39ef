"""A detector with weights made by hand, which finds bright spots, and CTs with bright spots, for tests of all faces."""

import json
from pathlib import Path

import numpy as np

from DeepSegLogic import Volume


def write_bright_model(folder: Path, masks: bool = False) -> Path:
    """A detector with weights made by hand: it finds what is brighter than -400 HU, as cubes of 16 mm; as a mask
    detector it also marks what is brighter in them."""
    import torch

    from DeepSegLogic.networks.grid_detector import GridDetector
    from DeepSegLogic.networks.mask_detector import MaskDetector

    folder.mkdir(parents=True)
    whole = MaskDetector(1, [1]) if masks else GridDetector(1, [1])
    network = whole.grid if isinstance(whole, MaskDetector) else whole
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv3d):
                module.weight.zero_()
                middle = module.kernel_size[0] // 2
                module.weight[0, 0, middle, middle, middle] = 1
                if module.bias is not None:
                    module.bias.zero_()
        network.down[0][0][0].weight.fill_(1 / 27)  # the mean of 3 × 3 × 3 voxels
        network.head.weight.zero_()
        network.head.weight[0] = 20.0  # 0.3, of -400 HU, is a score of one half
        network.head.bias.zero_()
        network.head.bias[0] = -6.0
        network.head.bias[4:] = np.log(16 / 2 / 2)  # in cells of 2 voxels of 2 mm
        if isinstance(whole, MaskDetector):
            for weights in (*whole.judging.parameters(), *whole.fine.parameters()):
                weights.zero_()
            whole.judging[-1].bias[0] = 10.0  # each proposal is one
            whole.fine[0].weight[0, -1, 1, 1, 1] = 1  # the image itself
            whole.fine[-1].weight[0, 0] = 20.0
            whole.fine[-1].bias[0] = -6.0
    torch.save(whole.state_dict(), folder / "model.pt")
    card = {
        "id": "bright",
        "title": "Bright spots",
        "task": "detection",
        "backend": "torchscript",
        "structures": ["bright_spot"],
        "orientation": "RAS",
        "spacing": [2.0, 2.0, 2.0],
        "licence": "Apache-2.0",
        "network": {
            "patch_size": [32, 32, 32],
            "axes": "KJI",
            "intensity": {"window": [-1000, 1000]},
            "architecture": {"name": type(whole).__name__, "arguments": {"features": [1]}},
        },
    }
    (folder / "card.json").write_text(json.dumps(card), "utf-8")
    return folder


def phantom(centers_ras, matrix=None, shape=(60, 60, 60), radius_mm=6.0):
    """A CT of lung with bright balls at points in RAS mm."""
    matrix = np.diag([2.0, 2.0, 2.0, 1.0]) if matrix is None else matrix
    k, j, i = np.indices(shape)
    points = np.stack([i, j, k, np.ones_like(i)]).reshape(4, -1)
    ras = (matrix @ points)[:3].T
    array = np.random.default_rng(0).normal(-850, 20, len(ras))
    for center in centers_ras:
        array[np.linalg.norm(ras - center, axis=1) <= radius_mm] = 100
    return Volume(array.reshape(shape).astype(np.int16), matrix, "phantom", "CT")
