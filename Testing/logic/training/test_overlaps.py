"""Segments that overlap, as 3D Slicer saves them, become regions: in the checks, the plan, the loss and the model."""

import json
import shutil
from itertools import combinations

import numpy as np
import pytest
import slicerio
import torch

from DeepSegLogic.cli import main
from DeepSegLogic.data.affine import LPS_TO_RAS
from DeepSegLogic.io import read_label_map, write_label_map, write_volume
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.segmentation import segment
from DeepSegLogic.training.checks import check_cases
from DeepSegLogic.training.dataset import find_cases
from DeepSegLogic.training.folds import case_dice
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.training.prepared import prepare_cases
from DeepSegLogic.training.reading import read_case
from DeepSegLogic.training.regions import MOST_COMBINATIONS, Regions, combined, regions_of
from DeepSegLogic.util.errors import InputError

from .phantom import ball, case, label_map, write_raw

pytest.importorskip("monai")


def masks_of(seed):
    """A liver with a tumor in it, and a spleen beside it."""
    volume, labels = case(seed)
    liver = labels == 1
    middle = np.argwhere(liver).mean(0)
    return volume, {"liver": liver, "tumor": ball(labels.shape, middle, 3), "spleen": labels == 2}


def write_slicer(folder, seed, masks=None, name=None):
    """A CT with a ``.seg.nrrd``: where segments overlap, each has a layer and the value 1, as in 3D Slicer."""
    volume, own = masks_of(seed)
    name, masks = name or f"c{seed}", own if masks is None else masks
    write_volume(volume, folder / f"{name}.nii.gz")
    colors = [[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]]
    segments = [
        {"id": f"Segment_{n}", "name": title, "labelValue": 1, "layer": n, "color": color}
        for n, (title, color) in enumerate(zip(masks, colors, strict=False))
    ]
    voxels = np.stack([mask.transpose(2, 1, 0) for mask in masks.values()]).astype(np.uint8)
    content = {"voxels": voxels, "ijkToLPS": LPS_TO_RAS @ volume.ijk_to_ras, "encoding": "gzip", "segments": segments}
    slicerio.write_segmentation(str(folder / f"{name}.seg.nrrd"), content)
    return volume, masks


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slicer")
    for seed in range(2):
        write_slicer(folder, seed)
    return folder


def write_as_nnunet(folder):
    """The same cases as nnU-Net has them: labels side by side, and regions in dataset.json."""
    write_raw(folder, 2)
    for seed in range(2):
        volume, masks = masks_of(seed)
        labels = np.select([masks["tumor"], masks["liver"], masks["spleen"]], [2, 1, 3]).astype(np.uint8)
        named = label_map(volume, labels, {1: "a", 2: "b", 3: "c"})
        write_label_map(named, folder / "labelsTr" / f"c{seed}.nii.gz")
    labels = {"background": 0, "liver": [1, 2], "spleen": 3, "tumor": 2}
    content = {"channel_names": {"0": "CT"}, "labels": labels, "regions_class_order": [1, 3, 2]}
    (folder / "dataset.json").write_text(json.dumps(content), "utf-8")
    return folder


def test_overlapping_segments_are_told_and_planned_as_regions(data):
    report = check_cases(find_cases(data))
    _, masks = masks_of(1)
    assert not report.errors and report.structures == ["liver", "spleen", "tumor"], "from large to small"
    assert report.cases[1].voxels == {name: int(mask.sum()) for name, mask in masks.items()}
    assert report.regions == Regions({"liver": (1, 3), "spleen": (2,), "tumor": (3,)}, (1, 2, 3))
    assert "liver and tumor overlap in c0, c1: trained as regions." in report.warnings
    assert "trained as regions" in dict(plan_training(report, width=8).lines())["Structures"]


