"""What holds for any prompt, on a phantom and with random prompts. ``make strokes`` tries thousands;
DEEPSEG_STROKES says how many, DEEPSEG_STROKES_SEED which."""

import functools
import itertools
import os
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.data.boxes import size_of, whole
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.probabilities import TopProbabilities
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import Volume, volume_digest
from DeepSegLogic.refinement import Box, Lasso, Point, Scribble, propose, refine, region
from DeepSegLogic.refinement.prompt_context import PromptContext
from DeepSegLogic.session.reach import MOST_NOTCHES, reach_after
from DeepSegLogic.util.errors import UsageError

COUNT = int(os.environ.get("DEEPSEG_STROKES", "8"))
SEED = int(os.environ.get("DEEPSEG_STROKES_SEED", "20260101"))
LIVER, SPLEEN = 5, 1
SPACINGS = [(1.0, 1.0, 1.0), (3.0, 3.0, 3.0), (5.0, 0.8, 0.8)]
KINDS = ("point", "scribble", "box", "lasso")
EXTENT = np.array([110.0, 100.0, 90.0])  # mm along (K, J, I)


class Body:
    """A correct segmentation: a liver, with a vessel or without, and a spleen in fat, muscle beside them, noise as in a
    CT."""

    def __init__(self, spacing, with_vessel=False):
        self.spacing = np.array(spacing)
        shape = np.ceil(EXTENT / self.spacing).astype(int)
        k, j, i = (
            (np.arange(n) * s).reshape([-1 if a == b else 1 for b in range(3)])
            for a, (n, s) in enumerate(zip(shape, spacing, strict=True))
        )
        liver = ((k - 55) / 38) ** 2 + ((j - 45) / 36) ** 2 + ((i - 38) / 32) ** 2 < 1
        spleen = ((k - 50) / 20) ** 2 + ((j - 85) / 14) ** 2 + ((i - 72) / 16) ** 2 < 1
        vessel = with_vessel & (((k - 0.4 * i - 40) ** 2 + (j - 50) ** 2 < 25) & liver)
        muscle = (i + 0.3 * j + 0 * k > 95) & ~spleen
        self.truth = np.where(liver, LIVER, np.where(spleen, SPLEEN, 0)).astype(np.uint8)
        grey = np.full(shape, -90.0)
        for where, value in ((muscle, 60), (liver, 110), (spleen, 125), (vessel, 170)):
            grey[where] = value
        blur = 0.6 / self.spacing * self.spacing.min()
        grey = ndimage.gaussian_filter(grey, blur) + np.random.default_rng(0).normal(0, 12, shape)
        self.vessel = vessel
        self.volume = Volume(np.rint(grey).astype(np.int16), np.diag([*self.spacing[::-1], 1.0]))
        self.labels = self.of(self.truth)

    def of(self, array) -> LabelMap:
        structures = [structure_for("spleen", SPLEEN), structure_for("liver", LIVER)]
        return LabelMap(array.copy(), self.volume.ijk_to_ras, structures)

    def believed(self, rng) -> TopProbabilities:
        """Of a network whose most probable labels are these, unsure near the surface, here more and there less."""
        inside = self.truth == LIVER
        away, within = (ndimage.distance_transform_edt(m, sampling=self.spacing) for m in (~inside, inside))
        unsure = 2 + 6 * ndimage.gaussian_filter(rng.random(inside.shape), 6 / self.spacing)  # mm
        liver = np.rint(255 / (1 + np.exp(np.where(inside, -within, away) / unsure))).astype(np.uint8)
        labels = np.stack([np.full(liver.shape, LIVER, np.uint8), np.zeros(liver.shape, np.uint8)])
        values = np.stack([liver, 255 - liver])
        return TopProbabilities(labels, values, self.volume.ijk_to_ras, volume_digest(self.volume))


body_of = functools.cache(Body)


def random_prompt(rng, kind, positive):
    """Anywhere inside, outside, or at the border of the liver; strokes of up to 40 mm, in RAS mm."""
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    start = np.array([38, 45, 55]) + direction * [32, 36, 38] * rng.choice([rng.uniform(0, 0.9), 1.0, 1.2])
    start = np.clip(start, 3, EXTENT[::-1] - 4)
    end = np.clip(start + rng.normal(size=3) * rng.uniform(2, 16), 1, EXTENT[::-1] - 3)
    if kind == "point":
        return Point("liver", positive, tuple(start))
    if kind == "scribble":
        return Scribble("liver", positive, (tuple(start), tuple(end)), rng.uniform(0.5, 3))
    if kind == "box":
        return Box("liver", positive, (tuple(start - rng.uniform(3, 12, 3)), tuple(start + rng.uniform(3, 12, 3))))
    corners = start + [[-6, -6, 0], [6, -4, 0], [5, 7, 0], [-4, 5, 0]] * rng.uniform(0.8, 2, 3)
    return Lasso("liver", positive, tuple(map(tuple, corners)))


