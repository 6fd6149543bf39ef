"""Where structures overlap, one is corrected in its own layer, and no voxel of another changes."""

import json

import dicom_series
import numpy as np
import pytest

from DeepSegLogic import write_dicom_seg, write_rtstruct
from DeepSegLogic.cli import main
from DeepSegLogic.data.label_map import LabelMap, smallest_on_top
from DeepSegLogic.data.probabilities import TopProbabilities
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import volume_digest
from DeepSegLogic.io import read_label_map, read_volume, write_label_map, write_volume
from DeepSegLogic.refinement import Point, Scribble, postprocess, propose, refine
from DeepSegLogic.refinement.layers import editable
from DeepSegLogic.review.findings import review
from DeepSegLogic.session import Correction
from DeepSegLogic.util.errors import InputError

LIVER, TUMOR, SPLEEN, BODY = (structure_for(n, v) for n, v in (("liver", 5), ("tumor", 7), ("spleen", 1), ("body", 9)))
CENTRE = (20, 22, 20)  # of the tumour, in the liver's middle


def ball(middle, radius):
    k, j, i = np.ogrid[:40, :48, :56]
    return (k - middle[0]) ** 2 + (j - middle[1]) ** 2 + (i - middle[2]) ** 2 < radius**2


@pytest.fixture
def overlapping(phantom):
    """A tumour in the liver, and all in the body; the liver lacks a piece whose middle is voxel (20, 22, 10)."""
    organs = np.where(np.isin(phantom.truth, (1, 5)), phantom.truth, 0).astype(np.uint8)
    organs[(organs == 5) & ball((20, 22, 9), 7)] = 0
    tumor = np.where(ball(CENTRE, 4), 7, 0).astype(np.uint8)
    body = np.full(organs.shape, 9, np.uint8)
    return layered(phantom, (organs, [SPLEEN, LIVER]), (tumor, [TUMOR]), (body, [BODY]))


def layered(phantom, *layers):
    maps = [LabelMap(array, phantom.matrix(), list(structures)) for array, structures in layers]
    return LabelMap(
        smallest_on_top([m.array for m in maps]), phantom.matrix(), [s for m in maps for s in m.structures], [], maps
    )


def masks(label_map):
    return {s.name: label_map.mask(s.name) for s in label_map.structures}


def must_agree_except(name, before, after):
    before, after = masks(before), masks(after)
    assert (before[name] != after[name]).any()
    for other in before.keys() - {name}:
        np.testing.assert_array_equal(before[other], after[other], other)


PROMPTS = {
    "liver": Point("liver", True, (20, 22, 10)),
    "liver cut": Scribble("liver", False, ((20, 22, 26), (20, 26, 26)), 3),
    "tumor": Scribble("tumor", True, ((20, 22, 23), (20, 22, 26)), 3),
    "spleen": Point("spleen", False, (20, 24, 43)),
}


@pytest.mark.parametrize("case", PROMPTS)
def test_a_layer_is_corrected_as_if_it_were_alone(phantom, overlapping, case):
    prompt = in_ras(phantom, PROMPTS[case])
    name = prompt.structure
    kept = [layer.array.copy() for layer in overlapping.layers]
    done = refine(overlapping, [prompt], volume=phantom.volume)
    must_agree_except(name, overlapping, done.label_map)
    alone = refine(overlapping.layer_of(overlapping.structure(name)), [prompt], volume=phantom.volume)
    np.testing.assert_array_equal(done.label_map.mask(name), alone.label_map.mask(name))
    assert done.changes_ml == alone.changes_ml and list(done.changes_ml) == [name]
    assert done.changed_box == alone.changed_box
    for layer, array in zip(overlapping.layers, kept, strict=True):  # the label map that was given stays
        np.testing.assert_array_equal(layer.array, array)
    shown = done.label_map.array
    assert ((shown == 7) == done.label_map.mask("tumor")).all() or name != "tumor"
    assert (shown > 0).all()  # the body lies under all


