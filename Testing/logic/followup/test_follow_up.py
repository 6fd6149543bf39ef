"""Two time points: phantoms grown by known amounts, moved by known motions, on other grids."""

import re
from datetime import date

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from DeepSegLogic import Cancelled, InputError, LabelMap, TimePoint, UsageError, follow_up, read_label_map, read_volume
from DeepSegLogic.data.affine import LPS_TO_RAS, ijk_to_ras_points
from DeepSegLogic.data.itk import sitk_image
from DeepSegLogic.followup.change import Change
from DeepSegLogic.followup.landmarks import rigid_from_centres
from DeepSegLogic.io.read import ijk_to_ras

from .phantoms import ORGANS, Body, grid, motion, time_point

TUMOR = Body("liver_tumor", (42, 8, 5), (15.5, 15.5, 15.5), 40)
POINTS = np.random.default_rng(0).uniform(-45, 45, (100, 3))


def by_name(found, lesion=0):
    return {c.name: c for c in found.changes if c.lesion == lesion}


@pytest.mark.parametrize(("growth", "scan"), [(0.6, False), (1.159, True), (2.0, False)])
def test_known_growth_and_motion_on_another_grid(growth, scan):
    moved = motion((5, -4, 9), (12, -9, 7))
    before = time_point([*ORGANS, TUMOR], *grid((1.4, 1.4, 1.4)), scan=scan)
    turn = Rotation.from_euler("z", 20, degrees=True).as_matrix() @ np.diag([-1, -1, 1])
    after = time_point(
        [*ORGANS, TUMOR.grown(growth)], *grid((1.3, 1.3, 2.0), 170, turn, moved[:3, 3]), moved, scan=scan
    )
    found = follow_up(before, after, days=100)
    one = by_name(found)["liver_tumor"]
    assert one.before_ml == pytest.approx(TUMOR.ml, rel=0.01)
    assert one.after_ml / one.before_ml == pytest.approx(growth, rel=0.02)
    assert one.change_percent == pytest.approx(100 * (one.after_ml / one.before_ml - 1))
    assert one.change_ml == pytest.approx(one.after_ml - one.before_ml)
    assert one.shift_mm < 0.5
    if one.doubling_days is not None:
        assert one.doubling_days == pytest.approx(100 * np.log(2) / np.log(growth), rel=0.15)
    assert (one.doubling_days is None) == (one.kind == "unclear")
    assert (one.before_hu, one.after_hu) == (pytest.approx((40, 40)) if scan else (None, None))
    for name in ("spleen", "kidney_left", "aorta"):
        other = by_name(found)[name]
        assert abs(other.change_percent) < 2 and other.kind == "unclear" and other.shift_mm < 0.6
    # the same places in both scans
    there = POINTS @ moved[:3, :3].T + moved[:3, 3]
    assert np.linalg.norm(found.registration.to_baseline(there) - POINTS, axis=1).max() < 1.0
    assert np.linalg.norm(found.registration.to_follow_up(POINTS) - there, axis=1).max() < 1.0
    assert found.registration.basis == ("scans" if scan else "structures") and found.warnings == []


def test_the_sentence():
    exact = Change("a", "A", 0, "changed", 15.7, 18.2, 2.5, 100 * 2.5 / 15.7, 0.9, None, 40, 42, 0, False, False)
    assert exact.sentence == "15.7 ml → 18.2 ml, +15.9 %"
    shape, matrix = grid((0.5, 0.5, 0.5), 40, centre=TUMOR.centre)
    before, after = (time_point([TUMOR.grown(ml / TUMOR.ml)], shape, matrix) for ml in (15.7, 18.2))
    one = follow_up(before, after, days=92).changes[0]
    assert re.fullmatch(r"15\.7 ml → 18\.2 ml, \+1[56]\.\d %, doubles in 4\d\d days", one.sentence)
    assert one.doubling_days == pytest.approx(92 * np.log(2) / np.log(18.2 / 15.7), rel=0.03)
    back = follow_up(after, before, days=92).changes[0]
    assert back.doubling_days == pytest.approx(-one.doubling_days) and "halves in 4" in back.sentence


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.8, 0.8, 4)])
def test_what_did_not_change_is_never_called_a_change(spacing):
    rng = np.random.default_rng(1)
    spread = []
    for _ in range(6):
        turns = (Rotation.from_euler("xyz", rng.uniform(-3, 3, 3)).as_matrix() for _ in range(2))
        places = TUMOR.centre + rng.uniform(-2, 2, (2, 3))
        points = [time_point([TUMOR], *grid(spacing, 60, *at)) for at in zip(turns, places, strict=True)]
        one = follow_up(*points).changes[0]
        assert one.kind == "unclear" and "within the uncertainty" in one.sentence
        spread.append(abs(one.change_ml) / one.uncertainty_ml)
    assert 0 < max(spread) < 0.5  # the grid alone makes less; the rest is for the segmentation


