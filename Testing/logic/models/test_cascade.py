"""Cascades of nnU-Net: a training of low resolution, and one that also sees its labels."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DeepSegLogic.io import read_volume
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.models.import_export import export_model, import_model
from DeepSegLogic.models.provenance import digest_of
from DeepSegLogic.models.store import verify
from DeepSegLogic.segmentation import estimate, segment
from DeepSegLogic.util.errors import ModelError

KINDS = Path(__file__).parents[2] / "data" / "nnunet_kinds"
FIRST, SECOND = (f"nnUNetTrainer__nnUNetPlans__{name}" for name in ("3d_lowres", "3d_cascade_fullres"))


@pytest.fixture
def results(tmp_path):
    """A private copy of nnU-Net's results folder with both trainings."""
    return shutil.copytree(KINDS / "cascade", tmp_path / "Dataset903_Kinds")


@pytest.fixture(scope="module")
def volume():
    return read_volume(KINDS / "image.nii.gz")


def labels(volume, model, **options):
    return segment(volume, model, device="cpu", **options).label_map.array


def is_nnunets(found):
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(KINDS / "cascade" / "labels.nii.gz")))
    return np.count_nonzero(found != theirs) <= 2e-3 * np.count_nonzero(theirs)


def test_both_stages_are_imported_from_the_results_folder(results, volume):
    card = import_model(results)
    files = sorted(path.relative_to(card.folder).as_posix() for path in card.folder.rglob("*") if path.is_file())
    own = ["dataset.json", "fold_0/checkpoint_final.pth", "plans.json"]
    assert files == sorted(["card.json", *own, *(f"3d_lowres/{name}" for name in own)])
    assert is_nnunets(labels(volume, card.id))
    assert set(card.digests) == {name for name in files if name != "card.json"} and not verify(card)
    weights = card.folder / "3d_lowres" / "fold_0" / "checkpoint_final.pth"
    weights.write_bytes(weights.read_bytes() + b" ")
    assert verify(card)


def test_a_zip_of_it_and_an_export_come_back(results, volume, tmp_path):
    packed = shutil.make_archive(str(tmp_path / "cascade"), "zip", results.parent, results.name)
    card = import_model(Path(packed), changes={"id": "packed"})
    exported = export_model(card, tmp_path / "out.zip")
    again = import_model(exported, replace_installed=True)
    assert digest_of(again) == digest_of(card) == digest_of(find_model(results / SECOND))
    assert is_nnunets(labels(volume, "packed"))


def test_the_second_stages_folder_suffices_if_the_first_lies_beside_it(results, volume):
    assert is_nnunets(labels(volume, results / SECOND))
    assert import_model(results / SECOND, changes={"id": "one"}).folder.joinpath("3d_lowres").is_dir()


def test_the_first_stage_is_a_model_of_its_own(results, volume):
    assert load_model(find_model(results / FIRST)).previous is None
    card = import_model(results / FIRST, changes={"id": "low"})
    assert not is_nnunets(labels(volume, card.id))


def test_a_missing_first_stage_is_told_with_its_name(results):
    shutil.rmtree(results / FIRST)
    for attempt in (lambda: import_model(results), lambda: load_model(find_model(results / SECOND))):
        with pytest.raises(ModelError, match=r"first stage \(3d_lowres\) is missing") as caught:
            attempt()
        assert "both stages" in caught.value.remedy
    assert str(results) in str(caught.value)


def test_several_models_are_told_apart(results):
    shutil.copytree(results / FIRST, results / "nnUNetTrainer__nnUNetPlans__3d_fullres")
    with pytest.raises(ModelError, match="more than one model") as caught:
        import_model(results)
    assert FIRST not in str(caught.value) and SECOND in str(caught.value)


def rename_stage(folder, stage):
    plans = json.loads((folder / "plans.json").read_text("utf-8"))
    plans["configurations"]["3d_cascade_fullres"]["previous_stage"] = stage
    (folder / "plans.json").write_text(json.dumps(plans), "utf-8")


@pytest.mark.parametrize("stage", ["../elsewhere", "3d_cascade_fullres", ".", "CON", "x" * 300, "/etc"])
def test_a_first_stage_elsewhere_is_not_read(results, stage):
    shutil.copytree(results / FIRST, results.parent / "elsewhere")
    rename_stage(results / SECOND, stage)
    with pytest.raises(ModelError):
        load_model(find_model(results / SECOND))


def test_a_link_is_no_first_stage(results, tmp_path):
    (results / FIRST).rename(tmp_path / "moved")
    (results / FIRST).symlink_to(tmp_path / "moved")
    with pytest.raises(ModelError, match="link"):
        load_model(find_model(results / SECOND))


def test_a_cascade_has_two_stages(results):
    """A first stage that is a cascade itself would go on for ever."""
    shutil.copytree(results / SECOND, results / SECOND / "3d_lowres")
    with pytest.raises(ModelError, match="more than two stages"):
        load_model(find_model(results / SECOND))


def test_the_estimate_and_the_progress_count_both_stages(results, volume):
    told = []
    result = segment(
        volume, results / SECOND, device="cpu", progress=lambda stage, done, text: told.append((stage, done, text))
    )
    windows = estimate(volume, results / SECOND, device="cpu").windows
    assert windows == result.plan["windows"] > estimate(volume, results / FIRST, device="cpu").windows
    steps = [(done, text) for stage, done, text in told if stage == "inference"]
    assert [done for done, _ in steps] == sorted(done for done, _ in steps) and steps[-1][0] == 1
    halves = [{text.partition(":")[0] for done, text in steps if low < done <= low + 0.5} for low in (0, 0.5)]
    assert halves == [{"stage 1 of 2"}, {"stage 2 of 2", "done"}]


def test_a_part_of_the_structures_or_of_the_volume_has_the_labels_of_all(results, volume):
    """The first stage finds all structures everywhere, whatever is asked of the second."""
    model = load_model(find_model(results / SECOND))
    whole = labels(volume, model)
    np.testing.assert_array_equal(labels(volume, model, structures=["two"]), np.where(whole == 2, 2, 0))
    centre = (volume.ijk_to_ras @ [*np.array(volume.shape_ijk) / 2, 1])[:3]
    part = labels(volume, model, roi=[*(centre - 8), *(centre + 8)])
    inside = tuple(slice(n.min(), n.max() + 1) for n in np.nonzero(part))
    np.testing.assert_array_equal(part[inside], whole[inside])


def test_labels_that_are_resampled_in_another_way_are_refused(results):
    folder = results / SECOND
    plans = json.loads((folder / "plans.json").read_text("utf-8"))
    plans["configurations"]["3d_fullres"]["resampling_fn_seg_kwargs"]["order"] = 0
    (folder / "plans.json").write_text(json.dumps(plans), "utf-8")
    with pytest.raises(ModelError, match="resampling of labels"):
        load_model(find_model(folder))


def test_weights_must_fit_the_number_of_labels(results):
    path = results / SECOND / "fold_0" / "checkpoint_final.pth"
    shutil.copy(results / FIRST / "fold_0" / "checkpoint_final.pth", path)
    stored = torch.load(path, weights_only=True)
    stored["init_args"]["configuration"] = "3d_cascade_fullres"
    torch.save(stored, path)
    with pytest.raises(ModelError, match="do not fit"):
        load_model(find_model(results / SECOND))
