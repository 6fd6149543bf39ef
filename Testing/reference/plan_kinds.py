"""Make ``Testing/data/nnunet_kinds``: tiny nnU-Nets of the kinds that labs publish, and what nnU-Net makes of an image.

Runs in an environment of its own (see README.md beside this file):

    python plan_kinds.py --out Testing/data/nnunet_kinds

The weights are random: labels mean nothing, but depend on every step of the way. The image is like an MR of a head
without its skull: zero outside, with holes of zero inside.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from scipy.ndimage import gaussian_filter, zoom
from training import RESAMPLING, architecture, declare_torchvision_operators

CUBES = [[3, 3, 3]] * 3
HALVES = [[1, 1, 1], [2, 2, 2], [2, 2, 2]]
FLAT = {"kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]]}
PARTS = {"background": 0, "one": 1, "two": 2, "three": 3}
CHANNELS = ["T1"]
REGIONS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": 3}

KINDS = {
    "masked": {"spacing": [1.6, 1.3, 1.3], "masked": True},
    "masked_slices": {"spacing": [6.0, 1.3, 1.3], "masked": True, "sizes": FLAT},
    "regions": {"spacing": [2.2, 1.8, 1.8], "labels": REGIONS, "regions_class_order": [1, 2, 3]},
    "transposed_early": {"spacing": [1.3, 2.4, 2.0], "transpose": [1, 0, 2], "early": True},
    "residual": {"spacing": [2.0, 2.0, 2.0], "residual": True, "scheme": "RescaleTo01Normalization"},
    # Random second stages look closely at the first one's labels: the seeds are such that none of these hangs on the
    # half precision in which nnU-Net sums logits.
    "cascade": {"spacing": [1.6, 1.3, 1.3], "lowres": [3.2, 2.7, 2.7], "masked": True, "seed": 6},
    "cascade_slices": {
        "spacing": [6.0, 1.4, 1.4],
        "lowres": [6.0, 2.9, 2.9],
        "seed": 7,
        "sizes": FLAT,
        "labels": REGIONS,
        "regions_class_order": [1, 2, 3],
    },
    "slices": {"spacing": [1.8, 1.5], "channels": ["T2", "PET"], "flat": True, "seed": 1},
    "channels": {
        "spacing": [2.0, 1.6, 1.6],
        "channels": ["T2", "PET", "T1"],
        "scheme": ["ZScoreNormalization", "CTNormalization", "ZScoreNormalization"],
        "masked": [False, False, True],
        "intensities": [
            {"mean": 0.0, "std": 1.0},
            {"mean": 2.0, "std": 1.5, "percentile_00_5": 0.3, "percentile_99_5": 5.0},
            {"mean": 0.0, "std": 1.0},
        ],
    },
}


def image() -> sitk.Image:
    random = np.random.default_rng(7)
    shape = (28, 44, 40)
    smooth = zoom(random.standard_normal([n // 4 for n in shape]), 4, order=3) + gaussian_filter(
        random.standard_normal(shape), 1
    )
    k, j, i = np.indices(shape)
    far = ((k - 14) / 12) ** 2 + ((j - 22) / 18) ** 2 + ((i - 20) / 16) ** 2
    values = np.rint(300 + 90 * smooth).clip(1, 900)
    values[far > 1] = 0
    values[10:16, 18:24, 14:20] = 0  # a hole
    made = sitk.GetImageFromArray(values.astype(np.int16))
    made.SetSpacing((1.0, 1.1, 2.5))
    return made


def further_images() -> list[sitk.Image]:
    """A second and a third channel on the same grid: other values, and partly where the first one is 0."""
    first = image()
    values = sitk.GetArrayFromImage(first).astype(np.float32)
    random = np.random.default_rng(8)
    spots = gaussian_filter(random.standard_normal(values.shape), 2)
    activity = np.where(values > 0, (8 * spots).clip(0) + 0.1, 0)
    other = np.where(np.roll(values, 2, 2) > 0, 500 + 200 * zoom(random.standard_normal((7, 11, 10)), 4, order=1), 0)
    made = [sitk.GetImageFromArray(array.astype(np.float32)) for array in (activity.round(2), np.rint(other))]
    for one in made:
        one.CopyInformation(first)
    return made


def configuration(kind: dict) -> dict:
    channels = len(kind.get("channels", CHANNELS))
    sizes = {"kernel_sizes": CUBES, "strides": HALVES} | kind.get("sizes", {})
    if kind.get("flat"):
        sizes = {key: [size[1:] for size in value] for key, value in sizes.items()}
    common = {
        "data_identifier": "nnUNetPlans_2d" if kind.get("flat") else "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": kind.get("patch", [16, 32, 32][-len(kind["spacing"]) :]),
        "spacing": kind["spacing"],
        "normalization_schemes": per_channel(kind.get("scheme", "ZScoreNormalization"), channels),
        "use_mask_for_norm": per_channel(kind.get("masked", False), channels),
        **RESAMPLING,
        "batch_dice": False,
    }
    blocks = "n_blocks_per_stage" if kind.get("residual") else "n_conv_per_stage"
    if kind.get("early"):
        return common | {
            "UNet_class_name": "PlainConvUNet",
            "UNet_base_num_features": 4,
            "unet_max_num_features": 8,
            "n_conv_per_stage_encoder": [1, 1, 1],
            "n_conv_per_stage_decoder": [1, 1],
            "num_pool_per_axis": [2, 2, 2],
            "pool_op_kernel_sizes": sizes["strides"],
            "conv_kernel_sizes": sizes["kernel_sizes"],
        }
    name = "ResidualEncoderUNet" if kind.get("residual") else "PlainConvUNet"
    sizes |= {"features_per_stage": [4, 8, 8], blocks: [1, 1, 1], "n_conv_per_stage_decoder": [1, 1]}
    return common | {"architecture": architecture(name, sizes, len(kind["spacing"]))}


def per_channel(value: object, channels: int) -> list:
    return value if isinstance(value, list) else [value] * channels


def configurations(kind: dict) -> dict:
    """By name; those of a cascade as nnU-Net's planner writes them."""
    full = {"2d" if kind.get("flat") else "3d_fullres": configuration(kind)}
    if "lowres" not in kind:
        return full
    lowres = {"inherits_from": "3d_fullres", "spacing": kind["lowres"], "next_stage": "3d_cascade_fullres"}
    cascade = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    return full | {"3d_lowres": lowres, "3d_cascade_fullres": cascade}


