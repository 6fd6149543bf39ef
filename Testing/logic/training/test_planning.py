"""The plan of a training against nnunetv2's planners, whose answers ``Testing/reference/check_planning.py`` prints."""

from math import prod

import numpy as np
import pytest
import torch

from DeepSegLogic.networks.table import build_network
from DeepSegLogic.training.checks import CaseFacts, Report
from DeepSegLogic.training.dataset import CaseFiles
from DeepSegLogic.training.export import engine_plan
from DeepSegLogic.training.nnunet_rules import patch_and_batch, target_spacing
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.util.errors import InputError, UsageError

THEIRS = [  # spacing, median shape, cases, structures, GB; nnunetv2's patch, batch and number of stages
    ("unet", [1.5, 1.5, 1.5], [280, 230, 270], 20, 61, 8, (128, 112, 128), 2, 6),
    ("unet", [5.0, 0.8, 0.8], [60, 512, 512], 30, 3, 8, (28, 256, 256), 2, 7),
    ("resenc", [5.0, 0.8, 0.8], [60, 512, 512], 30, 3, 8, (28, 224, 224), 2, 6),
    ("resenc", [1.0, 1.0, 1.0], [30, 40, 35], 200, 4, 8, (32, 40, 40), 8, 4),
    ("unet", [2.0, 0.9, 0.9], [12, 300, 200], 10, 1, 4, (12, 320, 224), 2, 6),
]


@pytest.mark.parametrize(
    ("name", "spacing", "shape", "cases", "structures", "memory", "patch", "batch", "stages"), THEIRS
)
def test_patch_depth_and_batch_are_nnunets(name, spacing, shape, cases, structures, memory, patch, batch, stages):
    found, own = patch_and_batch(name, spacing, np.array(shape, float), cases, structures + 1, memory)
    assert (found.patch, own, len(found.strides)) == (patch, batch, stages)


def test_the_target_spacing_is_the_median_but_finer_along_thick_slices():
    spacings = np.array([[5.0, 0.8, 0.8], [5.0, 0.7, 0.7], [2.5, 0.9, 0.9]])
    shapes = np.array([[60, 512, 512], [50, 512, 512], [120, 512, 512]], float)
    assert target_spacing(spacings, shapes) == pytest.approx((np.percentile([5, 5, 2.5], 10), 0.8, 0.8))
    assert target_spacing(spacings, shapes[:, ::-1]) == pytest.approx((5.0, 0.8, 0.8))


def report(modality="CT", spacing=(3.0, 1.5, 1.5), shape=(80, 200, 220)):
    rng = np.random.default_rng(0)
    cases = [
        CaseFacts(
            CaseFiles(f"c{n}", None, None), shape=shape, spacing=spacing, intensities=rng.normal(60, 40, (1, 5000))
        )
        for n in range(3)
    ]
    return Report(cases, ["liver", "spleen"], modality, [], [])


def test_normalization_is_that_of_the_labelled_voxels():
    rule = plan_training(report()).normalization
    values = np.concatenate([facts.intensities[0] for facts in report().cases])
    assert (rule.scheme, rule.mean, rule.sd) == ("ct", pytest.approx(values.mean()), pytest.approx(values.std()))
    assert (rule.lower, rule.upper) == tuple(np.percentile(values, (0.5, 99.5)))
    assert plan_training(report("MR")).normalization.scheme == "zscore"


@pytest.mark.parametrize("network", ["unet", "resenc", "segresnet"])
def test_less_memory_is_a_smaller_patch_and_the_network_fits_it(network):
    large, small = (plan_training(report(), network, memory_gb=m, width=8) for m in (4, 0.05))
    assert prod(small.patch) < prod(large.patch)
    built = build_network(small.architecture, 3).eval()
    with torch.no_grad():
        assert built(torch.zeros(1, 1, *small.patch)).shape == (1, 3, *small.patch)


@pytest.mark.parametrize("network", ["unet", "segresnet"])
def test_the_engine_reads_the_same_plan(network):
    plan = plan_training(report(), network, memory_gb=0.1, width=8)
    read = engine_plan(plan)
    assert read.spacing == plan.spacing and read.patch_size == plan.patch and read.orientation == "RAS"
    assert read.labels == {1: "liver", 2: "spleen"}
    for field in ("lower", "upper", "mean", "sd"):
        assert getattr(read.normalization, field) == pytest.approx(getattr(plan.normalization, field))
    assert read.normalization.scheme == "ct"


def test_what_the_user_chooses_is_kept_and_checked():
    plan = plan_training(report(), spacing=(2, 2, 2), patch=(32, 48, 48), batch=3, width=8)
    assert (plan.spacing, plan.patch, plan.batch) == ((2.0, 2.0, 2.0), (32, 48, 48), 3)
    for wrong in ({"spacing": (0, 1, 1)}, {"patch": (1, 2, 3)}, {"network": "vgg"}):
        with pytest.raises(UsageError):
            plan_training(report(), **wrong)
    empty = report()
    empty.structures = []
    with pytest.raises(InputError, match="labelled voxel"):
        plan_training(empty)


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["liver", "spleen"], ""),
        (["Kidney_L", "Kidney_R"], "Kidney_L"),
        (["liver", "left lung"], "left lung"),
        (["lung-rt"], "lung-rt"),
        (["liver", "leftKidney"], "leftKidney"),
        (["LungLeft"], "LungLeft"),
        (["kidneyright"], "kidneyright"),
        (["lungL"], "lungL"),
        (["LKidney"], "LKidney"),
        (["Niere links"], "Niere links"),
        (["rechte_Niere"], "rechte_Niere"),
        (["rein_gauche"], "rein_gauche"),
        (["bright_spot", "vertebraL1", "HCC"], ""),
        (["vertebra_L1", "colon", "rectum"], ""),
    ],
)
def test_names_of_the_left_or_right_keep_patches_from_being_mirrored(names, first):
    facts = report()
    facts.structures = names
    plan = plan_training(facts, width=8)
    assert plan.sided == first
    assert dict(plan.lines())["Mirrored"].startswith("no: " if first else "left and right")
