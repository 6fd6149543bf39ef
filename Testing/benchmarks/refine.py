"""Corrections: Dice against the number of prompts, for DeepSeg's solver and others given the same seeds.

    python Testing/benchmarks/refine.py [--data ../shared/data] [--prompts 5] [--picture docs/refine.png]

The simulated user corrects the largest connected error, positive where the structure is missing and negative where it
is too much (Xu et al., Deep Interactive Object Selection, CVPR 2016; Sofiiuk et al., RITM, ICIP 2022). Half of the
prompts are at the middle of the error, with jitter, and half at its border. They are clicks or strokes of random length
in a slice. All structures but the target are locked, and errors under a locked structure are not marked. Every method
solves the same region from the same seeds; the locks, the hard constraints and the rule that changes are joined to the
prompt are the same for all. *With the wheel*, the user also turns it to where the outline fits best: an ideal hand.

The weights were fitted on the subject ``abdomen`` (``--fitted``); the other subjects judge. The bundled model never saw
them.
"""

import argparse
import sys
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from DeepSegLogic.data.affine import ijk_to_ras_points, reorient, spacing_kji
from DeepSegLogic.data.boxes import matrix_of
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.volume import Volume, volume_digest
from DeepSegLogic.io import read_label_map, read_volume
from DeepSegLogic.refinement import Point, Scribble, propose, refine, region
from DeepSegLogic.refinement.random_walker import connected
from DeepSegLogic.segmentation import segment
from DeepSegLogic.session.reach import MOST_NOTCHES, reach_after

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "reference"))
from demo_structures import ours
from lung_rules import LEFT, RIGHT, UNSURE, lungs_and_air

CASES = {"abdomen": ("abdomen_ct/ct.nii.gz", "abdomen_ct"), "series": ("abdomen_ct_dicom/series", "abdomen_ct_dicom")}
ORGANS = (
    *("spleen", "kidney_right", "kidney_left", "gallbladder", "liver", "stomach", "duodenum", "urinary_bladder"),
    *("aorta", "inferior_vena_cava", "pancreas", "colon", "vertebrae_L3", "iliopsoas_left", "autochthon_right"),
)
DAMAGES = ("piece", "slices", "eroded", "leak")
GOALS = (0.90, 0.95)


def unknown(context):
    """What the seeds of the baselines leave open: candidates nearer to the prompt than 2.5 times the error's size."""
    distance = ndimage.distance_transform_edt(~context.seeds, sampling=context.spacing)
    return context.candidates & (distance < max(2.5 * context.scale, 2 * context.spacing.max()))


def growcut(context, positive):
    """``vtkImageGrowCutSegment`` of 3D Slicer."""
    import slicer
    import vtk
    from vtk.util import numpy_support

    def image(array, kind):
        data = vtk.vtkImageData()
        data.SetDimensions(array.shape[::-1])
        data.SetSpacing(context.spacing[::-1])
        flat = np.ascontiguousarray(array.astype(kind)).ravel()
        data.GetPointData().SetScalars(numpy_support.numpy_to_vtk(flat, deep=True))
        return data

    seeds = np.where(context.goal | context.seeds, 1, np.where(unknown(context), 0, 2))
    grow = slicer.vtkImageGrowCutSegment()
    grow.SetIntensityVolume(image(context.image, np.int16))
    grow.SetSeedLabelVolume(image(seeds, np.uint8))
    grow.Update()
    found = numpy_support.vtk_to_numpy(grow.GetOutput().GetPointData().GetScalars())
    return found.reshape(context.image.shape) == 1


