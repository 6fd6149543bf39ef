"""Train the bundled demonstration model with nnU-Net's own trainer and write ``Resources/Models/ct_demo``.

Runs in an environment of its own (see README.md beside this file):

    python train_demo_model.py --data ../shared/data --work WORK_FOLDER --out Resources/Models/ct_demo

Two real subjects: the abdomen CT with TotalSegmentator's labels, and the chest CT of slicerio's wheel with
Slicer's own segmentation, which names only lungs, ribs and spine: what it leaves open is given to nnU-Net's
ignore label, so that it is not learnt as background.
"""

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicerio
from demo_structures import NAMES, ours
from scipy import ndimage
from training import Training, run, write_case

VALUES = {name: i + 1 for i, name in enumerate(NAMES)}
IGNORE = len(NAMES) + 1
TRAINING = Training(
    dataset="Dataset901_DeepSegDemo",
    cases=["abdomen", "chest"],
    values=VALUES,
    ignore=IGNORE,
    spacing=[4.0, 4.0, 4.0],
    patch=[48, 48, 48],
    network="PlainConvUNet",
    architecture={
        "features_per_stage": [16, 32, 64, 128, 128],
        "kernel_sizes": [[3, 3, 3]] * 5,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * 4,
        "n_conv_per_stage": [1, 2, 2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2, 2, 1],
    },
    title="DeepSeg demonstration",
)


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
    names = {int(k): v for k, v in json.loads((data / "totalsegmentator_total_labels.json").read_text("utf-8")).items()}
    ct = sitk.ReadImage(str(data / "abdomen_ct" / "ct.nii.gz"))
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(data / "abdomen_ct" / "labels.nii.gz")))
    write_case(raw, "abdomen", ct, sitk.GetArrayFromImage(ct), renamed(truth, names))

    package = Path(slicerio.__file__).parent / "data"
    ct = sitk.ReadImage(str(package / "CTChest4.nrrd"))
    array = sitk.GetArrayFromImage(ct)
    truth = chest_labels(array, slicerio.read_segmentation(str(package / "Segmentation.seg.nrrd")))
    write_case(raw, "chest", ct, array, truth)


if __name__ == "__main__":
    run(TRAINING, build_dataset, __doc__, epochs=32, iterations=60)