def test_prepared_labels_mean_the_same_as_in_nnunets_own_layout(data, tmp_path):
    meanings = []
    for number, folder in enumerate((data, write_as_nnunet(tmp_path / "raw"))):
        report = check_cases(find_cases(folder), "CT")
        plan = plan_training(report, width=8, patch=(16, 16, 16), spacing=(3, 4, 5))
        cases = prepare_cases(report.cases, plan, tmp_path / str(number))
        rows = dict(zip(plan.regions.values, plan.regions.table(), strict=True))
        meanings.append([{name: row[one.labels] for name, row in rows.items()} for one in cases])
    for slicer, nnunet in zip(*meanings, strict=True):
        assert slicer.keys() == nnunet.keys() == {"liver", "spleen", "tumor"}
        for name, mask in slicer.items():
            assert mask.any() and np.array_equal(mask, nnunet[name]), name


def test_the_model_is_as_nnunet_writes_regions_and_the_engine_gives_its_labels(data, tmp_path):
    options = ["--steps", "8", "--patch", "16,24,24", "--spacing", "4", "--batch", "1", "--device", "cpu", "--quiet"]
    assert main(["train", str(data), "-o", str(tmp_path / "lab"), *options]) == 0
    card = find_model(tmp_path / "lab")
    assert sorted(card.structures) == ["liver_without_tumor", "spleen", "tumor"]
    written = json.loads((tmp_path / "lab" / "dataset.json").read_text("utf-8"))
    assert written["labels"] == {"background": 0, "liver": [1, 3], "spleen": 2, "tumor": 3}
    assert written["regions_class_order"] == [1, 2, 3]
    model, (volume, _) = load_model(card), case(0, shape=(16, 24, 24))
    result = segment(volume, card, device="cpu")
    rule = model.plan.normalization
    image = ((volume.array.clip(rule.lower, rule.upper) - rule.mean) / rule.sd).astype(np.float32)
    with torch.no_grad():
        logits = model.networks[0](torch.from_numpy(image)[None, None])[0].numpy()
    expected = np.zeros(image.shape, int)
    for label, own in enumerate(logits, 1):  # nnU-Net's rule: later regions are written over earlier ones
        expected[own > 0] = label
    assert (result.label_map.array == expected).mean() > 0.9995  # logits near 0 are rounded otherwise
    assert len(np.unique(expected)) > 1


def test_a_perfect_result_has_dice_one_for_the_whole_liver(data):
    found = find_cases(data)
    report = check_cases(found)
    plan, read = plan_training(report, width=8), read_case(found[0])
    _, masks = masks_of(0)
    result = np.select([masks["tumor"], masks["spleen"], masks["liver"]], [3, 2, 1])
    scores = case_dice(result, read, plan, frozenset(plan.structures))
    assert scores == {"liver": 1.0, "spleen": 1.0, "tumor": 1.0}


def test_cases_that_differ_are_told(tmp_path):
    write_slicer(tmp_path, 0)
    _, masks = masks_of(1)
    write_slicer(tmp_path, 1, masks | {"liver": masks["liver"] & ~masks["tumor"]})
    write_slicer(tmp_path, 2, {"spleen": masks_of(2)[1]["spleen"]})
    warnings = " ".join(check_cases(find_cases(tmp_path)).warnings)
    assert "overlap in c0: trained as regions. In c1 they lie side by side: check" in warnings and "c2" not in warnings


def test_only_what_was_looked_for_can_overlap(data, tmp_path):
    shutil.copytree(data, tmp_path / "d")
    table = tmp_path / "d" / "cases.csv"
    table.write_text(
        "image,label,looked_for\nc0.nii.gz,c0.seg.nrrd,liver spleen\nc1.nii.gz,c1.seg.nrrd,tumor\n", "utf-8"
    )
    report = check_cases(find_cases(table))
    assert report.regions is None and set(report.structures) == {"liver", "spleen", "tumor"} and not report.errors
    plan = plan_training(report, width=8, patch=(16, 16, 16), spacing=(4, 4, 4))
    first, second = prepare_cases(report.cases, plan, tmp_path / "cases")
    value = {name: n for n, name in enumerate(plan.structures, 1)}
    assert [(one.labels == value["liver"]).sum() for one in (first, second)] == [masks_of(0)[1]["liver"].sum(), 0]
    assert [(one.labels == value["tumor"]).sum() for one in (first, second)] == [0, masks_of(1)[1]["tumor"].sum()]


