"""Models that see several images, from Python, against nnU-Net's own labels (``Testing/reference/plan_kinds.py``)."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.data.affine import reorient
from DeepSegLogic.io import read_volume
from DeepSegLogic.models import find_model
from DeepSegLogic.segmentation import estimate, segment
from DeepSegLogic.util.errors import InputError, ModelError, UsageError

KINDS = Path(__file__).parents[2] / "data" / "nnunet_kinds"
MODEL = KINDS / "channels"


@pytest.fixture(scope="module")
def volumes():
    return [read_volume(KINDS / f"{name}.nii.gz") for name in ("image", "image_1", "image_2")]


def run(volumes, model=MODEL, **options):
    return segment(volumes[0], model, channels={"PET": volumes[1], "2": volumes[2]}, device="cpu", **options)


@pytest.fixture
def renamed(tmp_path):
    """Copy the model with other names of its channels."""

    def make(*names):
        folder = shutil.copytree(MODEL, tmp_path / "renamed", dirs_exist_ok=True)
        dataset = json.loads((folder / "dataset.json").read_text("utf-8"))
        dataset["channel_names"] = {str(number): name for number, name in enumerate(names)}
        (folder / "dataset.json").write_text(json.dumps(dataset), "utf-8")
        return folder

    return make


def test_a_card_names_the_channels(renamed):
    assert find_model(MODEL).channels == ["T2", "PET", "T1"]
    assert find_model(renamed("CT", "PET", "T1")).modality == "CT"
    assert find_model(KINDS / "masked").channels == []


def test_channels_in_another_orientation_give_nnunets_labels(volumes):
    """No value changes when axes are swapped and flipped, so labels must be those of the images as they were."""
    others = []
    for volume, orientation in zip(volumes[1:], ("ASR", "PIL"), strict=True):
        array, matrix = reorient(volume.array, volume.ijk_to_ras, orientation)
        others.append(replace(volume, array=np.ascontiguousarray(array), ijk_to_ras=matrix))
    result = run([volumes[0], *others])
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(MODEL / "labels.nii.gz")))
    assert np.count_nonzero(result.label_map.array != theirs) <= 1e-3 * np.count_nonzero(theirs)
    assert result.provenance["settings"]["channels"] == {"PET": "image_1", "T1": "image_2"}


def test_each_channel_matters(volumes):
    expected = run(volumes).label_map.array
    for number in (1, 2):
        changed = list(volumes)
        changed[number] = replace(volumes[number], array=np.ascontiguousarray(volumes[number].array[::-1]))
        assert np.count_nonzero(run(changed).label_map.array != expected) > 1000


def test_the_estimate_is_that_of_the_run(volumes):
    channels = {"PET": volumes[1], "T1": volumes[2]}
    told = estimate(volumes[0], MODEL, channels=channels, device="cpu")
    assert told.windows == run(volumes).plan["windows"]
    assert told.ram_bytes > estimate(volumes[0], KINDS / "masked", device="cpu").ram_bytes + 8 * volumes[0].array.size
    with pytest.raises(UsageError, match="also needs a volume"):
        estimate(volumes[0], MODEL, device="cpu")


def test_modalities_are_not_mixed_up(volumes, renamed):
    ct = replace(volumes[1], modality="CT")
    with pytest.raises(InputError, match=r"given for the channel PET, but its header says CT") as caught:
        run([volumes[0], ct, volumes[2]])
    assert caught.value.action == "go_on_anyway"
    assert run([volumes[0], ct, volumes[2]], force=True).confidence
    model, channels = renamed("T2", "CT", "T1"), {"CT": volumes[1], "T1": volumes[2]}
    with pytest.raises(InputError, match="does not look like a CT"):
        segment(volumes[0], model, channels=channels, device="cpu")


def test_a_channel_at_another_place_is_refused(volumes):
    matrix = volumes[1].ijk_to_ras.copy()
    matrix[2, 3] += 500
    with pytest.raises(InputError, match=r"image_1 \(PET\) does not overlap image"):
        run([volumes[0], replace(volumes[1], ijk_to_ras=matrix), volumes[2]])


def test_a_card_with_another_number_of_channels_is_refused(volumes):
    card = replace(find_model(MODEL), channels=["T2", "PET"])
    with pytest.raises(ModelError, match="names 2 input channels, but its network takes 3"):
        segment(volumes[0], card, channels={"PET": volumes[1]}, device="cpu")