def test_low_confidence_widens_the_uncertainty():
    shape, matrix = grid((0.8, 0.8, 0.8), 60, centre=TUMOR.centre)
    sure, unsure = ({"liver_tumor": c} for c in (1.0, 0.7))
    before = time_point([TUMOR], shape, matrix)
    after = [time_point([TUMOR.grown(1.25)], shape, matrix, confidence=c) for c in (sure, unsure)]
    changes = [follow_up(before, a).changes[0] for a in after]
    assert [c.kind for c in changes] == ["changed", "unclear"]
    volume = changes[0].after_ml
    assert changes[1].uncertainty_ml == pytest.approx(np.hypot(changes[0].uncertainty_ml, 0.3 * volume))


def test_lesions_are_matched_by_overlap():
    def spot(x, y, z, radius=6.0):
        return Body("lung_nodules", (x, y, z), (radius,) * 3, 40)

    still, growing, gone, new = spot(50, 40, 40), spot(-50, 40, 40, 5), spot(0, 45, -20, 6), spot(-45, 30, -50, 7)
    apart, together = [spot(8, 40, 30, 6), spot(24, 40, 30, 6)], [spot(8, 40, 30, 9), spot(24, 40, 30, 9)]
    unseen = spot(0, 40, 62, 4)
    moved = motion((3, 2, -5), (8, 4, -6))
    before = time_point([*ORGANS, still, growing, gone, unseen, *apart], *grid((1.4, 1.4, 1.4)))
    shape, matrix = grid((1, 1, 1.5), 150, centre=moved[:3, 3])
    keep = int(np.floor((55 - (matrix[2, 3] - moved[2, 3])) / 1.5))  # the follow-up ends before ``unseen``
    after = time_point([*ORGANS, still, growing.grown(3), new, *together], (keep, *shape[1:]), matrix, moved)
    found = follow_up(before, after)
    kinds = {c.kind: c for c in found.changes if c.name == "lung_nodules" and c.lesion}
    assert set(kinds) == {"unclear", "changed", "gone", "new", "merged", "unseen"}
    assert kinds["unclear"].before_ml == pytest.approx(still.ml, rel=0.03)
    assert kinds["changed"].after_ml / kinds["changed"].before_ml == pytest.approx(3, rel=0.05)
    assert (kinds["gone"].before_ml, kinds["gone"].after_ml) == (pytest.approx(gone.ml, rel=0.05), 0)
    assert kinds["new"].after_ml == pytest.approx(new.ml, rel=0.03) and kinds["new"].change_percent is None
    assert kinds["merged"].before_ml == pytest.approx(2 * apart[0].ml, rel=0.05)
    assert "outside the field of view" in kinds["unseen"].sentence
    back = {c.kind: c for c in follow_up(after, before).changes if c.lesion}
    assert "split" in back and back["split"].after_ml == pytest.approx(kinds["merged"].before_ml)
    none = follow_up(before, after, lesions=["liver"])
    assert {c.name for c in none.changes if c.lesion} == {"liver"}


