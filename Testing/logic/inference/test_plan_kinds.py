"""The kinds of plans that labs publish against nnU-Net's own labels, made by ``Testing/reference/plan_kinds.py``."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.ndimage import binary_fill_holes
from skimage.transform import resize

from DeepSegLogic.data.volume import Volume
from DeepSegLogic.inference.preprocessing import normalized, prepare
from DeepSegLogic.io import read_volume
from DeepSegLogic.models import find_model
from DeepSegLogic.models.plan import Normalization, Plan, Resampling
from DeepSegLogic.segmentation import segment

KINDS = Path(__file__).parents[2] / "data" / "nnunet_kinds"


@pytest.fixture(scope="module")
def image():
    return read_volume(KINDS / "image.nii.gz")


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize("kind", sorted(path.name for path in KINDS.iterdir() if path.is_dir()))
def test_labels_are_those_of_nnunet(kind, image):
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(KINDS / kind / "labels.nii.gz")))
    model = next(iter((KINDS / kind).glob("*__3d_cascade_fullres")), KINDS / kind)
    names = find_model(model).channels[1:]
    channels = {name: read_volume(KINDS / f"image_{n}.nii.gz") for n, name in enumerate(names, start=1)}
    ours = segment(image, model, channels=channels, device="cpu").label_map.array
    scores = [dice(ours == v, theirs == v) for v in np.unique(theirs) if v]
    assert len(scores) == 3
    # nnU-Net sums logits in half precision: a few voxels between two labels differ.
    assert np.mean(scores) >= 0.999 and min(scores) >= 0.998


def rule(scheme):
    spline = Resampling("spline", order=3)
    labels = {1: "one"}
    return Plan(None, (1.6, 1.3, 1.3), (16, 16, 16), Normalization(scheme), labels, image_resampling=spline)


@pytest.mark.parametrize("scheme", ["zscore_nonzero", "zscore_filled"])
def test_a_mask_counts_before_resampling_and_its_outside_stays_zero(image, scheme):
    """As nnU-Net's preprocessor: normalized inside the mask, then resampled within the normalized image's range."""
    raw = image.array.astype(np.float32)
    inside = raw != 0
    inside = binary_fill_holes(inside) if scheme == "zscore_filled" else inside
    expected = np.where(inside, (raw - raw[inside].mean()) / raw[inside].std(), 0)
    box = tuple(slice(a.min(), a.max() + 1) for a in np.nonzero(inside))
    prepared = prepare(image, rule(scheme), torch.device("cpu")).image[0].numpy()
    expected = resize(expected[box].astype(float), prepared.shape, 3, mode="edge", anti_aliasing=False)
    assert prepared.min() < -1
    np.testing.assert_allclose(prepared, expected, atol=1e-4)


@pytest.mark.parametrize("scheme", ["zscore", "zscore_nonzero", "zscore_filled", "rescale01", "none", "function"])
@pytest.mark.parametrize("spacing", [(1.6, 1.3, 1.3), (2.5, 1.1, 1.0)])
def test_a_volume_of_float32_is_left_as_it_is(image, scheme, spacing):
    volume = Volume(image.array.astype(np.float32), image.ijk_to_ras)
    before = volume.array.copy()
    normalization = Normalization(scheme, function=torch.Tensor.neg_ if scheme == "function" else None)
    plan = replace(rule(scheme), spacing=spacing, normalization=normalization, crop_to_nonzero=False)
    prepare(volume, plan, torch.device("cpu"))
    normalized(torch.from_numpy(volume.array)[None], plan)
    np.testing.assert_array_equal(volume.array, before)