def test_dataset_json_names_segments_by_their_names_where_values_say_nothing(tmp_path):
    (tmp_path / "d").mkdir()
    write_slicer(tmp_path / "d", 0)
    names = tmp_path / "d" / "dataset.json"
    names.write_text('{"labels": {"background": 0, "tumor": 1, "spleen": 2, "Liver": 3}}', "utf-8")
    report = check_cases(find_cases(tmp_path / "d"))
    assert report.cases[0].voxels == {
        {"liver": "Liver"}.get(name, name): int(mask.sum()) for name, mask in masks_of(0)[1].items()
    }
    names.write_text(
        '{"labels": {"background": 0, "liver": [1, 2], "tumor": 2}, "regions_class_order": [1, 2]}', "utf-8"
    )
    (error,) = check_cases(find_cases(tmp_path / "d")).errors
    assert error.code == "input.labels" and "the segment spleen, which dataset.json does not name" in str(error)
    names.write_text(
        names.read_text("utf-8").replace('"tumor": 2', '"tumor": 2, "spleen": 3').replace("[1, 2]}", "[1, 2, 3]}")
    )
    report = check_cases(find_cases(tmp_path / "d"))
    assert report.regions == Regions({"liver": (1, 2), "tumor": (2,), "spleen": (3,)}, (1, 2, 3)), "as the file has it"


def test_a_scene_may_hold_overlapping_segments(tmp_path):
    from .test_dataset import pack_scene

    write_slicer(tmp_path, 0, name="CT")
    pack_scene(tmp_path / "a.mrb", tmp_path / "CT.nii.gz", tmp_path / "CT.seg.nrrd")
    report = check_cases(find_cases(tmp_path / "a.mrb"))
    assert not report.errors and report.regions is not None and report.structures == ["liver", "spleen", "tumor"]


def test_layers_are_combined_as_counted_voxel_by_voxel(tmp_path):
    rng = np.random.default_rng(0)
    masks = {name: rng.random((24, 28, 32)) < 0.4 for name in "abc"}
    write_slicer(tmp_path, 0, masks)
    layered = read_label_map(tmp_path / "c0.seg.nrrd")
    codes, members = combined(layered)
    values = {s.name: s.value for s in layered.structures}
    assert len(members) == 7 and codes.dtype == np.uint16
    for name, mask in masks.items():
        assert np.array_equal(np.isin(codes, [c for c, own in members.items() if values[name] in own]), mask)


@pytest.mark.parametrize("seed", range(5))
def test_labels_of_any_overlap_tell_every_combination(seed):
    rng = np.random.default_rng(seed)
    every = [frozenset(c) for size in range(1, 5) for c in combinations("abcd", size)]
    found = {every[n]: int(rng.integers(1, 1000)) for n in rng.choice(len(every), 6, replace=False)}
    regions = regions_of(found)
    for combination, label in regions.by_combination().items():
        assert combination == {name for name, values in regions.values.items() if label in values}
    assert found.keys() <= regions.by_combination().keys()
    assert len(set(regions.order)) == len(regions.values), "nnU-Net writes one label per region"
    for name, label in zip(regions.values, regions.order, strict=True):
        later = list(regions.values)[list(regions.values).index(name) + 1 :]
        assert label in regions.values[name] and not any(label in regions.values[other] for other in later)


def test_too_many_combinations_are_a_sentence():
    rng = np.random.default_rng(0)
    volume, _ = case(0)
    layers = [label_map(volume, (rng.random(volume.shape_kji) < 0.5) * np.uint8(n), {n: f"s{n}"}) for n in range(1, 13)]
    with pytest.raises(InputError, match=f"more than {MOST_COMBINATIONS} combinations"):
        combined(label_map_of_layers(layers))


def label_map_of_layers(layers):
    first = layers[0]
    return type(first)(first.array, first.ijk_to_ras, [s for one in layers for s in one.structures], [], layers)