def balance(network: torch.nn.Module) -> None:
    """Scale the last layer, so that every output is the largest somewhere."""
    head = network.decoder.seg_layers[-1]
    with torch.no_grad():
        _, inputs, *kernel = next(network.parameters()).shape
        pool = torch.nn.functional.avg_pool2d if len(kernel) == 2 else torch.nn.functional.avg_pool3d
        smooth = pool(torch.randn(1, inputs, *(36, 68, 68)[-len(kernel) :]), 5, 1)
        logits = network(3 * smooth)[0][0].flatten(1)
        head.weight /= logits.std(1).view(-1, *[1] * (head.weight.ndim - 1))
        head.bias -= logits.mean(1)
        head.bias /= logits.std(1)


def write_model(kind: dict, folder: Path, tune: Callable[[torch.nn.Module], None] = balance, *, name: str = "") -> None:
    """A results folder of a configuration, by default the first, as nnU-Net leaves it, with its own network, whose
    last layer ``tune`` changes."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    name = name or next(iter(configurations(kind)))
    transpose, channels = kind.get("transpose", [0, 1, 2]), kind.get("channels", CHANNELS)
    intensities = kind.get("intensities", [{"mean": 0.0, "std": 1.0}] * len(channels))
    plans = {
        "dataset_name": "Dataset903_Kinds",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": kind["spacing"],
        "original_median_shape_after_transp": [28, 44, 40],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": transpose,
        "transpose_backward": np.argsort(transpose).tolist(),
        "configurations": configurations(kind),
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(n): facts for n, facts in enumerate(intensities)},
    }
    dataset = {
        "channel_names": {str(n): name for n, name in enumerate(channels)},
        "labels": kind.get("labels", PARTS),
        "numTraining": 1,
    }
    dataset |= {"file_ending": ".nii.gz"} | {k: kind[k] for k in ("regions_class_order",) if k in kind}
    manager = PlansManager(json.loads(json.dumps(plans)))
    heads = manager.get_label_manager(dataset).num_segmentation_heads
    torch.manual_seed(kind.get("seed", 0))
    planned = manager.get_configuration(name)
    inputs = determine_num_input_channels(manager, planned, dataset)
    network = nnUNetTrainer.build_network_architecture(manager, planned, inputs, heads, True)
    halved: dict[int, torch.Tensor] = {}  # the same weight stands there under several names
    tune(network)
    weights = {n: halved.setdefault(t.data_ptr(), t.half()) for n, t in network.state_dict().items()}
    checkpoint = {
        "network_weights": weights,
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": name, "fold": 0},
        "inference_allowed_mirroring_axes": None,
    }
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    for file, content in (("plans", plans), ("dataset", dataset)):
        (folder / f"{file}.json").write_text(json.dumps(content) + "\n", "utf-8")
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    declare_torchvision_operators()
    options.out.mkdir(parents=True, exist_ok=True)
    source = options.out / "image.nii.gz"
    sitk.WriteImage(image(), str(source), useCompression=True)
    sources = [source, *(options.out / f"image_{number}.nii.gz" for number in (1, 2))]
    for further, path in zip(further_images(), sources[1:], strict=True):
        sitk.WriteImage(further, str(path), useCompression=True)
    for name, kind in KINDS.items():
        folder = options.out / name
        with tempfile.TemporaryDirectory() as scratch:
            given = [f"{scratch}/image_{number:04d}.nii.gz" for number in range(len(kind.get("channels", CHANNELS)))]
            for path, copy in zip(sources, given, strict=False):
                shutil.copy(path, copy)
            if "lowres" in kind:
                for stage, before in (("3d_lowres", None), ("3d_cascade_fullres", scratch)):
                    training = folder / f"nnUNetTrainer__nnUNetPlans__{stage}"
                    write_model(kind, training, name=stage)
                    predict(training, given, f"{scratch}/image", before)
            else:
                write_model(kind, folder)
                predict(folder, given, f"{scratch}/image")
            labels = sitk.Cast(sitk.ReadImage(f"{scratch}/image.nii.gz"), sitk.sitkUInt8)
        sitk.WriteImage(labels, str(folder / "labels.nii.gz"), useCompression=True)
        print(name, np.bincount(sitk.GetArrayFromImage(labels).ravel()))


def predict(folder: Path, given: list[str], target: str, before: str | None = None) -> None:
    """nnU-Net's own labels, written to ``target`` with its suffix.

    Args:
        before: for the second stage of a cascade, the folder with the labels of the first.
    """
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        use_mirroring=False, perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(folder), None)
    predictor.predict_from_files_sequential([given], [target], False, True, folder_with_segs_from_prev_stage=before)


if __name__ == "__main__":
    main()