def in_ras(phantom, prompt):
    if isinstance(prompt, Point):
        return Point(prompt.structure, prompt.positive, phantom.ras(*prompt.ras))
    points = tuple(phantom.ras(*p) for p in prompt.points)
    return Scribble(prompt.structure, prompt.positive, points, radius_mm=prompt.radius_mm)


def test_prompts_of_two_layers_may_lie_on_one_voxel(phantom, overlapping):
    bitten = overlapping.layers[1].array
    bitten[ball((20, 22, 10), 3)] = 0
    both = [Point(n, True, phantom.ras(20, 22, 10)) for n in ("liver", "tumor")]
    done = refine(overlapping, both, volume=phantom.volume).label_map
    assert done.mask("liver")[20, 22, 10] and done.mask("tumor")[20, 22, 10]
    with pytest.raises(InputError, match="contradict"):
        refine(overlapping, [Point(n, True, both[0].ras) for n in ("liver", "spleen")], volume=phantom.volume)


def test_a_new_structure_takes_nothing_from_the_others(phantom, overlapping):
    click = Point("lesion", True, phantom.ras(20, 22, 20))
    done = refine(overlapping, [click], volume=phantom.volume, add=["lesion"])
    assert done.label_map.mask("lesion")[20, 22, 20] and "added" in done.notes[0]
    for name, mask in masks(overlapping).items():
        np.testing.assert_array_equal(done.label_map.mask(name), mask)
    assert done.changes_ml["lesion"][0] > 0 and len(done.changes_ml) == 1


def test_proposals_and_steps_by_hand_stay_in_the_layer_too(phantom, overlapping):
    prompt = in_ras(phantom, PROMPTS["liver"])
    whole = refine(overlapping, [prompt], volume=phantom.volume).label_map
    proposed = propose(overlapping, prompt, volume=phantom.volume)
    after = proposed.applied(overlapping)
    assert masks(after).keys() == masks(whole).keys()
    for name, mask in masks(after).items():
        np.testing.assert_array_equal(mask, whole.mask(name))
    must_agree_except("tumor", overlapping, postprocess.margin(overlapping, "tumor", 4))
    must_agree_except("liver", overlapping, postprocess.margin(overlapping, "liver", -4))


def test_probabilities_of_a_run_do_not_fit(phantom, overlapping):
    shape = (1, *phantom.volume.shape_kji)
    top = TopProbabilities(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8), phantom.matrix())
    top.volume_digest = volume_digest(phantom.volume)
    with pytest.raises(InputError, match="do not overlap"):
        refine(overlapping, [in_ras(phantom, PROMPTS["liver"])], volume=phantom.volume, probabilities=top)


def test_a_file_keeps_all_its_segments(phantom, overlapping, tmp_path, capsys):
    write_label_map(overlapping, tmp_path / "a.seg.nrrd")
    write_volume(phantom.volume, tmp_path / "ct.nii.gz")
    click = {"structure": "Liver", "type": "point", "ras": phantom.ras(20, 22, 10)}
    (tmp_path / "p.json").write_text(json.dumps({"prompts": [click]}), "utf-8")
    files = ["-i", str(tmp_path / "ct.nii.gz"), "-p", str(tmp_path / "p.json")]
    command = ["refine", str(tmp_path / "a.seg.nrrd"), *files]
    assert main([*command, "-o", str(tmp_path / "b.nii.gz")]) == 3  # which could not hold them
    assert "Write a .seg.nrrd" in capsys.readouterr().err and not (tmp_path / "b.nii.gz").exists()
    assert main([*command, "-o", str(tmp_path / "b.seg.nrrd")]) == 0
    before, after = read_label_map(tmp_path / "a.seg.nrrd"), read_label_map(tmp_path / "b.seg.nrrd")
    assert before.structures == after.structures == overlapping.structures
    must_agree_except("liver", before, after)
    wanted = refine(overlapping, [in_ras(phantom, PROMPTS["liver"])], volume=phantom.volume).label_map
    np.testing.assert_array_equal(after.mask("liver"), wanted.mask("liver"))
    assert main([*command, "-o", str(tmp_path / "a.seg.nrrd")]) == 0  # the file itself
    assert len(read_label_map(tmp_path / "a.seg.nrrd").structures) == 4


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_overlapping_structures_in_dicom_are_corrected_too(tmp_path, kind):
    if kind == "seg":
        pytest.importorskip("highdicom")
    series = dicom_series.write_series(tmp_path / "ct")
    label_map = dicom_series.overlapping(read_volume(series).ijk_to_ras)
    write = write_dicom_seg if kind == "seg" else write_rtstruct
    write(label_map, tmp_path / "organs.dcm", source=series)
    kji = np.argwhere(~label_map.mask("lesion") & label_map.mask("liver"))[0]
    ras = (label_map.ijk_to_ras @ [*kji[::-1], 1])[:3].tolist()
    click = {"structure": "lesion", "type": "point", "ras": ras}
    (tmp_path / "p.json").write_text(json.dumps({"prompts": [click]}), "utf-8")
    files = ["-i", str(series), "-p", str(tmp_path / "p.json"), "-o", str(tmp_path / "b.seg.nrrd")]
    assert main(["refine", str(tmp_path / "organs.dcm"), *files]) == 0
    before, after = read_label_map(tmp_path / "organs.dcm", series), read_label_map(tmp_path / "b.seg.nrrd")
    must_agree_except("lesion", before, after)
    assert after.mask("lesion")[tuple(kji)]


