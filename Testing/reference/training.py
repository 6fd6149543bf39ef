"""What the training scripts share: a plan in nnU-Net's own format, its trainer made short, and the result stripped."""

import argparse
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

RESAMPLING = {  # entries of a configuration, as nnU-Net's planner writes them
    key: value
    for what, order in (("data", 3), ("seg", 1), ("probabilities", 1))
    for key, value in (
        (f"resampling_fn_{what}", "resample_data_or_seg_to_shape"),
        (
            f"resampling_fn_{what}_kwargs",
            {"is_seg": what == "seg", "order": order, "order_z": 0, "force_separate_z": None},
        ),
    )
}


def architecture(network: str, sizes: dict, dimensions: int = 3) -> dict:
    """The entry of a plan for a U-Net.

    Args:
        network: ``"PlainConvUNet"`` or ``"ResidualEncoderUNet"``.
        sizes: its arguments, without operations.
        dimensions: 2 for a network that works slice by slice.
    """
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{network}",
        "arch_kwargs": {
            "n_stages": len(sizes["features_per_stage"]),
            **sizes,
            "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


@dataclass
class Training:
    """One small nnU-Net.

    Attributes:
        dataset: nnU-Net's name, ``"Dataset901_Demo"``.
        cases: subjects, all of them trained on; the first one also stands in for validation.
        values: label values, background left out.
        spacing, patch, batch: of the plan; mm and voxels along (Z, Y, X).
        network: class in dynamic_network_architectures.
        architecture: its arguments beyond the usual ones.
        title: of the data set.
    """

    dataset: str
    cases: list[str]
    values: dict[str, int]
    spacing: list[float]
    patch: list[int]
    network: str
    architecture: dict
    title: str
    batch: int = 2


def declare_torchvision_operators() -> None:
    """torchvision does not import on a CPU build of torch unless these are declared first."""
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def run(training: Training, build_dataset, description: str, epochs: int, iterations: int) -> None:
    """The command line of a training: from the images to a results folder that stock nnU-Net predicts with.

    Args:
        build_dataset: called with the folder of images and nnU-Net's raw folder of the data set; writes images and
            labels.
        epochs, iterations: if the command does not say; iterations are per epoch.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with abdomen_ct/")
    parser.add_argument("--work", type=Path, required=True, help="for nnU-Net's intermediate files")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--iterations", type=int, default=iterations, help="per epoch")
    options = parser.parse_args()
    _run(training, build_dataset, options.data, options.work, options.out, options.epochs, options.iterations)


def _run(training: Training, build_dataset, data: Path, work: Path, out: Path, epochs: int, iterations: int) -> None:
    folders = {n: work / n for n in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    os.environ.update({n: str(p) for n, p in folders.items()}, nnUNet_n_proc_DA="2", nnUNet_compile="false")
    declare_torchvision_operators()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    raw = folders["nnUNet_raw"] / training.dataset
    preprocessed = folders["nnUNet_preprocessed"] / training.dataset
    for folder in (raw / "imagesTr", raw / "labelsTr", preprocessed):
        folder.mkdir(parents=True, exist_ok=True)
    build_dataset(data, raw)
    _write_dataset(training, raw)
    _write_plans(training, raw, preprocessed)
    checkpoint = _train(training, preprocessed, epochs, iterations)
    _strip(checkpoint, preprocessed / "nnUNetPlans.json", preprocessed / "dataset.json", out)


def write_case(raw: Path, case: str, grid: sitk.Image, image: np.ndarray, labels: np.ndarray) -> None:
    """Store a subject in nnU-Net's raw folder; arrays are (K, J, I) on ``grid``."""
    for array, path in ((image, f"imagesTr/{case}_0000.nii.gz"), (labels, f"labelsTr/{case}.nii.gz")):
        stored = sitk.GetImageFromArray(array.astype(np.int16 if array is image else np.uint8))
        stored.CopyInformation(grid)
        sitk.WriteImage(stored, str(raw / path))


def _write_dataset(training: Training, raw: Path) -> None:
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **training.values},
        "numTraining": len(training.cases),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
        "name": training.title,
    }
    (raw / "dataset.json").write_text(json.dumps(content, indent=1), "utf-8")


