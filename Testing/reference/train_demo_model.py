"""Train the bundled demonstration model with nnU-Net's own trainer and write ``Resources/Models/ct_demo``.

Runs in an environment of its own (see README.md beside this file):

    python train_demo_model.py --data ../shared/data --work WORK_FOLDER --out Resources/Models/ct_demo

Two real subjects: the abdomen CT with TotalSegmentator's labels, and the chest CT of slicerio's wheel with
Slicer's own segmentation, which names only lungs, ribs and spine: what it leaves open is given to nnU-Net's
ignore label, so that it is not learnt as background.
"""

import argparse
import json
import os
import random
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicerio
import torch
from demo_structures import NAMES, ours
from scipy import ndimage

DATASET = "Dataset901_DeepSegDemo"
SPACING = [4.0, 4.0, 4.0]
PATCH = [48, 48, 48]
FEATURES = [16, 32, 64, 128, 128]
BATCH = 2
VALUES = {name: i + 1 for i, name in enumerate(NAMES)}
IGNORE = len(NAMES) + 1


def renamed(labels: np.ndarray, names: dict[int, str]) -> np.ndarray:
    """TotalSegmentator's label values to ours."""
    result = np.zeros_like(labels, dtype=np.uint8)
    for value, name in names.items():
        if (merged := ours(name)) is not None:
            result[labels == value] = VALUES[merged]
    return result


def chest_labels(ct: np.ndarray, segmentation: dict) -> np.ndarray:
    """Slicer's segmentation of the chest CT as our labels, the unknown as IGNORE. Axes (K, J, I) of a RAS grid."""
    theirs = segmentation["voxels"].transpose(2, 1, 0)
    value = {s["name"]: s["labelValue"] for s in segmentation["segments"]}
    result = np.full(theirs.shape, IGNORE, np.uint8)
    spine = np.isin(theirs, [v for n, v in value.items() if "vertebral" in n])
    outside = ndimage.binary_opening(ct < -300, iterations=1)
    regions, _ = ndimage.label(outside)
    border = np.unique(np.concatenate([regions[:, 0].ravel(), regions[:, -1].ravel(), regions[..., 0].ravel()]))
    result[np.isin(regions, border[border > 0])] = 0
    left, right = theirs == value["left lung"], theirs == value["right lung"]
    # Where both lungs are wide no abdominal organ can be: what is not spine, bone or near them is background.
    wide = (left.sum((1, 2)) > 600) & (right.sum((1, 2)) > 600)
    near_spine = ndimage.binary_dilation(spine, np.ones((3, 1, 1)), iterations=1)
    distance = ndimage.distance_transform_edt(~near_spine, sampling=(10, 3.05, 3.05))
    upper = np.zeros_like(spine)
    upper[wide] = True
    result[upper & (distance > 55) & (ct > -300) & (ct < 150)] = 0
    result[spine] = VALUES["vertebrae"]
    result[left], result[right] = VALUES["lung_left"], VALUES["lung_right"]
    middle = np.mean(np.nonzero(spine)[2])
    ribs = theirs == value["ribs"]
    columns = np.arange(theirs.shape[2])[None, None]
    result[ribs & (columns < middle)] = VALUES["ribs_left"]  # RAS: I runs to the right
    result[ribs & (columns >= middle)] = VALUES["ribs_right"]
    result[ribs & (np.abs(columns - middle) < 6)] = IGNORE  # sternum or costovertebral joints: either side
    return result


def build_dataset(data: Path, raw: Path) -> None:
    images, labels = raw / DATASET / "imagesTr", raw / DATASET / "labelsTr"
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(exist_ok=True)
    names = {int(k): v for k, v in json.loads((data / "totalsegmentator_total_labels.json").read_text()).items()}

    ct = sitk.ReadImage(str(data / "abdomen_ct" / "ct.nii.gz"))
    truth = sitk.ReadImage(str(data / "abdomen_ct" / "labels.nii.gz"))
    write(ct, sitk.GetArrayFromImage(ct), images / "abdomen_0000.nii.gz")
    write(truth, renamed(sitk.GetArrayFromImage(truth), names), labels / "abdomen.nii.gz")

    package = Path(slicerio.__file__).parent / "data"
    ct = sitk.ReadImage(str(package / "CTChest4.nrrd"))
    array = sitk.GetArrayFromImage(ct)
    truth = chest_labels(array, slicerio.read_segmentation(str(package / "Segmentation.seg.nrrd")))
    write(ct, array, images / "chest_0000.nii.gz")
    write(ct, truth, labels / "chest.nii.gz")
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **VALUES, "ignore": IGNORE},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "NibabelIOWithReorient",
        "name": "DeepSeg demonstration",
    }
    (raw / DATASET / "dataset.json").write_text(json.dumps(content, indent=1))


