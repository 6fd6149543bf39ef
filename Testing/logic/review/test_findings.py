"""The review list finds what was broken on purpose, and little in what was not."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest

from DeepSegLogic.classify import Part, Scan
from DeepSegLogic.data.affine import ras_to_ijk
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import standard_structures, structure_for
from DeepSegLogic.io import read_label_map
from DeepSegLogic.review.findings import review
from DeepSegLogic.util.resources import resource_path


@pytest.fixture(scope="module")
def organs(shared_data):
    return read_label_map(shared_data / "abdomen_ct" / "labels.nii.gz")


def changed(label_map, edit):
    array = label_map.array.copy()
    edit(array, {s.name: s.value for s in label_map.structures})
    return replace(label_map, array=array)


def new(label_map, organs, **options):
    before = {(f.kind, f.structure) for f in review(organs)}
    return [f for f in review(label_map, **options) if (f.kind, f.structure) not in before]


HEAD = Scan("CT", (Part("neck", -40, 90, 0.8), Part("head", 90, 260, 0.9)), -40, 260)


def scanned(structures, low, high):
    """Structures, a bar each, between two heights in mm."""
    array = np.zeros((100, 8, 4 * len(structures)), np.uint8)
    matrix = np.diag([3.0, 3.0, 3.0, 1.0])
    matrix[2, 3] = -40
    for n in range(len(structures)):
        array[(low + 40) // 3 : (high + 40) // 3, 2:6, 4 * n : 4 * n + 2] = n + 1
    return LabelMap(array, matrix, [structure_for(name, n + 1) for n, name in enumerate(structures)])


def test_a_structure_in_another_part_of_the_body_is_found():
    labels = scanned(["ribs_left", "brain", "thyroid_gland", "tumor"], 150, 200)
    assert "elsewhere" not in {f.kind for f in review(labels)}
    found = review(labels, scan=HEAD)
    assert [(f.kind, f.structure) for f in found if f.kind == "elsewhere"] == [
        ("elsewhere", "ribs_left"),
        ("elsewhere", "thyroid_gland"),
    ]
    assert found[0].reason == "Left ribs: found where the scan seems to show the head."
    assert 150 <= found[0].ras[2] <= 200


@pytest.mark.parametrize(
    ("low", "high", "scan"),
    [
        (90, 138, HEAD),  # nearer to the neck than its end may be off
        (80, 110, HEAD),
        (-40, 0, HEAD),  # what lies below the scan is not known
        (150, 200, Scan("CT", (Part("head", 190, 260, 0.9),), -40, 260)),
        (150, 200, Scan("CT", (), -40, 260)),
    ],
)
def test_what_may_be_in_its_part_of_the_body_is_not(low, high, scan):
    assert review(scanned(["thyroid_gland", "trachea"], low, high), scan=scan) == []


def test_what_is_only_on_one_side_has_no_counterpart(organs):
    vertebra = next(s.value for s in organs.structures if s.name == "vertebrae_L1")
    one_sided = [structure_for("lung_middle_lobe_right", 1), structure_for("atrial_appendage_left", 2)]
    array = np.where(organs.array == vertebra, np.uint8(3), np.uint8(0))
    array[40:50, 40:50, 20:30], array[40:50, 40:50, 60:70] = 1, 2
    labels = replace(organs, array=array, structures=[*one_sided, structure_for("vertebrae_L1", 3)])
    assert [f for f in review(labels) if f.kind == "missing"] == []


def test_reference_labels_have_few_findings(organs):
    assert len(review(organs)) <= 3


def swap(a, b):
    def edit(array, value):
        first, second = array == value[a], array == value[b]
        array[first], array[second] = value[b], value[a]

    return edit


def test_swapped_sides_are_found(organs):
    assert [(f.kind, f.structure) for f in new(changed(organs, swap("kidney_left", "kidney_right")), organs)] == [
        ("swapped", "kidney_left")
    ]


def test_vertebrae_out_of_order_are_found(organs):
    found = new(changed(organs, swap("vertebrae_L2", "vertebrae_L3")), organs)
    assert ("order", "vertebrae_L2") in {(f.kind, f.structure) for f in found}


@pytest.mark.parametrize("name", ["vertebrae_L3", "kidney_left"])
def test_missing_structures_are_found(organs, name):
    found = new(changed(organs, lambda array, value: array.__setitem__(array == value[name], 0)), organs)
    assert [(f.kind, f.structure) for f in found] == [("missing", name)]


def test_a_distant_piece_is_found_with_its_place(organs):
    def edit(array, value):
        assert not array[-4:, :4, :4].any()
        array[-4:, :4, :4] = value["spleen"]

    (finding,) = new(changed(organs, edit), organs)
    assert (finding.kind, finding.structure) == ("far", "spleen")
    i, j, k = ras_to_ijk(np.array([finding.ras]), organs.ijk_to_ras)[0]
    assert k > organs.array.shape[0] - 5 and j < 4 and i < 4


def test_a_doubled_organ_is_found(organs):
    def edit(array, value):
        k, j, i = np.nonzero(array == value["gallbladder"])
        k = k + 2 - k.min()
        array[k, j, i] = np.where(array[k, j, i] == 0, value["gallbladder"], array[k, j, i])

    kinds = {(f.kind, f.structure) for f in new(changed(organs, edit), organs)}
    assert kinds & {("doubled", "gallbladder"), ("far", "gallbladder")}


def test_low_confidence_comes_with_the_lowest_first(organs):
    found = new(organs, organs, confidence={"liver": 0.5, "spleen": 0.3, "aorta": 0.9})
    assert [f.structure for f in found] == ["spleen", "liver"] and all(f.kind == "confidence" for f in found)
    i, j, k = np.rint(ras_to_ijk(np.array([found[1].ras]), organs.ijk_to_ras)[0]).astype(int)
    assert organs.array[k, j, i] == organs.structure("liver").value


def ball(organs, name, ml, centre=None):
    """A label map that holds nothing but a ball of so many ml."""
    shape, spacing = organs.array.shape, organs.spacing_kji
    centre = np.array(shape) / 2 if centre is None else np.array(centre)
    radius = (3 * ml * 1000 / (4 * np.pi)) ** (1 / 3)
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    inside = sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, spacing, strict=True)) < radius**2
    return replace(organs, array=inside.astype(np.uint8) * organs.structure(name).value)


@pytest.mark.parametrize(
    ("name", "ml", "word"),
    [("liver", 300, "small"), ("liver", 1300, None), ("spleen", 900, "large"), ("kidney_left", 160, None)],
)
def test_an_implausible_volume_is_found(organs, name, ml, word):
    found = [f for f in review(ball(organs, name, ml)) if f.kind == "volume"]
    assert [(f.structure, word in f.reason) for f in found] == ([(name, True)] if word else [])
    assert all(re.search(r", (19|20)\d\d\)", f.reason) for f in found)  # the source is told


def test_the_volume_of_an_organ_that_the_scan_cuts_is_not_judged(organs):
    assert not [f for f in review(ball(organs, "liver", 300, (0, 50, 50))) if f.kind == "volume"]


def test_the_table_of_volumes_has_known_structures_and_sources():
    with resource_path("Terminology", "volumes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({r["name"] for r in rows}) == len(rows) >= 7
    assert {r["name"] for r in rows} <= {s.name for s in standard_structures()}
    assert all(0 < float(r["low_ml"]) < float(r["high_ml"]) and r["basis"] for r in rows)
    assert all(re.search(r", (19|20)\d\d$", r["source"]) for r in rows)


def column(*names):
    """A spine of boxes of 4 ml, the first at the top."""
    structures = [structure_for(f"vertebrae_{name}", value) for value, name in enumerate(names, start=1)]
    array = np.zeros((12 * len(names), 30, 30), np.uint8)
    for s in structures:
        top = 12 * (len(names) - s.value)
        array[top + 1 : top + 11, 5:25, 5:25] = s.value
    return LabelMap(array, np.eye(4), structures)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["T12", "L1", "L2", "L3", "L4", "L5", "S1"], []),
        (["T11", "T12", "T13", "L1"], [("transitional", "vertebrae_T13")]),
        (["L4", "L5", "L6", "S1"], [("transitional", "vertebrae_L6")]),
        (["L3", "L4", "S1"], [("missing", "vertebrae_L5")]),
        (["L4", "L6", "L5", "S1"], [("order", "vertebrae_L5"), ("transitional", "vertebrae_L6")]),
    ],
)
def test_transitional_vertebrae_are_found_and_never_missed(names, expected):
    assert [(f.kind, f.structure) for f in review(column(*names))] == expected


def test_transitional_vertebrae_have_names_for_people():
    assert [structure_for(f"vertebrae_{name}", 1).title for name in ("T13", "L6")] == ["T13 vertebra", "L6 vertebra"]
