"""What publishers do with labels, against TotalSegmentator's own functions on the same label maps.

``Testing/reference/postprocess_reference.py`` made the reference.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from skimage import measure

from DeepSegLogic.data.boxes import box_of
from DeepSegLogic.inference.postprocess import STEPS, Labels, grow, remove_small, vertebrae
from DeepSegLogic.io import read_volume
from DeepSegLogic.models.catalogue import catalogue, in_catalogue
from DeepSegLogic.models.find import chain
from DeepSegLogic.models.import_export import import_model
from DeepSegLogic.models.postprocess import Postprocess
from DeepSegLogic.segmentation import segment
from DeepSegLogic.util.errors import Cancelled, ModelError

from .tiny import model, volume

DATA = Path(__file__).parents[2] / "data"
REFERENCE = np.load(DATA / "totalsegmentator_postprocess.npz")
CASES = sorted({name.partition("/")[0] for name in REFERENCE} - {"small"})
SPINE = {name: value for value, name in enumerate(in_catalogue("vertebrae_pp").structures, start=1)}
BODY = {"body_trunc": 1, "body_extremities": 2, "skin": 3}


def stored(name):
    """(K, J, I), as the label maps of DeepSeg."""
    return np.ascontiguousarray(REFERENCE[name].transpose(2, 1, 0))


def labels_of(case):
    before = stored(f"{case}/before")
    other = stored(f"{case}/other") if case.startswith("refined") else None
    if case == "body":
        return given(before.copy(), before, np.diag([6.0, 6.0, 6.0, 1.0]), BODY)
    return given(before.copy(), before, other=other)


def given(array, coarse, matrix=None, values=SPINE, other=None, image=None):
    """Labels of which all but the skin are asked for, on a grid of 1 mm unless told otherwise."""
    matrix = np.eye(4) if matrix is None else matrix
    image = np.zeros(array.shape, np.int16) if image is None else image
    coarse_to_ras = matrix if coarse.shape == array.shape else np.eye(4)
    return Labels(array, image, matrix, values, set(values) - {"skin"}, coarse, coarse_to_ras, other)


@pytest.mark.parametrize("case", CASES)
def test_labels_are_those_of_totalsegmentator(case):
    labels, theirs = labels_of(case), stored(f"{case}/after")
    name = case.partition("_")[0]
    STEPS["vertebrae_refined" if name == "refined" else name].change(labels)
    assert (theirs != labels.coarse).any()
    np.testing.assert_array_equal(labels.array, theirs)


def test_the_skin_is_that_of_totalsegmentator():
    labels = labels_of("body")
    labels.image, labels.wanted = stored("body/image"), {"body_trunc", "skin"}
    STEPS["body"].change(labels)
    skin = stored("body/skin")
    assert skin.any()
    np.testing.assert_array_equal(labels.array, np.where(skin, 3, stored("body/after")))


def test_the_skin_is_there_only_if_it_is_asked_for():
    source = volume((30, 40, 40), (2.0, 2.0, 3.0))
    the_model = model(classes=3, seed=1, labels={1: "body_trunc", 2: "body_extremities"})
    the_model.card.structures, the_model.card.postprocess = list(BODY)[:2], Postprocess("body")
    whole = segment(source, the_model, device="cpu").label_map
    assert [s.name for s in whole.structures] == ["body_trunc", "body_extremities"]
    both = segment(source, the_model, device="cpu", structures=["Trunk", "Skin"]).label_map
    assert [s.name for s in both.structures] == ["body_trunc", "skin"] and both.mask("skin").any()
    assert not (both.mask("body_trunc") & ~whole.mask("body_trunc")).any()
    alone = segment(source, the_model, device="cpu", structures=["skin"]).label_map
    np.testing.assert_array_equal(alone.mask("skin"), both.mask("skin"))


def test_small_pieces_are_those_of_totalsegmentator():
    labels = stored("small/before")
    for value in (1, 2, 3):
        remove_small(labels, value, 200.0, np.eye(4))
    np.testing.assert_array_equal(labels, stored("small/after"))


def test_labels_grow_by_distances_between_voxel_centres():
    array = np.zeros((9, 11, 15), np.uint8)
    array[4, 5, 7] = 7
    grow(array, 3.0, np.array([2.0, 1.5, 0.8]))
    k, j, i = np.indices(array.shape)
    inside = (2.0 * (k - 4)) ** 2 + (1.5 * (j - 5)) ** 2 + (0.8 * (i - 7)) ** 2 <= 9.0
    np.testing.assert_array_equal(array, np.where(inside, 7, 0))


def test_bodies_are_told_apart_on_the_networks_grid():
    """On slices so thick that neighbours touch there, names follow the bodies that the network's own grid has."""
    case = "vertebrae_from_below"
    fine, theirs = stored(f"{case}/before"), stored(f"{case}/after")
    thick = np.diag([1.0, 1.0, 5.0, 1.0])
    thick[2, 3] = 2.0
    labels = given(fine[2::5].copy(), fine, thick)
    vertebrae(labels)
    marked = fine[2::5] > 0
    np.testing.assert_array_equal(labels.array[marked], theirs[2::5][marked])