def _write_plans(training: Training, raw: Path, preprocessed: Path) -> None:
    values = []
    for case in training.cases:
        image = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / "imagesTr" / f"{case}_0000.nii.gz")))
        truth = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / "labelsTr" / f"{case}.nii.gz")))
        values.append(image[truth > 0].astype(float))
    values = np.concatenate(values)
    intensities = {
        "mean": values.mean(),
        "median": float(np.median(values)),
        "std": values.std(),
        "min": values.min(),
        "max": values.max(),
        "percentile_00_5": float(np.percentile(values, 0.5)),
        "percentile_99_5": float(np.percentile(values, 99.5)),
    }
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": training.batch,
        "patch_size": training.patch,
        "median_image_size_in_voxels": training.patch,
        "spacing": training.spacing,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        **RESAMPLING,
        "architecture": architecture(training.network, training.architecture),
        "batch_dice": True,
    }
    plans = {
        "dataset_name": training.dataset,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": training.spacing,
        "original_median_shape_after_transp": training.patch,
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities},
    }
    (preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans, indent=1), "utf-8")
    (preprocessed / "dataset.json").write_text((raw / "dataset.json").read_text("utf-8"), "utf-8")
    (preprocessed / "dataset_fingerprint.json").write_text(
        "{}", "utf-8"
    )  # the trainer copies it and reads nothing of it


def _train(training: Training, preprocessed: Path, epochs: int, iterations: int) -> Path:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA

    if not (preprocessed / "nnUNetPlans_3d_fullres").exists():
        number = int(training.dataset[len("Dataset") :].split("_")[0])
        DefaultPreprocessor(verbose=False).run(number, "3d_fullres", "nnUNetPlans", num_processes=1)

    class ShortTrainer(nnUNetTrainerNoDA):
        """nnU-Net's trainer, shorter and without augmentation, which pays only in longer trainings."""

        def __init__(self, plans, configuration, fold, dataset_json, device):
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = epochs, iterations, 2
            self.oversample_foreground_percent = 0.67
            self.save_every = 5

        def configure_optimizers(self):
            # a thousand steps are few for thirty structures: Adam gets there, nnU-Net's SGD does not
            from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler

            optimizer = torch.optim.AdamW(self.network.parameters(), 2e-3, weight_decay=self.weight_decay)
            return optimizer, PolyLRScheduler(optimizer, 2e-3, self.num_epochs)

        def do_split(self):
            return training.cases, training.cases[:1]

        def _do_i_compile(self):
            return False

    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text("utf-8"))
    dataset = json.loads((preprocessed / "dataset.json").read_text("utf-8"))
    plans["continue_training"] = False  # nnU-Net passes this flag inside the plans
    trainer = ShortTrainer(plans, "3d_fullres", 0, dataset, device=torch.device("cpu"))
    trainer.run_training()
    return Path(trainer.output_folder) / "checkpoint_final.pth"


def _strip(checkpoint: Path, plans: Path, dataset: Path, out: Path) -> None:
    """Keep what prediction needs, under the name of a trainer that stock nnU-Net knows."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=False)
    (out / "fold_0").mkdir(parents=True, exist_ok=True)
    for source, target in ((plans, "plans.json"), (dataset, "dataset.json")):
        (out / target).write_text(json.dumps(json.loads(source.read_text("utf-8")), indent=1) + "\n", "utf-8")
    halved = {}  # nnU-Net's weights stand under several names; so they stay one tensor in the file

    def half(tensor):
        return halved.setdefault(tensor.data_ptr(), tensor.half())

    kept = {
        "network_weights": {name: half(tensor) for name, tensor in content["network_weights"].items()},
        "trainer_name": "nnUNetTrainerNoDA",
        "init_args": {"configuration": "3d_fullres", "fold": 0},
        "inference_allowed_mirroring_axes": None,
    }
    torch.save(kept, out / "fold_0" / "checkpoint_final.pth")