def random_walker(context, positive):
    """scikit-image's random walker (Grady, PAMI 2006)."""
    from skimage.segmentation import random_walker

    seeds = np.where(context.goal | context.seeds, 1, np.where(unknown(context), 0, 2))
    if not (seeds == 0).any() or not (seeds == 2).any():
        return context.seeds.copy()
    image = np.clip(context.image.astype(float), *np.percentile(context.image, (1, 99)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return random_walker(image, seeds, beta=130, mode="cg_j", tol=1e-2, spacing=context.spacing) == 1


def brush(context, positive):
    """No image: only what is marked."""
    return context.seeds


def peer(solve, context, positive):
    """What another method changes, as a field that leaves nothing between right and wrong."""
    mask = solve(context, positive) & context.candidates | context.seeds
    return connected(mask.astype(np.float32), context.seeds)


OWN = region._solved
METHODS = {
    "DeepSeg": OWN,
    "DeepSeg + probabilities": OWN,
    "DeepSeg, with the wheel": OWN,
    "random walker (scikit-image)": random_walker,
    "GrowCut (Slicer)": growcut,
    "brush, no image": brush,
}


class Case:
    """One structure to correct: image, labels and truth around it, and the probabilities of the run, if any."""

    def __init__(self, name, volume, label_map, truth, target, probabilities=None):
        spacing = volume.spacing_kji
        both = np.argwhere(truth | label_map.mask(target))
        margin = np.ceil(80 / spacing).astype(int)
        box = tuple(slice(max(0, a - m), b + m + 1) for a, b, m in zip(both.min(0), both.max(0), margin, strict=True))
        matrix = matrix_of(box, volume.ijk_to_ras)
        self.name, self.target, self.truth = name, target, truth[box]
        self.volume = Volume(volume.array[box].copy(), matrix)
        self.labels = LabelMap(label_map.array[box].copy(), matrix, label_map.structures)
        self.probabilities = probabilities and replace(probabilities, volume_digest=volume_digest(self.volume))


def load(case, data):
    image, labels = CASES[case]
    volume, reference = read_volume(data / image), read_label_map(data / labels / "labels.nii.gz")
    array, matrix = reorient(volume.array, volume.ijk_to_ras, "RAS")
    truth, _ = reorient(reference.array, reference.ijk_to_ras, "RAS")
    return Volume(np.ascontiguousarray(array), matrix), LabelMap(
        np.ascontiguousarray(truth), matrix, reference.structures
    )


def cases_of_model(subjects, data):
    """The bundled model's results: structures of more than 5 ml, most of whose errors are not under locked ones."""
    for subject in subjects:
        if subject == "chest":
            yield from lungs_of_model(data)
            continue
        volume, reference = load(subject, data)
        result = segment(volume, "ct_demo", keep_probabilities=True)
        for structure in result.label_map.structures:
            parts = [s.value for s in reference.structures if ours(s.name) == structure.name]
            truth = np.isin(reference.array, parts)
            start = result.label_map.mask(structure.name)
            reachable = dice(truth & (start | (result.label_map.array == 0)), truth)
            if truth.sum() * reference.voxel_ml > 5 and reachable > 0.9:
                name = f"{subject}/{structure.name}"
                yield Case(name, volume, result.label_map, truth, structure.name, result.probabilities)


def lungs_of_model(data):
    """The lungs of a contrast CT, whose truth follows from their density; where it does not, the result is right."""
    whole = read_volume(data / "ct_unlabelled" / "chest_contrast.nii.gz")
    array, matrix = reorient(whole.array, whole.ijk_to_ras, "RAS")
    array, matrix = np.ascontiguousarray(array[:, ::2, ::2]), matrix @ np.diag([2.0, 2, 1, 1])
    volume = Volume(array, matrix)
    result = segment(volume, "ct_demo", keep_probabilities=True)
    truth = lungs_and_air(array, spacing_kji(matrix))
    for name, value in (("lung_left", LEFT), ("lung_right", RIGHT)):
        start = result.label_map.mask(name)
        right = np.where(truth == UNSURE, start, truth == value)
        yield Case(f"chest/{name}", volume, result.label_map, right, name, result.probabilities)


def cases_of_damage(subjects, data):
    """Reference labels that were damaged the way in which networks and people err."""
    for case in (s for s in subjects if s in CASES):
        volume, reference = load(case, data)
        for number, organ in enumerate(ORGANS):
            if not any(s.name == organ for s in reference.structures) or reference.volume_ml(organ) < 5:
                continue
            for kind in DAMAGES[number % 2 :: 2]:
                broken = damaged(reference, organ, kind, np.random.default_rng(number), volume)
                yield Case(f"{case}/{organ}/{kind}", volume, broken, reference.mask(organ), organ)


def damaged(reference, organ, kind, rng, volume):
    array, spacing = reference.array.copy(), reference.spacing_kji
    value, truth = reference.structure(organ).value, reference.mask(organ)
    voxels = np.argwhere(truth)
    places = voxels * spacing
    if kind == "piece":  # a bite from one end
        end = places[np.argmax(places @ rng.normal(size=3))]
        away = np.linalg.norm(places - end, axis=1)
        array[tuple(voxels[away < np.quantile(away, rng.uniform(0.15, 0.4))].T)] = 0
    elif kind == "slices":
        rows = np.unique(voxels[:, 0])
        count = max(2, int(len(rows) * rng.uniform(0.12, 0.3)))
        first = rng.integers(1, max(2, len(rows) - count))
        array[tuple(voxels[np.isin(voxels[:, 0], rows[first : first + count])].T)] = 0
    elif kind == "eroded":
        depth = ndimage.distance_transform_edt(truth, sampling=spacing)
        array[truth & (depth <= min(rng.uniform(3, 6), 0.7 * depth.max()))] = 0
    else:  # a ball on the surface, into background and neighbours of like grey value
        border = np.argwhere(truth & ~ndimage.binary_erosion(truth)) * spacing
        centre = border[rng.integers(len(border))]
        radius = max(
            2.2 * spacing.max(), rng.uniform(0.35, 0.7) * (3 * len(voxels) * np.prod(spacing) / 4 / np.pi) ** (1 / 3)
        )
        grid = np.ogrid[tuple(slice(0, n) for n in array.shape)]
        ball = sum((g * s - c) ** 2 for g, s, c in zip(grid, spacing, centre, strict=True)) < radius**2
        air = np.median(volume.array[truth]) < -300
        array[ball & ((volume.array < -300) == air)] = value
    return replace(reference, array=array)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(1, np.count_nonzero(a) + np.count_nonzero(b))


def largest_error(current, truth, locked):
    """The largest connected error and its sign; None where all is right."""
    found = []
    for positive, wrong in ((True, truth & ~current & ~locked), (False, current & ~truth)):
        pieces, count = ndimage.label(wrong)
        if count:
            sizes = np.bincount(pieces.ravel())[1:]
            found.append((sizes.max(), positive, pieces == sizes.argmax() + 1))
    return max(found, key=lambda f: f[0])[1:] if found else None


def drawn(piece, spacing, stroke, rng):
    """Where the user draws in an error: voxels (N, 3) of a click or a stroke, and the stroke's radius in mm."""
    box = ndimage.find_objects(piece.astype(np.uint8))[0]
    first = np.array([s.start for s in box])
    depth = ndimage.distance_transform_edt(np.pad(piece[box], 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    voxels = np.argwhere(depth > 0)
    deep = depth[tuple(voxels.T)]
    if rng.random() < 0.5:  # the middle, with jitter
        aim = voxels[deep.argmax()] + rng.normal(size=3) * deep.max() / 3 / spacing
    else:  # the border
        aim = voxels[rng.choice(np.flatnonzero(deep <= max(1.01 * spacing.max(), deep.min())))]
    start = voxels[np.linalg.norm((voxels - aim) * spacing, axis=1).argmin()]
    if not stroke:
        return start[None] + first, 0.0
    same = voxels[voxels[:, 0] == start[0]]
    length = np.linalg.norm((same - start) * spacing, axis=1)
    end = same[np.abs(length - rng.uniform(0.2, 1.0) * length.max()).argmin()]
    line = np.rint(start + np.linspace(0, 1, 50)[:, None] * (end - start)).astype(int)
    inside = depth[tuple(line.T)] > 0
    line = line[: len(line) if inside.all() else int(inside.argmin())]
    width = min(2.0, max(float(np.median(depth[tuple(line.T)])) - spacing.min(), 0.1))
    return line[:: max(1, len(line) - 1)] + first, width


def simulate(case, method, count, strokes, seed=0):
    """Dice after 0, 1, … prompts, and seconds of each."""
    solve = METHODS[method]
    region._solved = solve if solve is OWN else partial(peer, solve)
    labels, prompts, rng = case.labels, [], np.random.default_rng(seed)
    value = labels.structure(case.target).value
    locked = (labels.array > 0) & (labels.array != value)
    curve, seconds = [dice(labels.array == value, case.truth)], []
    for _ in range(count):
        error = largest_error(labels.array == value, case.truth, locked)
        if error is None:
            break
        positive, piece = error
        voxels, width = drawn(piece, labels.spacing_kji, strokes, rng)
        places = tuple(map(tuple, ijk_to_ras_points(voxels[:, ::-1].astype(float), labels.ijk_to_ras).tolist()))
        point = Point(case.target, positive, places[0])
        prompts.append(Scribble(case.target, positive, places, width) if strokes else point)
        begin = time.perf_counter()
        if method.endswith("wheel"):
            done = by_hand(propose(labels, prompts[-1], volume=case.volume), labels, case.truth)
        else:
            known = case.probabilities if method.endswith("probabilities") else None
            done = refine(labels, prompts[-1:], volume=case.volume, probabilities=known).label_map
        seconds.append(time.perf_counter() - begin)
        if not (done.array[locked] == labels.array[locked]).all():
            raise AssertionError(f"{case.name}: a locked structure changed")
        labels = done
        curve.append(dice(labels.array == value, case.truth))
    return curve + [curve[-1]] * (count + 1 - len(curve)), seconds


def by_hand(proposal, labels, truth):
    """The labels with a proposal at that reach of the wheel which gives the largest Dice."""
    before = labels.array == proposal.target
    inside = truth[proposal.region]

    def dice_at(reach):
        moved = proposal.at(reach)
        right, all_of_it = np.count_nonzero(inside & moved), np.count_nonzero(moved)
        sign = 1 if proposal.value else -1
        both = np.count_nonzero(before & truth) + sign * right
        return 2 * both / (np.count_nonzero(before) + sign * all_of_it + np.count_nonzero(truth))

    return proposal.applied(labels, max(map(reach_after, range(-MOST_NOTCHES, MOST_NOTCHES + 1)), key=dice_at))


def prompts_to(curves, goal):
    """Mean number of prompts to a Dice; those that never reach it count one more than were made."""
    needed = [next((n for n, d in enumerate(c) if d >= goal), len(c)) for c in curves if c[0] < goal]
    return np.mean(needed) if needed else float("nan")


def compare(title, cases, methods, count, strokes):
    """Print a row for each method as soon as it is done; mean Dice by prompts of each."""
    shown = sorted({0, 1, 3, count})
    head = [*(f"Dice after {n}" for n in shown), "area", *(f"prompts to {g:.2f}" for g in GOALS)]
    print(f"\n{title}: {len(cases)} cases, {len({c.target for c in cases})} structures, {count} prompts\n")
    print("| method |", " | ".join(head), "| error left, ratio to DeepSeg | worst prompt | ms, median, p95 |")
    print("|---" * (len(head) + 4) + "|")
    means, own = {}, None
    for method in methods:
        runs = [simulate(c, method, count, strokes, seed) for seed, c in enumerate(cases)]
        curves = np.array([curve for curve, _ in runs])
        own = own or np.mean(1 - curves[:, -1])
        times = np.concatenate([seconds for _, seconds in runs]) * 1000
        row = [*(f"{curves[:, n].mean():.3f}" for n in shown), f"{curves.mean():.3f}"]
        row += [f"{prompts_to(curves, g):.1f}" for g in GOALS]
        row += [f"{np.mean(1 - curves[:, -1]) / own:.2f}", f"{np.diff(curves).min():+.4f}"]
        print(
            f"| {method} |", " | ".join(row), f"| {np.median(times):.0f}, {np.percentile(times, 95):.0f} |", flush=True
        )
        means[method] = curves.mean(0)
    return means


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--prompts", type=int, default=5)
    parser.add_argument("--picture", help="also plot Dice against prompts")
    parser.add_argument("--fitted", action="store_true", help="the subject that the weights were fitted on instead")
    options = parser.parse_args()
    subjects = ("abdomen",) if options.fitted else ("series", "chest")
    found = {}
    for title, cases, kinds in (
        ("Damaged reference labels", cases_of_damage, 1),
        ("The bundled model's result", cases_of_model, 0),
    ):
        cases = list(cases(subjects, options.data))
        methods = [m for m in METHODS if not kinds or not m.endswith("probabilities")]
        for strokes in (False, True):
            name = f"{title}, {'strokes' if strokes else 'clicks'}"
            found[name] = compare(name, cases, methods, options.prompts, strokes)
    if options.picture:
        plot(found, options.picture)


def plot(found, path):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(5 * len(found), 4), squeeze=False)
    for axis, (title, curves) in zip(axes[0], found.items(), strict=True):
        for method, curve in curves.items():
            axis.plot(curve, marker="o", markersize=3, label=method, linewidth=2.2 if "DeepSeg" in method else 1.2)
        axis.set(title=title, xlabel="prompts", ylabel="mean Dice")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