def proposal_of(body, prompt, **options):
    """What a prompt would change; None if it lies where nothing can change."""
    try:
        return propose(body.labels, prompt, volume=body.volume, **options)
    except UsageError:
        return None


def cases(count=COUNT):
    """Numbers of random cases: body, random generator, prompt, and what else is given."""
    for number in range(count):
        rng = np.random.default_rng([SEED, number])
        body = body_of(SPACINGS[number % 3])
        prompt = random_prompt(rng, KINDS[number % 4], bool(rng.integers(2)))
        yield body, prompt, {"probabilities": body.believed(rng)} if number % 2 else {}


def could_change(body, prompt):
    """Of the labels that a prompt lies on: the voxels that it may change."""
    if not prompt.positive:
        return body.truth == LIVER
    return body.truth == 0


def test_no_face_of_a_change_lies_on_the_border_of_its_region():
    for body, prompt, options in cases():
        proposal = proposal_of(body, prompt, **options)
        if proposal is None or (prompt.kind == "box" and prompt.positive):  # the user drew that border
            continue
        changed = proposal.at(1000) & ~proposal.marked  # the widest of all
        for axis, side in enumerate(proposal.region):
            for end, face in ((side.start == 0, 0), (side.stop == body.truth.shape[axis], -1)):
                assert end or not changed.take(face, axis).any(), (prompt, axis, face)


def test_a_prompt_on_a_correct_segmentation_changes_little_more_than_it_marks():
    """The bounds are those of the docs."""
    for body, prompt, options in cases():
        proposal = proposal_of(body, prompt, **options)
        if proposal is None:
            continue
        voxel = np.cbrt(body.spacing.prod())
        away = ndimage.distance_transform_edt(~proposal.marked, sampling=body.spacing)
        beside, near = away <= 1.5 * voxel, away <= 13.5 + 2 * voxel
        changed = proposal.at()
        if options:  # where the network was unsure, its error at the prompt counts nearby
            changed = changed & ~near
        assert np.count_nonzero(changed) <= 4 * np.count_nonzero(beside), prompt


