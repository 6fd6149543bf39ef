"""Corrections on a phantom whose truth is known, and on real organs."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from DeepSegLogic.data.affine import ijk_to_ras_points, reorient
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import standard_structures, structure_for
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import read_label_map, read_volume
from DeepSegLogic.refinement import Box, Lasso, Point, Scribble, refine
from DeepSegLogic.util.errors import Cancelled, InputError, UsageError

from .conftest import KIDNEY, LIVER, SPLEEN, dice


def test_a_click_brings_a_missing_piece_back(phantom, bitten):
    before = dice(bitten.array == LIVER, phantom.truth == LIVER)
    done = refine(bitten, [Point("liver", True, phantom.ras(20, 22, 10))], volume=phantom.volume)
    after = dice(done.label_map.array == LIVER, phantom.truth == LIVER)
    assert before < 0.96 and after > 0.985
    gained = np.count_nonzero(done.label_map.array == LIVER) - np.count_nonzero(bitten.array == LIVER)
    assert done.changes_ml == {"liver": (pytest.approx(gained * bitten.voxel_ml), 0.0)}
    outside = np.ones(bitten.array.shape, bool)
    outside[done.changed_box] = False
    assert (done.label_map.array == bitten.array)[outside].all()
    assert (done.label_map.array != bitten.array)[done.changed_box].any()


def test_a_negative_click_takes_a_leak_away(phantom):
    array = phantom.truth.copy()
    k, j, i = np.ogrid[:40, :48, :56]
    array[(array == 0) & ((k - 20) ** 2 + (j - 22) ** 2 + (i - 4) ** 2 < 36)] = LIVER
    leaking = phantom.labels(array)
    done = refine(leaking, [Point("liver", False, phantom.ras(20, 22, 3))], volume=phantom.volume)
    assert dice(done.label_map.array == LIVER, phantom.truth == LIVER) > 0.985
    np.testing.assert_array_equal(done.label_map.array == SPLEEN, phantom.truth == SPLEEN)


def test_the_given_label_map_does_not_change(phantom, bitten):
    copy = bitten.array.copy()
    refine(bitten, [Point("liver", True, phantom.ras(20, 22, 10))], volume=phantom.volume)
    np.testing.assert_array_equal(bitten.array, copy)


def test_satisfied_prompts_change_nothing(phantom):
    satisfied = [
        Point("liver", True, phantom.ras(20, 22, 20)),
        Point("liver", False, phantom.ras(2, 2, 2)),
        Scribble("spleen", True, (phantom.ras(20, 24, 40), phantom.ras(20, 24, 46)), 1.0),
        Box("kidney_right", False, (phantom.ras(0, 0, 40), phantom.ras(5, 5, 50))),
        Lasso("spleen", True, tuple(phantom.ras(20, *ji) for ji in ((22, 40), (22, 45), (26, 45), (26, 40)))),
    ]
    done = refine(phantom.labels(), satisfied, volume=phantom.volume)
    assert done.label_map.array.tobytes() == phantom.truth.tobytes()
    assert done.changed_box is None and done.changes_ml == {} and done.regions == []


@pytest.mark.parametrize("seed", range(4))
def test_locks_and_hard_constraints_hold_for_any_prompts(phantom, seed):
    rng = np.random.default_rng(seed)
    labels = phantom.labels()
    names = {"liver": LIVER, "spleen": SPLEEN}
    for _ in range(6):
        name, positive = rng.choice(list(names)), bool(rng.integers(2))
        voxel = rng.integers(0, labels.array.shape)
        held = labels.array[tuple(voxel)]
        done = refine(labels, [Point(str(name), positive, phantom.ras(*voxel))], volume=phantom.volume)
        others = (labels.array > 0) & (labels.array != names[name])
        np.testing.assert_array_equal(done.label_map.array[others], labels.array[others])
        if positive and held not in (0, names[name]):
            assert "locked" in done.skipped[1] and done.changed_box is None
        else:
            assert ("agrees" in done.skipped.get(1, "")) == ((held == names[name]) == positive)
            assert (done.label_map.array[tuple(voxel)] == names[name]) == positive
        labels = done.label_map


def test_every_change_is_connected_to_the_prompt_inside_its_region(phantom, bitten):
    voxel = (20, 22, 10)
    done = refine(bitten, [Point("liver", True, phantom.ras(*voxel))], volume=phantom.volume)
    changed = done.label_map.array != bitten.array
    pieces, count = ndimage.label(changed)
    assert count == 1 and pieces[voxel] == 1
    region = np.zeros(changed.shape, bool)
    region[done.regions[0]] = True
    assert not (changed & ~region).any()


def test_all_prompts_hold_together(phantom, bitten):
    prompts = [
        Point("liver", True, phantom.ras(20, 22, 10)),
        Point("liver", False, phantom.ras(20, 22, 13)),
        Point("liver", False, phantom.ras(20, 22, 30)),
        Scribble("liver", False, (phantom.ras(26, 18, 12), phantom.ras(26, 26, 12)), 2.5),
    ]
    array = refine(bitten, prompts, volume=phantom.volume).label_map.array
    assert array[20, 22, 10] == LIVER
    assert array[20, 22, 13] == 0 and array[20, 22, 30] == 0
    assert (array[26, 18:27, 12] == 0).all()


def test_an_unlocked_neighbour_gives_way_only_where_it_is_clicked(phantom):
    array = phantom.truth.copy()
    array[20:26][phantom.truth[20:26] == LIVER] = SPLEEN  # part of the liver goes by the wrong name
    click = Point("liver", True, phantom.ras(23, 22, 20))
    locked = refine(phantom.labels(array), [click], volume=phantom.volume)
    assert locked.label_map.array.tobytes() == array.tobytes() and "spleen" in locked.skipped[1]
    done = refine(phantom.labels(array), [click], volume=phantom.volume, locked=["kidney_right"]).label_map.array
    assert dice(done == LIVER, phantom.truth == LIVER) > dice(array == LIVER, phantom.truth == LIVER) + 0.05
    np.testing.assert_array_equal((done == 0), (array == 0))
    np.testing.assert_array_equal((done == KIDNEY), (array == KIDNEY))


def test_a_positive_box_stays_within_itself(phantom, bitten):
    corners = phantom.ras(14, 15, 3), phantom.ras(26, 29, 16)
    done = refine(bitten, [Box("liver", True, corners)], volume=phantom.volume)
    assert dice(done.label_map.array == LIVER, phantom.truth == LIVER) > 0.97
    where = np.argwhere(done.label_map.array != bitten.array)
    places = ijk_to_ras_points(where[:, ::-1], bitten.ijk_to_ras)
    low, high = np.min(corners, 0), np.max(corners, 0)
    slack = np.abs(bitten.ijk_to_ras[:3, :3]).sum(1)  # the box is along RAS, its voxels are oblique
    assert (places >= low - slack - 10).all() and (places <= high + slack + 10).all()


def test_a_lasso_and_a_negative_box_fix_all_voxels_they_enclose(phantom):
    curve = tuple(phantom.ras(5, *ji) for ji in ((10, 10), (10, 20), (20, 20), (20, 10)))
    array = refine(phantom.labels(), [Lasso("liver", True, curve)], volume=phantom.volume).label_map.array
    assert (array[5, 11:20, 11:20] == LIVER).all()
    corner = np.array(phantom.ras(20, 22, 20))
    box = Box("liver", False, (tuple(corner - 6), tuple(corner + 6)))
    array = refine(phantom.labels(), [box], volume=phantom.volume).label_map.array
    kji = np.argwhere(np.ones(array.shape, bool))
    inside = (np.abs(ijk_to_ras_points(kji[:, ::-1], phantom.matrix()) - corner) <= 6).all(1)
    assert inside.sum() > 200 and not (array.ravel()[inside] == LIVER).any()


@pytest.mark.parametrize("name", ["liver", "LIVER", "Liver", "kidney_right", "Right Kidney", " right kidney "])
def test_structures_go_by_name_or_title_in_any_case(phantom, name):
    done = refine(phantom.labels(), [Point(name, True, phantom.ras(20, 8, 45))], volume=phantom.volume)
    assert list(done.changes_ml) == ["liver" if "liver" in name.lower() else "kidney_right"]


def test_a_structure_that_the_map_lacks_is_added(phantom):
    array = np.where(phantom.truth == SPLEEN, 0, phantom.truth).astype(np.uint8)
    labels = LabelMap(array, phantom.matrix(), [s for s in phantom.structures if s.name != "spleen"])
    done = refine(labels, [Point("Spleen", True, phantom.ras(20, 24, 43))], volume=phantom.volume)
    standard = next(s for s in standard_structures() if s.name == "spleen")
    assert done.label_map.structures[-1] == standard and any("Spleen" in n for n in done.notes)
    assert dice(done.label_map.array == SPLEEN, phantom.truth == SPLEEN) > 0.5


def test_a_standard_value_in_use_is_not_taken_twice(phantom):
    array = np.where(phantom.truth == KIDNEY, 4, phantom.truth).astype(np.uint8)  # 4 is the gallbladder's
    labels = LabelMap(array, phantom.matrix(), list(phantom.structures))
    done = refine(labels, [Point("gallbladder", True, phantom.ras(5, 5, 5))], volume=phantom.volume)
    added = done.label_map.structures[-1]
    assert added.name == "gallbladder" and added.value == 6
    np.testing.assert_array_equal(done.label_map.array == 4, array == 4)


def test_an_empty_label_map_can_be_corrected(phantom):
    empty = LabelMap(np.zeros_like(phantom.truth), phantom.matrix(), [])
    done = refine(empty, [Point("liver", True, phantom.ras(20, 22, 20))], volume=phantom.volume)
    assert done.label_map.array.dtype == np.uint8
    assert dice(done.label_map.array == LIVER, phantom.truth == LIVER) > 0.4


def test_an_image_on_another_grid_is_resampled(phantom, bitten):
    array, matrix = reorient(phantom.volume.array, phantom.volume.ijk_to_ras, "RAS")
    other = Volume(np.ascontiguousarray(array), matrix)
    click = [Point("liver", True, phantom.ras(20, 22, 10))]
    a = refine(bitten, click, volume=phantom.volume).label_map.array
    b = refine(bitten, click, volume=other).label_map.array
    assert dice(a == LIVER, b == LIVER) > 0.999


@pytest.mark.parametrize(
    ("prompts", "options", "error", "says"),
    [
        ([("liver", True, (5, 5, 5)), ("liver", False, (5, 5, 5))], {}, InputError, "contradict"),
        ([("liver", True, (5, 5, 5)), ("spleen", True, (5, 5, 5))], {}, InputError, "contradict"),
        ([("liver", True, (5, 5, 500))], {}, InputError, "outside the volume"),
        ([("livr", True, (5, 5, 5))], {}, UsageError, "liver"),
        ([("liver", True, (5, 5, 5))], {"locked": ["Liver"]}, UsageError, "locked"),
        ([("liver", True, (5, 5, 5))], {"locked": ["lifer"]}, UsageError, "liver"),
        ([("liver", True, (5, 5, 5))], {"volume": None}, InputError, "no image"),
    ],
)
def test_bad_prompts_are_refused(phantom, prompts, options, error, says):
    prompts = [Point(name, positive, phantom.ras(*kji)) for name, positive, kji in prompts]
    with pytest.raises(error, match=says):
        refine(phantom.labels(), prompts, **{"volume": phantom.volume, **options})


def test_an_image_at_another_place_is_refused(phantom):
    away = phantom.matrix()
    away[2, 3] += 500
    with pytest.raises(InputError, match="does not cover"):
        refine(
            phantom.labels(),
            [Point("liver", True, phantom.ras(5, 5, 5))],
            volume=Volume(phantom.volume.array, away),
        )


def test_a_cancelled_correction_raises(phantom):
    with pytest.raises(Cancelled):
        refine(
            phantom.labels(),
            [Point("liver", True, phantom.ras(5, 5, 5))],
            volume=phantom.volume,
            cancel=lambda: True,
        )


@pytest.mark.parametrize(
    ("organ", "left"),
    [("liver", 0.85), ("spleen", 0.6), ("kidney_right", 0.6), ("aorta", 0.6), ("urinary_bladder", 0.6)],
)
def test_a_real_organ_gets_its_missing_slices_back(shared_data, organ, left):
    labels = read_label_map(shared_data / "abdomen_ct" / "labels.nii.gz")
    volume = read_volume(shared_data / "abdomen_ct" / "ct.nii.gz")
    truth = labels.mask(organ)
    rows = np.flatnonzero(truth.any((1, 2)))
    first = rows[len(rows) // 2]
    missing = truth.copy()
    missing[:first] = missing[first + 4 :] = False
    array = np.where(missing, 0, labels.array).astype(labels.array.dtype)
    depth = ndimage.distance_transform_edt(missing)
    click = np.array(np.unravel_index(depth.argmax(), depth.shape))
    place = tuple(ijk_to_ras_points(click[None, ::-1], labels.ijk_to_ras)[0].tolist())
    before = LabelMap(array, labels.ijk_to_ras, labels.structures)
    done = refine(before, [Point(organ, True, place)], volume=volume).label_map.array
    gap = dice(array == labels.structure(organ).value, truth), dice(done == labels.structure(organ).value, truth)
    assert 1 - gap[1] < left * (1 - gap[0]), gap
    others = (array > 0) & (array != labels.structure(organ).value)
    np.testing.assert_array_equal(done[others], array[others])


@pytest.mark.skipif(sys.platform != "linux", reason="glibc fills what is freed")
def test_geodesic_distances_do_not_read_freed_memory():
    """The length of paths through voxels that are all alike is the distance to the seed, also where freed memory is
    overwritten at once."""
    code = (
        "import numpy as np\n"
        "from DeepSegLogic.refinement.prompt_context import PromptContext\n"
        "from DeepSegLogic.refinement.unary_potentials import _geodesic\n"
        "everywhere = np.ones((30, 40, 50), bool)\n"
        "seeds = np.zeros_like(everywhere)\n"
        "seeds[15, 20, 25] = True\n"
        "context = PromptContext(seeds, everywhere, seeds, seeds, np.array([2.0, 1.0, 1.0]), 5.0)\n"
        "found = _geodesic(context, np.zeros(seeds.shape, np.float32), everywhere, 12.0)\n"
        "place = (np.indices(seeds.shape).reshape(3, -1).T - [15, 20, 25]) * [2, 1, 1]\n"
        "expected = np.minimum(np.linalg.norm(place, axis=1), 12).reshape(seeds.shape)\n"
        "away = np.abs(np.minimum(found, 12) - expected)\n"
        "assert away.max() < 1.5, away.max()\n"
    )
    environment = os.environ | {"MALLOC_PERTURB_": "85"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 8, 8), (3, 1, 5), (12, 12, 12)])
@pytest.mark.parametrize("positive", [True, False])
def test_a_volume_that_says_nothing_changes_where_it_is_marked(shape, positive):
    """Also in a volume of one slice or one voxel."""
    labels = LabelMap(np.full(shape, 0 if positive else LIVER, np.uint8), np.eye(4), [structure_for("liver", LIVER)])
    volume = Volume(np.zeros(shape, np.int16), np.eye(4))
    tiny = Box("liver", positive, ((-0.2, -0.2, -0.2), (0.3, 0.3, 0.3)))
    for prompt in (Point("liver", positive, (0.0, 0.0, 0.0)), tiny):
        changed = refine(labels, [prompt], volume=volume).label_map.array != labels.array
        assert changed.sum() == 1 and changed[0, 0, 0]
