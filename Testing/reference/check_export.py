"""Run a model that ``deepseg train`` wrote with nnU-Net's own predictor and with DeepSeg's engine, and compare.

Runs in an environment with both (see README.md beside this file):

    python check_export.py --model lab --images c0_0000.nii.gz c0_0001.nii.gz
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from training import declare_torchvision_operators


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--images", nargs="+", required=True, help="one per channel")
    options = parser.parse_args()
    declare_torchvision_operators()
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    from DeepSegLogic import read_volume, segment

    predictor = nnUNetPredictor(
        use_mirroring=False, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(options.model), None)
    print(f"nnU-Net runs {len(predictor.list_of_parameters)} networks")
    with tempfile.TemporaryDirectory() as folder:
        predictor.predict_from_files_sequential([options.images], [f"{folder}/labels"], False, True)
        theirs = sitk.GetArrayFromImage(sitk.ReadImage(f"{folder}/labels.nii.gz"))
    first, *further = map(read_volume, options.images)
    channels = {str(number): volume for number, volume in enumerate(further, 1)}
    ours = segment(first, options.model, channels=channels, device="cpu").label_map.array
    print(f"{(ours == theirs).mean():.6f} of the voxels are equal; labels {np.unique(theirs).tolist()}")


if __name__ == "__main__":
    main()
