"""Models that see only a region which another model finds, against TotalSegmentator's own output.

``Testing/reference/crop_reference.py`` made the reference: the task liver_vessels, which crops by the 6 mm network.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic.data.affine import reorient
from DeepSegLogic.data.boxes import box_of
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.inference import chained_run
from DeepSegLogic.io import read_volume
from DeepSegLogic.models import ModelCard, find_model
from DeepSegLogic.models.crop import Crop
from DeepSegLogic.models.install import ensure_model
from DeepSegLogic.segmentation import estimate, segment
from DeepSegLogic.util.errors import ModelError

REFERENCE = Path(__file__).parents[2] / "data" / "totalsegmentator_crop"


@pytest.fixture(scope="module")
def theirs():
    return sitk.GetArrayFromImage(sitk.ReadImage(str(REFERENCE / "labels.nii.gz")))


@pytest.fixture(scope="module")
def ct():
    return read_volume(REFERENCE / "ct.nii.gz")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Both models, installed from what TotalSegmentator has on this machine; what was asked before."""
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOTALSEG_WEIGHTS_PATH", str(REFERENCE))
        patch.setenv("DEEPSEG_MODELS", str(tmp_path_factory.mktemp("store")))
        ensure_model("liver_vessels", lambda card: asked.append(card.id) or True)
        yield asked


@pytest.fixture(autouse=True)
def nothing_kept():
    chained_run._kept.clear()


def told(progress):
    return lambda stage, fraction, message: progress.append((stage, fraction, message))


def windows_of(events):
    return {message.partition(":")[0] for stage, _, message in events if stage == "inference" and "window" in message}


@pytest.fixture
def copies(installed):
    """Makes copies of liver_vessels in the store that see another region; they are removed again."""
    folders = []

    def make(name, crop):
        card = find_model("liver_vessels")
        folders.append(card.folder.parent / name)
        shutil.copytree(card.folder, folders[-1])
        changed = replace(card, id=name, crop=crop)
        (folders[-1] / "card.json").write_text(json.dumps(changed.to_json()), "utf-8")

    yield make
    for folder in folders:
        shutil.rmtree(folder)


def test_labels_and_region_are_those_of_totalsegmentator(installed, ct, theirs):
    assert installed == ["liver_vessels", "total_fastest"]
    events = []
    result = segment(ct, "liver_vessels", device="cpu", progress=told(events))
    np.testing.assert_array_equal(result.label_map.array, theirs)
    assert np.unique(theirs).tolist() == [0, 1, 2]
    crop = result.provenance["crop"]
    assert (result.provenance["model"]["id"], crop["model"]["id"]) == ("liver_vessels", "total_fastest")
    assert crop["model"]["digest"].startswith("sha256:") and crop["structures"] == ["liver"]
    assert [stop - start for start, stop in crop["voxels_ijk"]] == [21, 20, 15]  # as TotalSegmentator prints
    fractions = [fraction for stage, fraction, _ in events if stage == "inference"]
    assert fractions == sorted(fractions) and fractions[0] <= chained_run.HELPERS_SHARE and fractions[-1] == 1


@pytest.mark.parametrize("orientation", ["SPL", "LAI"])
def test_a_volume_in_any_order_gives_the_same(installed, ct, theirs, orientation):
    array, matrix = reorient(ct.array, ct.ijk_to_ras, orientation)
    result = segment(Volume(np.ascontiguousarray(array), matrix), "liver_vessels", device="cpu")
    back = reorient(result.label_map.array, matrix, ct.orientation)[0]
    np.testing.assert_array_equal(back, theirs)


def test_what_the_helper_found_is_used_again(copies, ct, theirs, monkeypatch):
    """By the same model, and by another one that looks around what the helper marked too; not for another volume."""
    copies("other", Crop("total_fastest", ("liver",), 0.0))
    first, again, other, moved = [], [], [], []
    segment(ct, "liver_vessels", device="cpu", progress=told(first))
    result = segment(ct, "liver_vessels", device="cpu", progress=told(again))
    segment(ct, "other", device="cpu", progress=told(other))
    segment(Volume(ct.array + 1, ct.ijk_to_ras), "liver_vessels", device="cpu", progress=told(moved))
    assert "total_fastest" in windows_of(first) and "total_fastest" in windows_of(moved)
    assert "total_fastest" not in windows_of(again) | windows_of(other)
    np.testing.assert_array_equal(result.label_map.array, theirs)
    monkeypatch.setattr(chained_run, "_MOST_KEPT", 2)
    for more in (2, 3):
        segment(Volume(ct.array + more, ct.ijk_to_ras), "liver_vessels", device="cpu")
    assert len(chained_run._kept) == 2


