"""A MONAI bundle laid out as the model zoo's ``lung_nodule_ct_detection``, with a small RetinaNet of random weights."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

SPACING = (1.5, 1.5, 2.0)
_HERE = "monai.apps.detection"


def importable_torchvision() -> None:
    """Import torchvision, whose Python parts MONAI's RetinaNet uses. One that was built for another torch lacks its
    compiled operators and then fails to import unless they are declared; no test here calls them."""
    import torch

    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401

        for module in ("networks.blocks.backbone_fpn_utils", "apps.detection.networks.retinanet_network"):
            if (loaded := sys.modules.get(f"monai.{module}")) is not None:  # it noted that torchvision is missing
                importlib.reload(loaded)


def inference_config(**changes: Any) -> dict[str, Any]:
    """``configs/inference.json``: the entries that the zoo's has, with smaller numbers."""
    config: dict[str, Any] = {
        "whether_raw_luna16": False,
        "whether_resampled_luna16": "$(not @whether_raw_luna16)",
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "amp": True,
        "spatial_dims": 3,
        "num_classes": 1,
        "force_sliding_window": False,
        "size_divisible": [16, 16, 8],
        "infer_patch_size": [96, 96, 48],
        "anchor_generator": {
            "_target_": f"{_HERE}.utils.anchor_utils.AnchorGeneratorWithAnchorShape",
            "feature_map_scales": [1, 2, 4],
            "base_anchor_shapes": [[6, 8, 4], [8, 6, 5], [10, 10, 6]],
        },
        "backbone": "$monai.networks.nets.resnet.resnet10(spatial_dims=3,n_input_channels=1,widen_factor=0.125,"
        "conv1_t_stride=[2,2,1],conv1_t_size=[7,7,7])",
        "feature_extractor": f"${_HERE}.networks.retinanet_network.resnet_fpn_feature_extractor("
        "@backbone,3,False,[1,2],None)",
        "network_def": {
            "_target_": "RetinaNet",
            "spatial_dims": "@spatial_dims",
            "num_classes": "@num_classes",
            "num_anchors": 3,
            "feature_extractor": "@feature_extractor",
            "size_divisible": "@size_divisible",
            "use_list_output": False,
        },
        "network": "$@network_def.to(@device)",
        "detector": {
            "_target_": "RetinaNetDetector",
            "network": "@network",
            "anchor_generator": "@anchor_generator",
            "debug": False,
            "spatial_dims": "@spatial_dims",
            "num_classes": "@num_classes",
            "size_divisible": "@size_divisible",
        },
        "detector_ops": [
            "$@detector.set_target_keys(box_key='box', label_key='label')",
            "$@detector.set_box_selector_parameters(score_thresh=0.02,topk_candidates_per_level=1000,"
            "nms_thresh=0.22,detections_per_img=300)",
            "$@detector.set_sliding_window_inferer(roi_size=@infer_patch_size,overlap=0.25,sw_batch_size=1,"
            "mode='constant',device='cpu')",
        ],
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "_disabled_": "@whether_raw_luna16"},
                {
                    "_target_": "LoadImaged",
                    "keys": "image",
                    "reader": "itkreader",
                    "affine_lps_to_ras": True,
                    "_disabled_": "@whether_resampled_luna16",
                },
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
                {
                    "_target_": "Spacingd",
                    "keys": "image",
                    "pixdim": list(SPACING),
                    "_disabled_": "@whether_resampled_luna16",
                },
                {
                    "_target_": "ScaleIntensityRanged",
                    "keys": "image",
                    "a_min": -1024.0,
                    "a_max": 300.0,
                    "b_min": 0.0,
                    "b_max": 1.0,
                    "clip": True,
                },
                {"_target_": "EnsureTyped", "keys": "image"},
            ],
        },
        "inferer": {"_target_": "scripts.detection_inferer.RetinaNetInferer", "detector": "@detector"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": "ClipBoxToImaged",
                    "box_keys": "box",
                    "label_keys": "label",
                    "box_ref_image_keys": "image",
                    "remove_empty": True,
                },
                {
                    "_target_": "AffineBoxToWorldCoordinated",
                    "box_keys": "box",
                    "box_ref_image_keys": "image",
                    "affine_lps_to_ras": True,
                },
                {"_target_": "ConvertBoxModed", "box_keys": "box", "src_mode": "xyzxyz", "dst_mode": "cccwhd"},
                {"_target_": "DeleteItemsd", "keys": ["image"]},
            ],
        },
        "handlers": [
            {
                "_target_": "CheckpointLoader",
                "load_path": "$@bundle_root + '/models/model.pt'",
                "load_dict": {"model": "@network"},
            },
        ],
        "evaluator": {"_target_": "scripts.evaluator.DetectionEvaluator", "_requires_": "@detector_ops"},
    }
    return config | changes


METADATA = {
    "version": "0.6.9",
    "monai_version": "1.4.0",
    "optional_packages_version": {"nibabel": "5.2.1", "torchvision": "0.19.0"},
    "name": "Lung nodule CT detection",
    "task": "CT lung nodule detection",
    "description": "A pre-trained model for volumetric (3D) detection of the lung lesion from CT image",
    "authors": "nobody",
    "network_data_format": {
        "inputs": {
            "image": {
                "type": "image",
                "format": "magnitude",
                "modality": "CT",
                "num_channels": 1,
                "spatial_shape": ["16*n", "16*n", "8*n"],
                "dtype": "float16",
                "value_range": [0, 1],
                "is_patch_data": True,
                "channel_def": {"0": "image"},
            }
        },
        "outputs": {
            "pred": {
                "type": "object",
                "format": "dict",
                "dtype": "float16",
                "num_channels": 1,
                "spatial_shape": ["n", "n", "n"],
                "value_range": [-10000, 10000],
            }
        },
    },
}


def write_bundle(folder: Path, **changes: Any) -> Path:
    """Write the bundle, with weights whose scores are spread over 0 to 1."""
    import torch

    importable_torchvision()
    from monai.bundle import ConfigParser

    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "scripts").mkdir()
    config = inference_config(**changes)
    (folder / "configs" / "inference.json").write_text(json.dumps(config), "utf-8")
    (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA), "utf-8")
    (folder / "scripts" / "__init__.py").write_text("", "utf-8")
    (folder / "scripts" / "detection_inferer.py").write_text("class RetinaNetInferer:\n    pass\n", "utf-8")
    torch.manual_seed(0)
    parser = ConfigParser(config)
    network = parser.get_parsed_content("network_def")
    for name, weights in network.named_parameters():
        if name.startswith("classification_head"):
            torch.nn.init.zeros_(weights) if name.endswith("bias") else torch.nn.init.normal_(weights, std=0.1)
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder
