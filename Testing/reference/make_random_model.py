"""An nnU-Net v2 results folder with random weights: of the size of TotalSegmentator's 3 mm network, or a small 2D one.

    python make_random_model.py FOLDER [--classes 118]
    python make_random_model.py Testing/data/nnunet_2d --flat --classes 4

For measuring time and memory, and for agreement with nnU-Net: labels of random weights mean nothing else.
"""

import argparse
import json
from pathlib import Path

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from training import RESAMPLING, architecture

DEEP = [32, 64, 128, 256, 320], [112, 112, 128], [3.0, 3.0, 3.0]  # features, patch, spacing
FLAT = [8, 16, 24], [64, 48], [4.0, 3.5]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--classes", type=int, default=118)
    parser.add_argument("--flat", action="store_true")
    options = parser.parse_args()
    features, patch, spacing = FLAT if options.flat else DEEP
    stages, dimensions = len(features), len(patch)
    name = "2d" if options.flat else "3d_fullres"
    sizes = {
        "features_per_stage": features,
        "kernel_sizes": [[3] * dimensions] * stages,
        "strides": [[1] * dimensions] + [[2] * dimensions] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }
    planned = architecture("PlainConvUNet", sizes, dimensions)
    types = {
        "conv_op": getattr(torch.nn, f"Conv{dimensions}d"),
        "norm_op": getattr(torch.nn, f"InstanceNorm{dimensions}d"),
        "nonlin": torch.nn.LeakyReLU,
    }
    configuration = {
        "data_identifier": f"nnUNetPlans_{name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": patch,
        "median_image_size_in_voxels": patch,
        "spacing": spacing,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        **RESAMPLING,
        "architecture": planned,
        "batch_dice": False,
    }
    intensities = {"mean": 0.0, "std": 400.0, "percentile_00_5": -1000.0, "percentile_99_5": 1000.0}
    plans = {
        "dataset_name": "Dataset999_Random",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO" if options.flat else "NibabelIOWithReorient",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {name: configuration},
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities},
    }
    labels = {"background": 0, **{f"structure_{n}": n for n in range(1, options.classes)}}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    torch.manual_seed(0)
    network = PlainConvUNet(
        input_channels=1, num_classes=options.classes, deep_supervision=True, **(planned["arch_kwargs"] | types)
    )
    for layer in network.modules():
        if isinstance(layer, torch.nn.modules.conv._ConvNd):
            torch.nn.init.kaiming_normal_(layer.weight, a=1e-2)
    (options.folder / "fold_0").mkdir(parents=True, exist_ok=True)
    (options.folder / "plans.json").write_text(json.dumps(plans), "utf-8")
    (options.folder / "dataset.json").write_text(json.dumps(dataset), "utf-8")
    content = {
        "network_weights": network.state_dict(),
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": name},
        "inference_allowed_mirroring_axes": None,
    }
    torch.save(content, options.folder / "fold_0" / "checkpoint_final.pth")


if __name__ == "__main__":
    main()