@pytest.fixture
def spine_model():
    """Random weights for three vertebrae, which touch everywhere."""
    names = {1: "vertebrae_C1", 2: "vertebrae_C2", 3: "vertebrae_C3"} | {
        value: name for name, value in SPINE.items() if value > 3
    }
    made = model(classes=25, labels=names)
    made.card.structures = list(names.values())
    return made


def test_the_run_applies_what_the_card_names(spine_model):
    source = volume((30, 40, 40), (2.0, 2.0, 3.0))  # the network's own grid
    plain = segment(source, spine_model, device="cpu", quality="standard").label_map.array
    spine_model.card.postprocess = Postprocess("vertebrae")
    result = segment(source, spine_model, device="cpu")
    labels = given(plain.copy(), plain, source.ijk_to_ras)
    vertebrae(labels)
    assert (labels.array != plain).any()
    np.testing.assert_array_equal(result.label_map.array, labels.array)
    there = {name for name, value in SPINE.items() if (labels.array == value).any()}
    assert set(result.confidence) <= there
    wanted = sorted(there)[0]
    part = segment(source, spine_model, device="cpu", structures=[wanted])
    value = SPINE[wanted]
    np.testing.assert_array_equal(part.label_map.array, np.where(labels.array == value, value, 0))


def test_the_run_asks_the_other_model_that_a_step_needs(spine_model, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path))
    spine_model.card.postprocess = Postprocess("vertebrae_refined", "bodies")
    source = volume((30, 40, 40), (2.0, 2.0, 3.0))
    with pytest.raises(ModelError, match="tiny needs the model bodies, which is unknown"):
        segment(source, spine_model, device="cpu")
    known = {"id": "bodies", "structures": ["vertebrae_body", "intervertebral_discs"], "crop": None}
    import_model(DATA / "totalsegmentator_crop" / "Dataset008_HepaticVessel", changes=known)
    events = []
    result = segment(source, spine_model, device="cpu", progress=lambda *event: events.append(event))
    spine_model.card.postprocess = None
    plain = segment(source, spine_model, device="cpu").label_map.array
    bodies = segment(source, "bodies", device="cpu").label_map.mask("vertebrae_body")
    labels = given(plain.copy(), plain, source.ijk_to_ras, other=bodies)
    STEPS["vertebrae_refined"].change(labels)
    assert labels.array.any() and not labels.array[~bodies].any()
    np.testing.assert_array_equal(result.label_map.array, labels.array)
    assert result.provenance["postprocess"]["model"]["id"] == "bodies"
    fractions = [fraction for stage, fraction, _ in events if stage == "inference"]
    assert fractions == sorted(fractions) and fractions[0] < 0.5 < fractions[-1]


def test_cards_whose_step_does_not_fit_are_told(spine_model):
    source = volume((30, 40, 40), (2.0, 2.0, 3.0))
    spine_model.card.postprocess = Postprocess("body")
    with pytest.raises(
        ModelError, match="postprocessing body, which needs body_extremities, body_trunc, which it does"
    ):
        segment(source, spine_model, device="cpu")
    spine_model.card.postprocess = Postprocess("vertebrae_refined")
    with pytest.raises(ModelError, match="vertebrae_refined, which needs another model"):
        segment(source, spine_model, device="cpu")


def test_a_region_around_the_trunk_is_that_of_its_largest_piece(tmp_path, monkeypatch):
    """As abdominal_muscles, which crops by body_fast: what that makes on request takes nothing away."""
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path))
    source = read_volume(DATA / "totalsegmentator_crop" / "ct.nii.gz")
    outline = {"id": "outline", "structures": list(BODY)[:2], "crop": None, "postprocess": {"name": "body"}}
    inner = {"id": "inner", "crop": {"model": "outline", "structures": ["body_trunc"], "margin_mm": 0}}
    for changes in (outline, inner):
        import_model(DATA / "totalsegmentator_crop" / "Dataset008_HepaticVessel", changes=changes)
    trunk = segment(source, "outline", device="cpu").label_map.mask("body_trunc")
    crop = segment(source, "inner", device="cpu").provenance["crop"]
    assert trunk.any() and tuple(slice(*ends) for ends in crop["voxels_ijk"][::-1]) == box_of(trunk)


