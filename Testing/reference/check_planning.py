"""Our rules for patch, depth and batch give what nnunetv2's planners give.

PYTHONPATH=. python Testing/reference/check_planning.py
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np

CASES = [  # spacing and median shape along (Z, Y, X), cases, structures, GB
    ([1.5, 1.5, 1.5], [280, 230, 270], 20, 61, 8),
    ([5.0, 0.8, 0.8], [60, 512, 512], 30, 3, 8),
    ([3.0, 0.78, 0.78], [110, 480, 480], 131, 2, 24),
    ([1.0, 1.0, 1.0], [30, 40, 35], 200, 4, 8),
    ([2.0, 0.9, 0.9], [12, 300, 200], 10, 1, 4),
]


def planners(root: Path):
    """nnunetv2's planners by our name, made for an empty data set."""
    os.environ |= {f"nnUNet_{kind}": str(root / kind) for kind in ("raw", "preprocessed", "results")}
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
        ResEncUNetPlanner,
    )

    raw, preprocessed = (root / kind / "Dataset901_X" for kind in ("raw", "preprocessed"))
    for folder in (raw / "imagesTr", raw / "labelsTr", preprocessed):
        folder.mkdir(parents=True)
    (preprocessed / "dataset_fingerprint.json").write_text('{"median_relative_size_after_cropping": 1.0}', "utf-8")
    for spacing, shape, cases, structures, memory in CASES:
        labels = {"background": 0, **{f"s{n}": n for n in range(1, structures + 1)}}
        content = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": cases, "file_ending": ".nii.gz"}
        (raw / "dataset.json").write_text(json.dumps(content), "utf-8")
        for name, kind in (("unet", ExperimentPlanner), ("resenc", ResEncUNetPlanner)):
            yield name, kind("Dataset901_X", memory), (spacing, shape, cases, structures, memory)


def main() -> None:
    from DeepSegLogic.training.nnunet_rules import patch_and_batch

    with tempfile.TemporaryDirectory() as folder:
        for name, theirs, (spacing, shape, cases, structures, memory) in planners(Path(folder)):
            voxels = float(np.prod(shape)) * cases
            plan = theirs.get_plans_for_configuration(np.array(spacing), np.array(shape), "x", voxels, {})
            found, batch = patch_and_batch(name, spacing, np.array(shape, float), cases, structures + 1, memory)
            options = plan["architecture"]["arch_kwargs"]
            expected = [plan["patch_size"], options["strides"], options["kernel_sizes"]]
            expected = [np.array(x).tolist() for x in expected] + [plan["batch_size"]]
            ours = [np.array(x).tolist() for x in (found.patch, found.strides, found.kernels)] + [batch]
            print(name, spacing, "patch", ours[0], "batch", batch, "stages", len(found.strides))
            assert ours == expected, expected


if __name__ == "__main__":
    main()