@pytest.mark.parametrize("spacing", SPACINGS)
def test_what_looks_different_goes_alone(spacing):
    """A click on a vessel takes the vessel at most, and none of the liver around it."""
    body = body_of(spacing, with_vessel=True)
    at = np.argwhere(ndimage.binary_erosion(body.vessel) if spacing[0] < 3 else body.vessel)
    place = ijk_to_ras_points(at[len(at) // 2][None, ::-1], body.labels.ijk_to_ras)[0]
    changed = (
        refine(body.labels, [Point("liver", False, tuple(place))], volume=body.volume).label_map.array != body.truth
    )
    beside = ndimage.binary_dilation(body.vessel)
    assert np.count_nonzero(changed & ~beside) <= 0.1 * np.count_nonzero(changed)


def test_faint_differences_in_air_are_no_evidence():
    """Where most of what could change is air, its ranks are noise. A stroke in the air along the skin, which is a
    little brighter than the rest, changes little but what it marks: no layer of air."""
    spacing, shape = 3.0, (44, 44, 50)
    k, j, i = np.ogrid[:44, :44, :50]
    for number in range(max(COUNT, 10)):
        rng = np.random.default_rng([SEED, number])
        skin = 30 + 3 * np.sin(k / 9) + 2 * np.cos(j / 7)
        organ = ((k - 22) ** 2 + (j - 22) ** 2 + (i - 43) ** 2) < 30
        brighter = rng.uniform(10, 50) * ((i > skin - 3) & (i <= skin))
        grey = np.where(organ, 60, np.where(i > skin, -100, brighter - 1000))
        noise = rng.normal(0, rng.uniform(3, 8), shape) * np.where(i > skin, 2, 1)
        matrix = np.diag([spacing, spacing, spacing, 1.0])
        ct = Volume(np.rint(ndimage.gaussian_filter(grey, 0.5) + noise).astype(np.int16), matrix)
        labels = LabelMap(np.where(organ, LIVER, 0).astype(np.uint8), matrix, [structure_for("liver", LIVER)])
        start = rng.integers(12, 32, 2)
        side = rng.normal(size=2)
        end = start + side / np.linalg.norm(side) * rng.uniform(4, 9)
        line = [
            tuple(spacing * np.array([skin[round(k0), round(j0), 0] - 1.5, j0, k0]))
            for k0, j0 in np.linspace(start, end, 5)
        ]
        proposal = propose(labels, Scribble("liver", True, tuple(line), 2.0), volume=ct)
        beside = ndimage.distance_transform_edt(~proposal.marked, sampling=spacing) <= 1.5 * spacing
        assert np.count_nonzero(proposal.at()) <= 2 * np.count_nonzero(beside), (number, line)


def test_a_wider_reach_contains_all_narrower_ones():
    reaches = (0, 0.5, 1, 1.5, 2, 4, 8)
    for body, prompt, options in cases():
        proposal = proposal_of(body, prompt, **options)
        if proposal is None:
            continue
        masks = [proposal.at(reach) for reach in reaches]
        assert (masks[0] == proposal.marked).all()
        assert all((narrow <= wide).all() for narrow, wide in itertools.pairwise(masks))
        for mask in masks:
            pieces, _ = ndimage.label(mask)
            assert set(np.unique(pieces[mask])) == set(np.unique(pieces[proposal.marked]))
        done = refine(body.labels, [prompt], volume=body.volume, **options).label_map.array
        np.testing.assert_array_equal(proposal.applied(body.labels).array, done)
        away = ndimage.distance_transform_edt(~proposal.marked, sampling=body.spacing)
        near = (away > 0) & (away <= max(3, 1.5 * np.cbrt(body.spacing.prod())))
        could = could_change(body, prompt)[proposal.region]
        believed, beside = np.count_nonzero(proposal.at()), np.count_nonzero(near & could)
        for reach in (2, 4, 8):
            wanted, mask = round(believed + (reach - 1) * max(believed, beside)), proposal.at(reach)
            weakest = proposal.field[mask].min()  # all voxels as strong as it go together
            assert np.count_nonzero(proposal.field > weakest) < wanted
            assert np.count_nonzero(mask) >= wanted or (mask == proposal.at(1000)).all()


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("stroke", [False, True])
def test_the_wheel_widens_what_no_evidence_shows(spacing, stroke):
    """A part of the liver that a cut left behind looks like the rest of it. A prompt in its middle changes little by
    itself; with the wheel, it takes the part, and stops at its edge."""
    body = body_of(spacing)
    grid = np.indices(body.truth.shape) * body.spacing[:, None, None, None]
    leak = (body.truth == 0) & (((grid - [[[[55]]], [[[45]]], [[[76]]]]) ** 2).sum(0) < 100)
    labels = body.of(np.where(leak, LIVER, body.truth))
    grey = body.volume.array.copy()
    grey[leak] = 110 + np.random.default_rng(1).normal(0, 12, int(leak.sum()))
    middle = np.argwhere(leak).mean(0)[::-1] * body.spacing[::-1]
    along = np.array([0, 4, 0])
    places = tuple(middle - along), tuple(middle + along)
    prompt = Scribble("liver", False, places, 1.0) if stroke else Point("liver", False, tuple(middle))
    proposal = propose(labels, prompt, volume=replace(body.volume, array=grey))
    best = max(_dice(proposal.at(reach_after(n)), leak[proposal.region]) for n in range(MOST_NOTCHES + 1))
    assert _dice(proposal.at(), leak[proposal.region]) < 0.5 and best > 0.8


def _dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_what_cannot_change_need_not_be_interpolated(monkeypatch):
    """On coarser voxels, the part that is looked at closely has all that may change."""
    monkeypatch.setattr(region, "MOST_VOXELS", 12**3)
    parts, resampled = [], region.resampled
    monkeypatch.setattr(region, "resampled", lambda *a: parts.append(a[2:]) or resampled(*a))
    smaller = 0
    for body, prompt, options in cases():
        with monkeypatch.context() as patch:
            proposal = proposal_of(body, prompt, **options)
            smaller += any(size_of(part) != tuple(shape) for shape, part in parts)
            patch.setattr(region, "_part", lambda mask, steps, shape: whole(shape.tolist()))
            parts.clear()
            every = proposal_of(body, prompt, **options)
            assert all(size_of(part) == tuple(shape) for shape, part in parts)
        parts.clear()
        if proposal is not None:
            for reach in (0, 0.5, 1, 2, 1000):
                np.testing.assert_array_equal(proposal.at(reach), every.at(reach))
    assert smaller >= COUNT // 4


def test_the_same_prompt_twice_changes_nothing_more():
    for body, prompt, options in cases():
        once = refine(body.labels, [prompt], volume=body.volume, **options).label_map
        twice = refine(once, [prompt], volume=body.volume, **options)
        assert twice.changed_box is None


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("positive", [True, False])
def test_a_change_grows_smoothly_with_the_length_of_a_stroke(spacing, positive):
    """Deep in the liver, and outside of it: without evidence a stroke counts for what it covers."""
    body = body_of(spacing)
    start = np.array([20.0, 45, 55]) if not positive else np.array([20.0, 6, 8])
    volumes = []
    for length in np.arange(0, 41, 8):
        stroke = Scribble("liver", positive, (tuple(start), tuple(start + np.array([length, 0, 0]))), 2.0)
        proposal = proposal_of(body, stroke)
        volumes.append((proposal.ml(), proposal.ml(0)))
    changed, marked = np.array(volumes).T
    assert (changed <= 2.5 * marked + 8 * body.labels.voxel_ml).all(), volumes
    assert np.abs(np.diff(changed)).max() <= 3 * np.diff(marked).max() + 8 * body.labels.voxel_ml, volumes


def test_a_mirrored_prompt_gives_the_mirrored_change():
    for number, (body, prompt, options) in enumerate(cases()):
        axis = number % 3  # of (I, J, K)
        kji = 2 - axis
        far = (body.truth.shape[kji] - 1) * body.spacing[kji]

        def mirrored(place, axis=axis, far=far):
            return tuple(far - x if a == axis else x for a, x in enumerate(place))

        one = prompt.ras if prompt.kind == "point" else None
        if one is not None:
            other = replace(prompt, ras=mirrored(one))
        elif prompt.kind == "box":
            other = replace(prompt, corners=tuple(map(mirrored, prompt.corners)))
        else:
            other = replace(prompt, points=tuple(map(mirrored, prompt.points)))
        volume = Volume(np.flip(body.volume.array, kji).copy(), body.volume.ijk_to_ras)
        if options:
            top = options["probabilities"]
            flipped = [np.flip(a, kji + 1).copy() for a in (top.labels, top.values)]
            options_ = {"probabilities": TopProbabilities(*flipped, top.ijk_to_ras, volume_digest(volume))}
        else:
            options_ = {}
        here = refine(body.labels, [prompt], volume=body.volume, **options).label_map.array != body.truth
        labels = body.of(np.flip(body.truth, kji))
        there = refine(labels, [other], volume=volume, **options_).label_map.array != labels.array
        differ = np.count_nonzero(here ^ np.flip(there, kji))
        if prompt.kind == "box" and prompt.positive:  # its middle voxel may be the next one
            continue
        assert differ <= 0.01 * np.count_nonzero(here), (prompt, differ)


@pytest.mark.parametrize("length", [97, 83, 80, 79])
def test_mirrored_marks_are_mirrored_on_coarser_voxels(length):
    """Also where a mark lies half-way between two of them."""
    everywhere, steps = np.ones((length, 4, 4), bool), np.array([2, 1, 1])
    for place in range(length):
        marks = np.zeros(everywhere.shape, bool)
        marks[place, 1, 2] = True
        one, other = (
            PromptContext(m.astype(np.int16), everywhere, m, ~everywhere, np.ones(3), 5.0).coarser(steps).seeds
            for m in (marks, marks[::-1])
        )
        assert one.sum() == 1
        np.testing.assert_array_equal(one, other[::-1])


def _hole(body, centre, radius):
    """The labels with a round hole in the liver."""
    away = [(np.arange(n) * s - c) ** 2 for n, s, c in zip(body.truth.shape, body.spacing, centre, strict=True)]
    hole = away[0][:, None, None] + away[1][:, None] + away[2] <= radius**2
    return hole & (body.truth == LIVER)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("centre", [(55, 45, 38), (40, 60, 50)])
def test_one_click_fills_a_hole_and_spills_nothing(spacing, centre):
    body = body_of(spacing)
    hole = _hole(body, centre, 12.0)
    labels = body.of(np.where(hole, 0, body.truth))
    middle = ijk_to_ras_points(np.argwhere(hole).mean(0)[None, ::-1], labels.ijk_to_ras)[0]
    done = refine(labels, [Point("liver", True, tuple(middle))], volume=body.volume).label_map.array
    gained = (done == LIVER) & (labels.array != LIVER)
    assert (gained & hole).sum() > 0.95 * hole.sum()
    assert (gained & ~hole).sum() <= 0.02 * hole.sum()