def same(a, b):
    assert a == b and a.structures == b.structures
    assert [layer.structures for layer in a.layers] == [layer.structures for layer in b.layers]
    for mine, other in zip(a.layers, b.layers, strict=True):
        np.testing.assert_array_equal(mine.array, other.array)


def test_steps_of_a_session_are_undone_and_redone_layer_by_layer(phantom, overlapping):
    prompt = in_ras(phantom, PROMPTS["liver"])
    correction = Correction(overlapping, phantom.volume)
    states = [editable(correction.label_map)]
    correction.prompt(prompt)
    same(correction.label_map, refine(overlapping, [prompt], volume=phantom.volume).label_map)
    correction.adjust(0.5)
    states.append(editable(correction.label_map))
    box = (slice(18, 22),) * 3  # of the liver
    correction.edit("tumor", box, np.ones((4, 4, 4), bool), True)
    must_agree_except("tumor", states[-1], correction.label_map)
    assert correction.label_map.mask("tumor")[box].all()
    states.append(editable(correction.label_map))
    correction.take(postprocess.margin(correction.label_map, "liver", 3))
    states.append(editable(correction.label_map))
    for state in states[-2::-1]:
        correction.undo()
        same(correction.label_map, state)
    same(correction.label_map, overlapping)
    for state in states[1:]:
        correction.redo()
        same(correction.label_map, state)


def test_what_came_to_overlap_by_hand_is_undone_too(phantom):
    """A tumour moved into a layer of its own, as 3D Slicer does once it overlaps the liver."""
    organs = np.where(phantom.truth == 5, 5, 0).astype(np.uint8)
    beside = organs.copy()
    beside[ball((20, 4, 50), 4)] = 7
    before = LabelMap(beside, phantom.matrix(), [LIVER, TUMOR])
    after = layered(phantom, (organs, [LIVER]), (np.where(ball(CENTRE, 4), 7, 0).astype(np.uint8), [TUMOR]))
    correction = Correction(before, phantom.volume)
    correction.take(after)
    same(correction.label_map, after)
    correction.undo()
    same(correction.label_map, before)
    correction.redo()
    same(correction.label_map, after)


def test_findings_look_at_whole_structures(phantom):
    """A tumour that lies over the liver's middle does not make two pieces of it."""
    cut = np.zeros_like(phantom.truth)
    cut[:, 18:27] = 7
    both = layered(phantom, (np.where(phantom.truth == 5, 5, 0).astype(np.uint8), [LIVER]), (cut, [TUMOR]))
    alone = LabelMap(both.layers[0].array, phantom.matrix(), [LIVER])
    assert [f for f in review(both) if f.structure == "liver"] == review(alone)
    flat = LabelMap(np.where(cut > 0, 7, alone.array).astype(np.uint8), phantom.matrix(), [LIVER, TUMOR])
    assert [f for f in review(flat) if f.structure == "liver"]