def test_small_pieces_are_removed_on_request():
    source, the_model = volume((30, 40, 40), (2.0, 2.0, 3.0)), model()
    plain = segment(source, the_model, device="cpu").label_map.array
    result = segment(source, the_model, device="cpu", min_piece_ml=0.2)
    expected = plain.copy()
    for value in (1, 2, 3):
        remove_small(expected, value, 200.0, source.ijk_to_ras)
    assert (expected != plain).any()
    np.testing.assert_array_equal(result.label_map.array, expected)
    assert result.provenance["settings"]["min_piece_ml"] == 0.2


def test_finishing_is_told_and_can_be_cancelled():
    source, the_model, told = volume((30, 40, 40), (2.0, 2.0, 3.0)), model(), []
    told_to = {"progress": lambda *now: told.append(now), "device": "cpu", "min_piece_ml": 0.2}
    segment(source, the_model, **told_to)
    stages = [stage for stage, _, _ in told]
    finishing = [fraction for stage, fraction, _ in told if stage == "finish"]
    assert stages.index("finish") > stages.index("inference") and "inference" not in stages[stages.index("finish") :]
    assert finishing == sorted(finishing) and finishing[0] == 0.0 and finishing[-1] == 1.0 and len(finishing) > 3
    told.clear()
    with pytest.raises(Cancelled):
        segment(source, the_model, **told_to, cancel=lambda: any(stage == "finish" for stage, _, _ in told))


@pytest.mark.parametrize("all_but_one", [False, True])
def test_pieces_equal_those_of_simpleitk(all_but_one):
    array = (np.random.default_rng(5).random((20, 24, 28)) < 0.25).astype(np.uint8)
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(array)))  # the largest is 1
    numbers = sitk.GetArrayFromImage(parts)
    sizes = np.bincount(numbers.ravel())
    kept = np.isin(numbers, [n for n in range(1, len(sizes)) if sizes[n] > 3][: 1 if all_but_one else None])
    mine = array * 3
    remove_small(mine, 3, 3 * 2.0, np.diag([1.0, 1.0, 2.0, 1.0]), all_but_one=all_but_one)
    np.testing.assert_array_equal(mine, kept * 3)


def test_a_card_says_how_small_a_piece_of_which_structure_can_be():
    source, the_model = volume((30, 40, 40), (2.0, 2.0, 3.0)), model()
    plain = segment(source, the_model, device="cpu").label_map.array
    name = the_model.labels[2]
    tidy = replace(the_model, card=replace(the_model.card, min_piece_ml={name: 1e6}))
    result = segment(source, tidy, device="cpu")
    np.testing.assert_array_equal(result.label_map.array, np.where(plain == 2, 0, plain))
    assert name not in result.confidence and (plain == 2).any()
    corners = source.ijk_to_ras[:3, 3], (source.ijk_to_ras @ [*source.shape_ijk, 1])[:3]
    part = segment(source, tidy, device="cpu", roi=[*np.concatenate(corners)]).label_map.array
    assert (part == 2).any()  # it may go on outside


def test_a_card_says_which_structures_are_one_piece():
    source, the_model = volume((30, 40, 40), (2.0, 2.0, 3.0)), model()
    plain = segment(source, the_model, device="cpu").label_map.array
    whole = replace(the_model, card=replace(the_model.card, one_piece=[the_model.labels[2]]))
    found = segment(source, whole, device="cpu").label_map.array
    regions = measure.label(plain == 2, connectivity=1)  # scikit-image's
    largest = regions == 1 + np.argmax(np.bincount(regions.ravel())[1:])
    assert regions.max() > 1
    np.testing.assert_array_equal(found, np.where((plain == 2) & ~largest, 0, plain))
    corners = source.ijk_to_ras[:3, 3], (source.ijk_to_ras @ [*source.shape_ijk, 1])[:3]
    part = segment(source, whole, device="cpu", roi=[*np.concatenate(corners)]).label_map.array
    assert measure.label(part == 2, connectivity=1).max() > 1  # they may be one outside


def test_the_catalogue_names_what_totalsegmentator_does():
    named = {card.id: card.postprocess for card in catalogue() if card.postprocess}
    assert named == {
        "body": Postprocess("body"),
        "body_fast": Postprocess("body"),
        "vertebrae_pp": Postprocess("vertebrae"),
        "vertebrae_pp_refined": Postprocess("vertebrae_refined", "vertebrae_body"),
    }
    assert [card.id for card in chain(in_catalogue("vertebrae_pp_refined"))] == [
        "vertebrae_pp_refined",
        "vertebrae_body",
    ]