def test_a_region_that_is_not_there_gives_an_empty_result(installed, ct):
    nothing = Volume(np.clip(ct.array, None, -300), ct.ijk_to_ras)  # without the bright blob
    for _ in range(2):  # found out, and known
        result = segment(nothing, "liver_vessels", device="cpu", force=True, uncertainty=True)
        assert not result.label_map.array.any() and not result.uncertainty.any() and result.confidence == {}
        assert "total_fastest finds no liver, around which liver_vessels looks: nothing was segmented." in (
            result.warnings
        )
        assert "voxels_ijk" not in result.provenance["crop"]


def test_a_region_of_interest_inside_and_outside(installed, ct, theirs):
    mask = np.zeros(ct.shape_kji, bool)
    mask[15:20, 20:30, 10:20] = True
    result = segment(ct, "liver_vessels", device="cpu", roi=mask)
    np.testing.assert_array_equal(result.label_map.array, np.where(mask, theirs, 0))
    outside = segment(ct, "liver_vessels", device="cpu", roi=np.roll(mask, 25, 0))
    assert not outside.label_map.array.any()
    assert any("outside of where liver_vessels looks" in warning for warning in outside.warnings)


def test_probabilities_and_uncertainty_lie_in_the_region(installed, ct, theirs):
    result = segment(ct, "liver_vessels", device="cpu", keep_probabilities=True, uncertainty=True)
    box = tuple(slice(*ends) for ends in result.provenance["crop"]["voxels_ijk"][::-1])
    assert box_of(result.uncertainty) == box
    corner = result.probabilities.ijk_to_ras[:3, 3]
    inside = (np.linalg.inv(ct.ijk_to_ras) @ [*corner, 1])[:3]
    assert all(s.start - 1 < at < s.stop for s, at in zip(box[::-1], inside, strict=True))
    np.testing.assert_array_equal(result.label_map.array, theirs)


def test_a_chain_of_three(copies, ct, theirs):
    """As teeth, craniofacial_structures, and the 6 mm network: each sees the region that the one before found."""
    copies("third", Crop("liver_vessels", ("liver_tumor",), 0.0))
    result = segment(ct, "third", device="cpu")
    crop = result.provenance["crop"]
    assert (crop["model"]["id"], crop["crop"]["model"]["id"]) == ("liver_vessels", "total_fastest")
    expected = box_of(theirs == 2)
    assert [slice(*ends) for ends in crop["voxels_ijk"][::-1]] == list(expected)
    outside = np.ones(theirs.shape, bool)
    outside[expected] = False
    assert result.label_map.array.any() and not result.label_map.array[outside].any()


def test_the_estimate_counts_both_models(installed, ct):
    before = estimate(ct, "liver_vessels", device="cpu")
    plan = segment(ct, "liver_vessels", device="cpu").plan
    alone = estimate(ct, "total_fastest", device="cpu")
    assert before.at_most and not alone.at_most and not plan["at_most"]
    assert alone.windows < plan["windows"] < before.windows
    assert before.seconds > alone.seconds and before.ram_bytes >= alone.ram_bytes


@pytest.mark.parametrize(("spacing", "voxels"), [(6.0, 3), (0.8, 24), (1.5, 13), (2.5, 8), (0.7, 28)])
def test_a_margin_has_whole_voxels_as_in_totalsegmentator(spacing, voxels):
    """``(np.array([20]) / zooms).astype(int)``, where zooms are those of a NIfTI header, which are float32."""
    assert chained_run.whole_voxels(20.0, np.array([spacing])) == [voxels]
    assert (np.array([20]) / (np.float32(spacing),)).astype(int) == [voxels]


def test_models_that_do_not_fit_together_are_named(copies, ct):
    copies("lost", Crop("no_such_model", ("liver",)))
    with pytest.raises(ModelError, match="lost needs the model no_such_model, which is unknown"):
        segment(ct, "lost", device="cpu")
    copies("one", Crop("two", ("liver_vessels",)))
    copies("two", Crop("one", ("liver_vessels",)))
    with pytest.raises(ModelError, match="two needs the model one, which needs it in turn"):
        estimate(ct, "one", device="cpu")
    copies("wrong", Crop("total_fastest", ("liver", "nose")))
    with pytest.raises(ModelError, match="wrong needs nose, which total_fastest does not mark"):
        segment(ct, "wrong", device="cpu")
    copies("lacking", Crop("total_fast", ("liver",)))
    with pytest.raises(ModelError, match=r"total_fast .*not on this machine.* Install total_fast first") as caught:
        segment(ct, "lacking", device="cpu")
    assert (caught.value.code, caught.value.details) == ("model.not_installed", {"model": "total_fast"})


def test_a_card_with_a_region_is_read_and_checked():
    data = {"id": "a", "title": "A", "crop": {"model": "b", "structures": ["liver"]}}
    card = ModelCard.from_json(data)
    assert card.crop == Crop("b", ("liver",), 20.0) and ModelCard.from_json(card.to_json()) == card
    for wrong in ({"model": "../b"}, {"structures": []}, {"margin_mm": -1}, {"margin_mm": float("nan")}, {"model": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ModelCard.from_json(data | {"crop": data["crop"] | wrong})