def test_a_structure_cut_by_the_field_of_view_says_so():
    before = time_point(ORGANS, *grid((1.5, 1.5, 1.5)))
    shape, matrix = grid((1.5, 1.5, 1.5))
    after = time_point(ORGANS, (shape[0] // 2, *shape[1:]), matrix)
    aorta = by_name(follow_up(before, after, days=10))["aorta"]
    assert (aorta.cut_before, aorta.cut_after, aorta.kind) == (False, True, "cut")
    assert aorta.change_ml is aorta.change_percent is aorta.doubling_days is aorta.shift_mm is None
    assert "≥ " in aorta.sentence and "cut by the field of view in the follow-up" in aorta.sentence


def test_deformable_registration_follows_what_bends():
    def bend(p):
        return p + np.array([[0], [0], [1]]) * 12 * np.cos(2 * np.pi * p[0] / 140)

    before = time_point(ORGANS, *grid((2, 2, 2)))
    after = time_point(ORGANS, *grid((2, 2, 2), 160), bend=bend)
    found = follow_up(before, after, deformable=True).registration
    assert found.deformable and found.overlap["deformable"] > found.overlap["rigid"] + 0.03
    ijk = np.argwhere(after.label_map.array)[::97, ::-1]
    inside = ijk_to_ras_points(ijk, after.label_map.ijk_to_ras)
    true = bend(inside.T).T
    bent, rigid = found.to_baseline(inside), ijk_to_ras_points(inside, np.linalg.inv(found.rigid))
    error = [np.linalg.norm(places - true, axis=1).mean() for places in (bent, rigid)]
    assert error[0] < 0.8 * error[1]


@pytest.mark.parametrize(("angles", "shift", "spacing"), [((4, -3, 8), (15, -20, 25), (2.5, 2.5, 4.0))])
def test_a_real_ct_moved_by_a_known_transform(shared_data, angles, shift, spacing):
    folder = shared_data / "abdomen_ct"
    volume, label_map = read_volume(folder / "ct.nii.gz"), read_label_map(folder / "labels.nii.gz")
    images = [sitk_image(a, volume.ijk_to_ras) for a in (volume.array, label_map.array)]
    true = sitk.Euler3DTransform()
    true.SetCenter(images[0].TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in images[0].GetSize()]))
    true.SetRotation(*np.radians(angles))
    true.SetTranslation(shift)
    empty = sitk.Image([round(n * 3 / s) for n, s in zip(images[0].GetSize(), spacing, strict=True)], sitk.sitkUInt8)
    empty.SetSpacing(spacing)
    empty.SetOrigin(images[0].GetOrigin())
    empty.SetDirection(images[0].GetDirection())
    ct = sitk.Resample(images[0], empty, true, sitk.sitkLinear, -1000, sitk.sitkInt16)
    labels = sitk.Resample(images[1], empty, true, sitk.sitkNearestNeighbor, 0)
    matrix = ijk_to_ras(ct)
    after = TimePoint(
        LabelMap(sitk.GetArrayFromImage(labels), matrix, label_map.structures),
        type(volume)(sitk.GetArrayFromImage(ct), matrix),
    )
    found = follow_up(TimePoint(label_map, volume), after)
    middle = volume.ijk_to_ras @ [*(np.array(volume.shape_ijk) - 1) / 2, 1]
    points = 2 * POINTS + middle[:3]
    there = np.array([true.TransformPoint((p * [-1, -1, 1]).tolist()) for p in points]) * [-1, -1, 1]
    error = np.linalg.norm(found.registration.to_baseline(points) - there, axis=1)
    assert error.mean() < 0.5 and error.max() < 1.0  # a sixth and a third of a voxel
    assert found.registration.rotation_deg == pytest.approx(
        np.degrees(
            Rotation.from_matrix(
                LPS_TO_RAS[:3, :3] @ np.reshape(true.GetMatrix(), (3, 3)) @ LPS_TO_RAS[:3, :3]
            ).magnitude()
        ),
        abs=0.3,
    )
    whole = [c for c in found.changes if c.change_percent is not None and c.before_ml > 100]
    assert len(whole) >= 4 and max(abs(c.change_percent) for c in whole) < 2
    assert all(c.kind == "unclear" for c in whole)


def test_centres_give_the_rotation_of_another_library():
    rng = np.random.default_rng(3)
    source = rng.uniform(-80, 80, (8, 3))
    target = source @ motion((10, 20, -15), (0, 0, 0))[:3, :3].T + [5, 6, 7] + rng.normal(0, 0.5, (8, 3))
    middle, goal = source.mean(0), target.mean(0)
    reference = Rotation.align_vectors(target - goal, source - middle)[0].as_matrix()
    matrix = rigid_from_centres(source, target)
    np.testing.assert_allclose(matrix[:3, :3], reference, atol=1e-6)
    np.testing.assert_allclose(matrix[:3, :3] @ middle + matrix[:3, 3], goal)
    far = np.r_[target, [[300, 0, 0]]]  # one that went elsewhere
    np.testing.assert_allclose(rigid_from_centres(np.r_[source, [[0, 0, 0]]], far), matrix)
    line = np.c_[np.zeros(5), np.zeros(5), np.arange(5) * 30.0]  # a spine: no rotation can be told
    np.testing.assert_allclose(rigid_from_centres(line, line + np.array([1, 2, 3]))[:3, :3], np.eye(3))