def write(grid: sitk.Image, array: np.ndarray, path: Path) -> None:
    image = sitk.GetImageFromArray(array.astype(np.int16 if array.dtype.kind == "i" else np.uint8))
    image.CopyInformation(grid)
    sitk.WriteImage(image, str(path))


def write_plans(raw: Path, preprocessed: Path) -> None:
    """A small plan, in nnU-Net's own format."""
    values = []
    for case in ("abdomen", "chest"):
        image = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / DATASET / "imagesTr" / f"{case}_0000.nii.gz")))
        truth = sitk.GetArrayFromImage(sitk.ReadImage(str(raw / DATASET / "labelsTr" / f"{case}.nii.gz")))
        values.append(image[(truth > 0) & (truth < IGNORE)].astype(float))
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
    stages = len(FEATURES)
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": FEATURES,
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_conv_per_stage": [1, 2, 2, 2, 2],
            "n_conv_per_stage_decoder": [2, 2, 2, 1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }

    def resampling(is_seg, order):
        return {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}

    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": BATCH,
        "patch_size": PATCH,
        "median_image_size_in_voxels": [112, 110, 120],
        "spacing": SPACING,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling(False, 3),
        "resampling_fn_seg_kwargs": resampling(True, 1),
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling(False, 1),
        "architecture": architecture,
        "batch_dice": True,
    }
    plans = {
        "dataset_name": DATASET,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": SPACING,
        "original_median_shape_after_transp": [112, 110, 120],
        "image_reader_writer": "NibabelIOWithReorient",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities},
    }
    folder = preprocessed / DATASET
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans, indent=1))
    (folder / "dataset.json").write_text((raw / DATASET / "dataset.json").read_text())
    (folder / "dataset_fingerprint.json").write_text("{}")  # the trainer copies it and reads nothing of it


def train(epochs: int, iterations: int, results: Path) -> Path:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA

    preprocessed = Path(os.environ["nnUNet_preprocessed"]) / DATASET  # noqa: SIM112
    if not (preprocessed / "nnUNetPlans_3d_fullres").exists():
        DefaultPreprocessor(verbose=False).run(901, "3d_fullres", "nnUNetPlans", num_processes=1)

    class DemoTrainer(nnUNetTrainerNoDA):
        """nnU-Net's trainer, shorter and without augmentation, which pays only in longer trainings.

        Both subjects are trained on, since two are all there are.
        """

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
            return ["abdomen", "chest"], ["abdomen"]

        def _do_i_compile(self):
            return False

    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    dataset = json.loads((preprocessed / "dataset.json").read_text())
    plans["continue_training"] = False  # nnU-Net passes this flag inside the plans
    trainer = DemoTrainer(plans, "3d_fullres", 0, dataset, device=torch.device("cpu"))
    trainer.run_training()
    return Path(trainer.output_folder) / "checkpoint_final.pth"


def strip(checkpoint: Path, plans: Path, dataset: Path, out: Path) -> None:
    """Keep what prediction needs, under the name of a trainer that stock nnU-Net knows."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=False)
    (out / "fold_0").mkdir(parents=True, exist_ok=True)
    for source, target in ((plans, "plans.json"), (dataset, "dataset.json")):
        (out / target).write_text(json.dumps(json.loads(source.read_text()), indent=1) + "\n")
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with abdomen_ct/")
    parser.add_argument("--work", type=Path, required=True, help="for nnU-Net's intermediate files")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=60, help="per epoch")
    options = parser.parse_args()
    folders = {n: options.work / n for n in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    os.environ.update({n: str(p) for n, p in folders.items()}, nnUNet_n_proc_DA="2", nnUNet_compile="false")
    # torchvision does not import on a CPU build of torch unless these operators are declared first
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    build_dataset(options.data, folders["nnUNet_raw"])
    write_plans(folders["nnUNet_raw"], folders["nnUNet_preprocessed"])
    checkpoint = train(options.epochs, options.iterations, folders["nnUNet_results"])
    preprocessed = folders["nnUNet_preprocessed"] / DATASET
    strip(checkpoint, preprocessed / "nnUNetPlans.json", preprocessed / "dataset.json", options.out)


if __name__ == "__main__":
    main()
