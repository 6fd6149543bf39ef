"""A model learns structures that overlap from corrections, and goes on from there."""

import json

import numpy as np
import pytest

from DeepSegLogic.adaptation.cases import CorrectedCases
from DeepSegLogic.adaptation.comparison import dice
from DeepSegLogic.adaptation.fine_tune import adapt
from DeepSegLogic.data.label_map import LabelMap, Structure, changed_structures, smallest_on_top
from DeepSegLogic.io import read_label_map
from DeepSegLogic.models import find_model
from DeepSegLogic.segmentation import segment

from ..training.phantom import ball, case

NAMES = ("liver", "tumor")


def with_tumor(seed):
    """A CT with a liver and a bright tumor in it, and both masks."""
    volume, labels = case(seed)
    liver = labels == 1
    tumor = ball(labels.shape, np.argwhere(liver).mean(0) + np.array([0, 2, 0]), 4) & liver
    volume.array[tumor] += 300
    return volume, {"liver": liver, "tumor": tumor}


def overlapping(volume, masks):
    """A label map in layers, as 3D Slicer's segments become."""
    layers = [
        LabelMap(mask.astype(np.uint8) * value, volume.ijk_to_ras, [Structure(value, name, name)])
        for value, (name, mask) in enumerate(masks.items(), 1)
    ]
    top = np.where(masks["tumor"], 2, masks["liver"]).astype(np.uint8)
    return LabelMap(top, volume.ijk_to_ras, [s for layer in layers for s in layer.structures], layers=layers)


def whole_liver(found):
    return np.isin(found.array, [s.value for s in found.structures if s.name in ("liver_without_tumor", "tumor")])


def test_overlaps_are_kept_and_so_is_what_is_right_alone(lab):
    volume, masks = with_tumor(1)
    corrected = overlapping(volume, masks)
    kept = read_label_map(lab.add(volume, corrected).files.labels)
    for name, mask in masks.items():
        assert np.array_equal(kept.mask(name), mask), name
    assert len(kept.layers) == 2
    alone = read_label_map(lab.add(volume, corrected, ["liver"]).files.labels)
    assert not alone.layers and np.array_equal(alone.mask("liver"), masks["liver"]), "also under the tumor"
    smaller = overlapping(volume, masks | {"liver": masks["liver"] & (np.indices(volume.array.shape)[0] > 9)})
    assert changed_structures(corrected, smaller) == ["liver"]


def test_a_model_learns_a_structure_in_another_one_and_goes_on_from_its_own_results(lab):
    cases = [with_tumor(seed) for seed in (20, 21)]
    for volume, masks in cases:
        lab.add(volume, overlapping(volume, masks))
    offer = adapt("lab", lab, steps=160, device="cpu")
    rows = {(row.role, row.structure): row for row in offer.rows}
    assert rows.keys() == {(role, name) for role in ("held_out", "learnt") for name in NAMES}
    assert rows["learnt", "tumor"].before == 0 and rows["learnt", "tumor"].after > 0.4
    assert rows["learnt", "liver"].after > rows["learnt", "liver"].before - 0.05
    card = offer.accept()
    assert sorted(card.structures) == ["liver_without_tumor", "tumor"]
    assert json.loads((card.installed_folder / "dataset.json").read_text())["labels"]["liver"] == [1, 2]

    volume, masks = cases[0]
    found = segment(volume, card, device="cpu", force=True).label_map
    assert dice(whole_liver(found), masks["liver"]) == pytest.approx(rows["learnt", "liver"].after, abs=1e-6)
    for case_ in lab.all():
        lab.remove(case_.digest)
    other, labels = case(22)
    now = segment(other, card, device="cpu", force=True).label_map
    was = whole_liver(now)
    now.array[labels == 2] = 3
    now.structures.append(Structure(3, "spleen", "spleen"))
    same = CorrectedCases("lab_adapted")
    assert same.folder == lab.folder and same.add(other, now).structures[-1] == "spleen"
    again = adapt("lab_adapted", same, steps=500, device="cpu")
    rows = {(row.role, row.structure): row for row in again.rows}
    assert rows.keys() == {("learnt", name) for name in (*NAMES, "spleen")}
    assert rows["learnt", "liver"].before == pytest.approx(dice(was, whole_liver(now))), "with the tumor"
    for name in NAMES:
        assert rows["learnt", name].after > rows["learnt", name].before + 0.05, name
    assert rows["learnt", "spleen"].before == 0 and rows["learnt", "spleen"].after > 0.8, "a new output"
    assert sorted(find_model(again.folder).structures) == ["liver_without_tumor", "spleen", "tumor"]


def test_the_structures_that_changed_are_those_whose_voxels_did_in_whatever_layers():
    rng = np.random.default_rng(3)
    structures = [Structure(value, name) for value, name in enumerate("abcdef", start=1)]

    def in_layers(masks, homes):
        layers = []
        for home in sorted(set(homes)):
            array, own = np.zeros((4, 5, 6), np.uint8), [s for s, h in zip(structures, homes, strict=True) if h == home]
            for structure in own:
                array[masks[structure.name]] = structure.value
            layers.append(LabelMap(array, np.eye(4), own))
        whole = smallest_on_top([layer.array for layer in layers])
        return LabelMap(whole, np.eye(4), list(structures), layers=layers if len(layers) > 1 else [])

    for _ in range(50):
        places = rng.integers(0, 7, (4, 5, 6))
        masks = {s.name: places == s.value for s in structures}
        changed = {name: mask.copy() for name, mask in masks.items()}
        for name in rng.choice(list("abcdef"), 2, replace=False):
            changed[name][tuple(rng.integers(0, n) for n in (4, 5, 6))] ^= True
        before = in_layers(masks, rng.integers(0, 3, 6).tolist())
        after = in_layers(changed, list(range(6)))  # each in one of its own: they may overlap
        expected = [s.name for s in structures if (before.mask(s.name) != after.mask(s.name)).any()]
        assert changed_structures(before, after) == expected and len(expected) == 2
        assert sorted(changed_structures(after, before)) == expected
