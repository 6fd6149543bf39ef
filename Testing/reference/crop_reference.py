"""Make ``Testing/data/totalsegmentator_crop``: what TotalSegmentator makes of a task that crops by another model first.

Runs in an environment of its own, with TotalSegmentator (see README.md beside this file):

    python crop_reference.py --out Testing/data/totalsegmentator_crop

The task is liver_vessels, which crops by the 6 mm network for 117 structures. Tiny networks stand in for its two: the
first marks the brightest blob as the liver, the weights of the second are random, so that its labels depend on every
voxel of the crop. At 6 mm the first needs no resampling, in which TotalSegmentator and nnU-Net differ.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import torch
from plan_kinds import write_model
from scipy.ndimage import binary_dilation, gaussian_filter
from training import declare_torchvision_operators

HELPER = "Dataset298_TotalSegmentator_total_6mm_1559subj/nnUNetTrainer_4000epochs_NoMirroring__nnUNetPlans__3d_fullres"
TASK = "Dataset008_HepaticVessel/nnUNetTrainer__nnUNetPlans__3d_fullres"
LIVER = 5  # its label in the 6 mm network


def phantom() -> tuple[np.ndarray, np.ndarray]:
    """A CT (I, J, K) of 6 mm with a bright blob, and where the blob is."""
    random = np.random.default_rng(3)
    shape = (48, 48, 48)  # one patch of the first network
    i, j, k = np.indices(shape)
    values = 800 * gaussian_filter(random.standard_normal(shape), 1.5) + 20 * random.standard_normal(shape)
    blob = ((i - 17) / 8) ** 2 + ((j - 27) / 7) ** 2 + ((k - 19) / 6) ** 2 <= 1
    return np.rint(values - 700 + 900 * blob).clip(-1000, 2000).astype(np.int16), blob


def reading(values: np.ndarray, blob: np.ndarray):
    """Makes the last layer mark the blob: the linear reading of the network's features that fits it best, above what
    it reads far from it."""

    def tune(network: torch.nn.Module) -> None:
        head = network.decoder.seg_layers[-1]
        image = torch.from_numpy(values.transpose(2, 1, 0).astype(np.float32))[None, None]
        seen = []
        hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0].flatten(1).T))
        with torch.no_grad():
            network((image - image.mean()) / image.std())
            features = torch.cat([seen[0], torch.ones(len(seen[0]), 1)], 1)
            inside = torch.from_numpy(blob.transpose(2, 1, 0).copy()).flatten()
            weight = torch.where(inside, (1 / inside.float().mean()).sqrt(), 1.0)[:, None]  # few count as much as many
            read = torch.linalg.lstsq(weight * features, weight * (2 * inside[:, None].float() - 1)).solution[:, 0]
            near = torch.from_numpy(binary_dilation(blob.transpose(2, 1, 0), iterations=3)).flatten()
            head.weight.zero_()
            head.bias.fill_(-100.0)
            head.bias[0] = 0.0
            head.weight[LIVER, :, 0, 0, 0] = 8 * read[:-1]
            head.bias[LIVER] = 8 * read[-1] - 8.1 * (features @ read)[~near].max()
        hook.remove()

    return tune


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    declare_torchvision_operators()
    from totalsegmentator.map_to_binary import class_map

    values, blob = phantom()
    image = nibabel.Nifti1Image(values, np.array([[-6.0, 0, 0, 90], [0, -6, 0, 120], [0, 0, 6, -40], [0, 0, 0, 1]]))
    names = {"background": 0} | {name: value for value, name in class_map["total"].items()}
    helper = {"spacing": [6.0, 6.0, 6.0], "patch": [48, 48, 48], "labels": names}
    task = {"spacing": [5.0, 4.2, 4.2], "labels": {"background": 0, "vessels": 1, "tumor": 2}}
    # The network sees the volume from the left, back and below, as RAS.
    write_model(helper, out / HELPER, reading(values[::-1, ::-1], blob[::-1, ::-1]))
    write_model(task, out / TASK)
    nibabel.save(image, out / "ct.nii.gz")
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"TOTALSEG_HOME_DIR": home, "TOTALSEG_WEIGHTS_PATH": str(out.resolve())}
        (Path(home) / "config.json").write_text(json.dumps({"send_usage_stats": False, "prediction_counter": 0}))
        from totalsegmentator.python_api import totalsegmentator

        made = totalsegmentator(
            out / "ct.nii.gz", Path(home) / "labels.nii.gz", ml=True, task="liver_vessels", device="cpu"
        )
    found = np.asanyarray(made.dataobj).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(found, image.affine), out / "labels.nii.gz")
    print("labels", np.bincount(found.ravel()))


if __name__ == "__main__":
    main()