def test_what_cannot_be_compared_is_refused():
    shape, matrix = grid((3, 3, 3))
    before, after = (time_point(ORGANS, shape, matrix) for _ in range(2))
    other = time_point([Body("brain", (0, 0, 0), (20, 20, 20))], shape, matrix)
    other.label_map.structures[0] = type(other.label_map.structures[0])(9, "brain", "Brain")
    with pytest.raises(InputError, match="no structure in common"):
        follow_up(before, other)
    for days in (0, -3, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="days"):
            follow_up(before, after, days=days)
    before.date, after.date = date(2024, 5, 2), date(2024, 2, 1)
    with pytest.raises(InputError, match="before the baseline"):
        follow_up(before, after)
    assert follow_up(after, before).days == 91
    with pytest.raises(Cancelled):
        follow_up(before, after, days=1, cancel=lambda: True)


def test_a_structure_that_only_one_scan_looked_for_is_told():
    shape, matrix = grid((3, 3, 3))
    found = follow_up(time_point(ORGANS[:4], shape, matrix), time_point(ORGANS, shape, matrix))
    assert "aorta" not in by_name(found)
    assert found.warnings == ["Only one of the scans was segmented for: Aorta."]


def test_small_numbers_keep_two_digits():
    one = Change("a", "A", 0, "changed", 0.123, 0.456, 0.333, 270.7, 0.1, None, None, None, None, False, False)
    assert one.sentence == "0.12 ml → 0.46 ml, +270.7 %"


def test_a_structure_that_came_beside_overlapping_ones():
    """Where structures overlap, an empty one is in no layer."""
    shape, matrix = grid((2.0, 2.0, 2.0))
    after = time_point([*ORGANS, TUMOR], shape, matrix)
    tumor = after.label_map.structure(TUMOR.name)
    rest = np.where(after.label_map.array == tumor.value, 1, after.label_map.array)
    layers = [LabelMap(rest, matrix, after.label_map.structures[:-1])]
    before = TimePoint(LabelMap(rest, matrix, after.label_map.structures, layers=layers), None)
    one = by_name(follow_up(before, after, days=100))[TUMOR.name]
    assert one.kind == "new" and one.after_ml == pytest.approx(TUMOR.ml, rel=0.05)


@pytest.mark.parametrize(("days", "words"), [(1, "1 day"), (92, "92 days"), (0.5, "0.5 days")])
def test_the_time_between_the_scans_is_told_in_english(days, words):
    point = time_point(ORGANS, *grid((3.0, 3.0, 3.0)))
    assert follow_up(point, point, days=days).interval == f"{words} between the scans."


def test_scans_in_other_coordinates_without_overlap_start_from_their_centres():
    """Two lesions, one of which went: nothing overlaps at first, and the middle between the two is in neither."""
    lesions = [Body("liver_lesion", place, (6, 6, 6)) for place in ((-20, 0, 0), (20, 0, 0))]
    far = motion((0, 0, 0), (3000, 0, 0))
    before = time_point(lesions, *grid((2, 2, 2), 80))
    after = time_point(lesions[:1], *grid((2, 2, 2), 80, centre=(3000, 0, 0)), far)
    found = follow_up(before, after)
    assert found.registration.overlap["none"] == 0
    assert np.linalg.norm(found.registration.to_follow_up(np.zeros((1, 3))) - [3000, 0, 0]) < 50


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("deformable", [False, True])
@pytest.mark.parametrize("slices", [1, 2, 3, 5])
def test_few_slices_are_compared(scan, deformable, slices):
    """What ITK cannot register stays where its centres are."""
    shape, matrix = grid((2, 2, 2), 80)
    one = time_point([Body("liver", (0, 0, 0), (25, 20, 25))], (slices, *shape[1:]), matrix, scan=scan)
    one.label_map.array[:] = one.label_map.array.any(0) | (np.indices(shape[1:]).sum(0) % 40 < 8)
    found = follow_up(one, one, deformable=deformable)
    assert found.changes[0].before_ml == found.changes[0].after_ml > 0
    assert found.registration.overlap["rigid"] > 0.95
