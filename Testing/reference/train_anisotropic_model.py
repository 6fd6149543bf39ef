"""Train the small network ``Testing/data/nnunet_anisotropic``, which the agreement test predicts with.

Runs in an environment of its own (see README.md beside this file):

    python train_anisotropic_model.py --data ../shared/data --work WORK_FOLDER --out Testing/data/nnunet_anisotropic
    python predict_reference.py --model Testing/data/nnunet_anisotropic --data ../shared/data \\
        --out Testing/data/nnunet_anisotropic/predicted

It differs from the demonstration model in all that agreement can fail at: slices of 7 mm on a plane of 2 mm, so
that nnU-Net resamples the slow axis on its own; a residual encoder; kernels and strides that leave that axis alone
at first. It learns five structures of one abdomen CT in some minutes, and is no use beyond the test.
"""

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from training import Training, run, write_case

STRUCTURES = {  # how TotalSegmentator's names begin
    "lungs": "lung_",
    "liver": "liver",
    "spleen": "spleen",
    "kidneys": "kidney_",
    "vertebrae": "vertebrae_",
}
FLAT, CUBE = [1, 3, 3], [3, 3, 3]
TRAINING = Training(
    dataset="Dataset902_DeepSegAnisotropic",
    cases=["abdomen"],
    values={name: value for value, name in enumerate(STRUCTURES, 1)},
    spacing=[7.0, 2.0, 2.0],
    patch=[16, 80, 96],
    network="ResidualEncoderUNet",
    architecture={
        "features_per_stage": [8, 16, 32, 64],
        "kernel_sizes": [FLAT, FLAT, CUBE, CUBE],
        "strides": [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2]],
        "n_blocks_per_stage": [1, 1, 2, 2],
        "n_conv_per_stage_decoder": [1, 1, 1],
    },
    title="DeepSeg anisotropic test",
)


def build_dataset(data: Path, raw: Path) -> None:
    names = json.loads((data / "totalsegmentator_total_labels.json").read_text("utf-8"))
    ct = sitk.ReadImage(str(data / "abdomen_ct" / "ct.nii.gz"))
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(data / "abdomen_ct" / "labels.nii.gz")))
    labels = np.zeros_like(theirs)
    for value, start in enumerate(STRUCTURES.values(), 1):
        labels[np.isin(theirs, [int(v) for v, name in names.items() if name.startswith(start)])] = value
    write_case(raw, "abdomen", ct, sitk.GetArrayFromImage(ct), labels)


if __name__ == "__main__":
    run(TRAINING, build_dataset, __doc__, epochs=8, iterations=50)
