"""Evaluation of label maps and of their files."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic import (
    InputError,
    LabelMap,
    ResourceError,
    Structure,
    UsageError,
    evaluate,
    write_evaluation,
    write_label_map,
)
from DeepSegLogic.cli.remedies import WORDS
from DeepSegLogic.data.affine import reorient
from DeepSegLogic.data.boxes import box_of, matrix_of
from DeepSegLogic.data.probabilities import TopProbabilities
from DeepSegLogic.evaluation.report import notes
from DeepSegLogic.io.probabilities import write_probabilities
from DeepSegLogic.models.card import DEMO_MODEL
from DeepSegLogic.models.find import find_model

from .shapes import ORGAN_MAP, ORGANS, ball, label_map

LIVER, AORTA = ORGAN_MAP


@pytest.fixture
def reference():
    return label_map(LIVER, AORTA)


def scores(evaluation, metric="dice"):
    return {(s.case, s.structure): s.values[metric] for s in evaluation.scores}


def test_the_same_label_map_is_perfect(reference):
    found = evaluate(reference, reference)
    assert scores(found) == {("case", "liver"): 1.0, ("case", "aorta"): 1.0}
    assert scores(found, "surface_dice") == scores(found)
    assert found.worst == []


def test_vessels_get_a_centre_line(reference):
    assert not math.isnan(scores(evaluate(reference, reference), "cldice")["case", "aorta"])
    assert math.isnan(scores(evaluate(reference, reference), "cldice")["case", "liver"])
    asked = scores(evaluate(reference, reference, tubular=["Liver"]), "cldice")
    assert math.isnan(asked["case", "aorta"]) and not math.isnan(asked["case", "liver"])


def test_structures_are_matched_by_name_not_by_value(reference):
    other = label_map(AORTA, LIVER, structures=[Structure(1, "Aorta"), Structure(7, "tissue_2", "LIVER")])
    assert scores(evaluate(other, reference)) == {("case", "liver"): 1.0, ("case", "aorta"): 1.0}


def test_without_a_common_name_values_decide_and_it_is_told(reference):
    other = label_map(LIVER, AORTA, structures=[Structure(1, "spleen"), Structure(2, "kidney")])
    found = evaluate(other, reference)
    assert scores(found) == {("case", "liver"): 1.0, ("case", "aorta"): 1.0}
    assert "label value" in found.warnings[0]
    swapped = label_map(LIVER, AORTA, structures=[Structure(1, "aorta"), Structure(2, "liver")])
    assert scores(evaluate(swapped, reference))["case", "liver"] == 0
    assert scores(evaluate(swapped, reference, by_value=True))["case", "liver"] == 1


def test_a_structure_that_is_only_where_nobody_looked_has_no_picture(reference):
    """Its Dice is no number, with which nothing can be sorted."""
    ignoring = label_map(LIVER, np.zeros_like(LIVER), AORTA, structures=[*ORGANS, Structure(3, "ignore")])
    found = evaluate(reference, ignoring)
    assert math.isnan(scores(found)["case", "aorta"]) and found.worst == []


def test_what_the_reference_ignores_does_not_count(reference, tmp_path):
    """As with nnU-Net: nobody labelled it. The scores are those of a prediction that has nothing there."""
    nowhere = np.zeros_like(LIVER)
    nowhere[:, 5:9] = True
    moved = label_map(np.roll(LIVER, 2, 1), AORTA)
    ignoring = label_map(LIVER, AORTA, nowhere, structures=[*ORGANS, Structure(3, "ignore")])
    without = [
        label_map(np.roll(LIVER, 2, 1) & ~nowhere, AORTA & ~nowhere),
        label_map(LIVER & ~nowhere, AORTA & ~nowhere),
    ]
    found, expected = evaluate(moved, ignoring), evaluate(*without)
    assert [s.structure for s in found.scores] == ["liver", "aorta"] and not found.structures_only_reference
    assert [s.values for s in found.scores] == [pytest.approx(s.values, nan_ok=True) for s in expected.scores]
    assert scores(evaluate(moved, reference))["case", "liver"] < scores(found)["case", "liver"] < 1
    folder = results_folder(tmp_path / "out", reference)
    assert sum(n for _, _, n in evaluate(folder, ignoring).reliability["liver"].points) == np.count_nonzero(
        ~nowhere[np.ix_(*(np.flatnonzero(LIVER.any(tuple({0, 1, 2} - {a}))) for a in range(3)))]
    )


def test_what_one_side_lacks_is_listed(reference):
    other = label_map(LIVER, AORTA, structures=[Structure(1, "liver"), Structure(2, "colon")])
    found = evaluate(other, reference)
    assert scores(found) == {("case", "liver"): 1.0}
    assert (found.structures_only_prediction, found.structures_only_reference) == (["colon"], ["aorta"])
    told = [note for note in notes(found) if "not scored" in note]
    assert [note.rpartition(": ")[2] for note in told] == ["Colon.", "Aorta."], "as people call them"


def test_a_structure_that_is_listed_but_empty_is_missed(reference):
    assert scores(evaluate(label_map(LIVER, ~LIVER & False), reference))["case", "aorta"] == 0


def test_overlapping_structures_are_whole(reference):
    whole = LIVER | AORTA
    layers = [label_map(whole, structures=ORGANS[:1]), label_map(AORTA, structures=ORGANS[1:])]
    overlapping = LabelMap(reference.array, reference.ijk_to_ras, ORGANS, layers=layers)
    found = scores(evaluate(overlapping, reference))
    assert found["case", "aorta"] == 1.0
    assert found["case", "liver"] == pytest.approx(2 * LIVER.sum() / (LIVER.sum() + whole.sum()))


def test_an_empty_structure_beside_overlapping_ones_is_missed(reference):
    """It is in no layer."""
    layers = [label_map(LIVER, structures=ORGANS[:1])]
    overlapping = LabelMap(layers[0].array, reference.ijk_to_ras, ORGANS, layers=layers)
    assert scores(evaluate(overlapping, reference)) == {("case", "liver"): 1.0, ("case", "aorta"): 0}


def test_axes_in_another_order_are_the_same_grid(reference):
    array, matrix = reorient(reference.array, reference.ijk_to_ras, "SPL")
    turned = LabelMap(np.ascontiguousarray(array), matrix, reference.structures)
    moved = label_map(np.roll(LIVER, 2, 0), AORTA)
    expected = evaluate(moved, reference).scores
    assert [s.values for s in evaluate(moved, turned).scores] == [
        pytest.approx(s.values, nan_ok=True) for s in expected
    ]


@pytest.mark.parametrize("axes", ["RAS", "SPL"])
def test_empty_margins_may_be_left_out_on_either_side(reference, axes):
    """As 3D Slicer and DICOM SEG do: the scores are those of the whole grids."""
    moved = label_map(np.roll(LIVER, 1, 0), AORTA)
    expected = [pytest.approx(s.values, nan_ok=True) for s in evaluate(moved, reference).scores]

    def cropped(whole):
        box = box_of(whole.array)
        array, matrix = reorient(whole.array[box], matrix_of(box, whole.ijk_to_ras), axes)
        return LabelMap(np.ascontiguousarray(array), matrix, whole.structures)

    assert cropped(moved).array.size < moved.array.size
    for pair in ((cropped(moved), reference), (moved, cropped(reference)), (cropped(moved), cropped(reference))):
        assert [s.values for s in evaluate(*pair).scores] == expected


def test_label_maps_far_apart_are_refused(reference):
    matrix = reference.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :3] @ [1e6, 1e6, 1e6]
    with pytest.raises(InputError, match="not on the grid"):
        evaluate(LabelMap(reference.array[1:].copy(), matrix, reference.structures), reference)


@pytest.mark.parametrize("matrix", [np.diag([1.1, 0.7, 2.4, 1.0]), np.diag([1.1, 0.7, 2.5, 1.0]) + np.eye(4, k=3)])
def test_other_grids_are_refused(reference, matrix):
    with pytest.raises(InputError, match="not on the grid") as error:
        evaluate(label_map(LIVER, AORTA, matrix=matrix), reference)
    assert error.value.code == "input.grid" and "nearest" in error.value.remedy
    ours, theirs = str(error.value).split(" is not on the grid of ")
    assert ours.partition("(")[2] != theirs.partition("(")[2], "what differs is told"


def test_settings_out_of_range_and_unknown_structures(reference):
    for wrong in ({"tolerance_mm": -1}, {"lesion_iou": 0}, {"structures": ["livre"]}):
        with pytest.raises(UsageError):
            evaluate(reference, reference, **wrong)
    with pytest.raises(InputError, match="no structure in common"):
        evaluate(label_map(LIVER, structures=[Structure(9, "brain")]), reference)
    with pytest.raises(InputError, match="The prediction has no labelled voxel"):
        evaluate(replace(reference, array=np.zeros_like(reference.array), structures=[]), reference)


def test_missing_packages_are_told(reference, monkeypatch):
    monkeypatch.setattr("DeepSegLogic.evaluation.evaluation.can_import", lambda name: name != "monai")
    with pytest.raises(ResourceError, match="MONAI") as error:
        evaluate(reference, reference)
    assert "evaluation" in error.value.remedy_in(WORDS)


def test_a_warning_of_many_cases_is_one_sentence(reference, tmp_path):
    for side in ("p", "r"):
        (tmp_path / side).mkdir()
        for n in range(7):
            sitk.WriteImage(sitk.GetImageFromArray(reference.array), tmp_path / side / f"case_{n}.nii.gz")
    ours, theirs = evaluate(tmp_path / "p", tmp_path / "r").warnings
    assert ours.startswith("case_0, case_1, case_2, case_3, case_4 and 2 more: The prediction does not name")
    assert "The reference does not name" in theirs


def test_folders_of_cases(reference, tmp_path):
    """A structure that no voxel has in one case is still looked for: another case lists it."""
    for side in ("p", "r"):
        (tmp_path / side).mkdir()
        write_label_map(reference, tmp_path / side / "one.nii.gz")
    write_label_map(label_map(LIVER, structures=ORGANS[:1]), tmp_path / "p" / "two.nii.gz")
    write_label_map(reference, tmp_path / "r" / "two.nii.gz")
    write_label_map(reference, tmp_path / "r" / "three.nii.gz")
    seen = []
    found = evaluate(tmp_path / "p", tmp_path / "r", progress=lambda *event: seen.append(event[1]))
    assert scores(found)["two", "aorta"] == 0 and scores(found)["two", "liver"] == 1
    assert (found.cases, found.only_reference) == (["one", "two"], ["three"])
    assert seen == sorted(seen) and seen[-1] == 1
    with pytest.raises(InputError, match="single"):
        evaluate(tmp_path / "p", reference)


def test_a_case_that_cannot_be_compared_does_not_stop_the_others(reference, tmp_path):
    for name in ("good", "moved", "torn"):
        for side in ("p", "r"):
            write_label_map(reference, tmp_path / side / f"{name}.nii.gz")
    write_label_map(label_map(LIVER, AORTA, matrix=np.eye(4)), tmp_path / "p" / "moved.nii.gz")
    (tmp_path / "r" / "torn.nii.gz").write_bytes(b"no image")
    found = evaluate(tmp_path / "p", tmp_path / "r")
    assert found.cases == ["good"] and found.failed.keys() == {"moved", "torn"}
    assert "not on the grid" in found.failed["moved"]
    (tmp_path / "p" / "good.nii.gz").unlink()
    with pytest.raises(InputError, match="No case can be compared"):
        evaluate(tmp_path / "p", tmp_path / "r")


def results_folder(folder, prediction, digest="sha256:1", model=DEMO_MODEL, **facts):
    write_label_map(prediction, folder / "segmentation.seg.nrrd")
    half = np.where(prediction.array == 1, 153, 102).astype(np.uint8)  # 0.6 or 0.4 for the liver
    labels = np.stack([np.ones_like(prediction.array)])
    write_probabilities(TopProbabilities(labels, half[None], prediction.ijk_to_ras), folder / "probabilities.npz")
    facts |= {"input": {"digest": digest}, "model": {"id": model}}
    (folder / "provenance.json").write_text(json.dumps(facts), "utf-8")
    return folder


def test_kept_probabilities_are_checked_for_calibration(reference, tmp_path):
    folder = results_folder(tmp_path / "out", reference)
    found = evaluate(folder, reference)
    box = LIVER[np.ix_(*(np.flatnonzero(LIVER.any(tuple({0, 1, 2} - {a}))) for a in range(3)))]
    # 0.6 where it is, 0.4 where it is not: off by 0.4 everywhere.
    assert box.mean() < 1 and scores(found, "ece")["case", "liver"] == pytest.approx(0.4, abs=0.01)
    voxels = {round(p, 1): (f, n) for p, f, n in found.reliability["liver"].points}
    assert voxels == {0.4: (0.0, (~box).sum()), 0.6: (1.0, box.sum())}
    written = write_evaluation(found, tmp_path / "evaluation")
    report, facts = (
        next(p for p in written if p.name == n).read_text("utf-8") for n in ("report.html", "summary.json")
    )
    assert "Reliability diagrams" in report and "ECE 0.400" in report
    assert json.loads(facts)["reliability"]["liver"]["ece"] == pytest.approx(0.4, abs=0.01)
    assert not found.warnings


def test_a_model_trained_on_the_case_is_told(reference, tmp_path, monkeypatch):
    card = replace(find_model(DEMO_MODEL), provenance={"cases": ["sha256:1"]})
    monkeypatch.setattr("DeepSegLogic.evaluation.evaluation.models_here", lambda: {DEMO_MODEL: card})
    found = evaluate(results_folder(tmp_path / "out", reference), reference)
    assert "trained on this very image" in found.warnings[0]
    voxels = results_folder(tmp_path / "voxels", reference, "sha256:2", volume_digest="sha256:1")
    assert "trained on this very image" in evaluate(voxels, reference).warnings[0]
    assert not evaluate(results_folder(tmp_path / "other", reference, "sha256:2"), reference).warnings


def test_the_worst_picture_shows_what_differs(reference):
    moved = label_map(np.roll(LIVER, 3, 2), AORTA)
    (worst,) = evaluate(moved, reference).worst
    assert worst.title == "Liver" and len(worst.slices) == 3
    axial = worst.slices[0]
    assert {1, 2, 3} <= set(np.unique(axial))
    # The prediction lies towards the patient's right end of the I axis (+R), which is the left of the picture.
    columns = {code: np.argwhere(axial == code)[:, 1].mean() for code in (2, 3)}
    assert columns[3] < columns[2]
    assert worst.drawn().size == (912, 300)


def test_nothing_but_one_box_is_kept_in_memory():
    """A structure in a large volume costs as much as its box."""
    import tracemalloc

    array = np.zeros((200, 400, 400), np.uint8)
    array[:20, :24, :22][ball((8, 9, 9))] = 1
    big = LabelMap(array, np.eye(4), ORGANS[:1])
    evaluate(big, big)  # libraries are loaded
    tracemalloc.start()
    evaluate(big, big)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < array.nbytes / 4
