"""Corrections: Dice against the number of clicks, for our solver and others given the same seeds, and the time.

    python Testing/benchmarks/refine.py [--data ../shared/data] [--clicks 5] [--picture docs/refine.png]

The simulated user clicks the middle (the largest distance to the border) of the largest connected error, positive
where the structure is missing and negative where it is too much: the protocol of Xu et al., Deep Interactive Object
Selection, CVPR 2016, and Sofiiuk et al., RITM, ICIP 2022. All structures but the target are locked, so that errors
under a locked structure are not clicked. Every method solves the same region from the same seeds; the locks, the
hard constraints and the rule that changes are joined to the click are the same for all.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from DeepSegLogic.boxes import matrix_of
from DeepSegLogic.geometry import ijk_to_ras_points, reorient
from DeepSegLogic.io import read_label_map, read_volume
from DeepSegLogic.labels import LabelMap
from DeepSegLogic.refine import Point, refine, region
from DeepSegLogic.volume import Volume

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "reference"))
from demo_structures import ours

CASES = {"abdomen": ("abdomen_ct/ct.nii.gz", "abdomen_ct"), "series": ("abdomen_ct_dicom/series", "abdomen_ct_dicom")}
ORGANS = (
    *("spleen", "kidney_right", "kidney_left", "gallbladder", "liver", "stomach", "duodenum", "urinary_bladder"),
    *("aorta", "inferior_vena_cava", "pancreas", "colon", "vertebrae_L3", "iliopsoas_left", "autochthon_right"),
)
DAMAGES = ("piece", "slices", "eroded", "leak")
GOALS = (0.90, 0.95)


def unknown(scene):
    """What the seeds of the baselines leave open: candidates nearer to the click than 2.5 times the error's size."""
    distance = ndimage.distance_transform_edt(~scene.seeds, sampling=scene.spacing)
    return scene.candidates & (distance < max(2.5 * scene.scale, 2 * scene.spacing.max()))


def growcut(scene, positive):
    """``vtkImageGrowCutSegment`` of 3D Slicer."""
    import slicer
    import vtk
    from vtk.util import numpy_support

    def image(array, kind):
        data = vtk.vtkImageData()
        data.SetDimensions(array.shape[::-1])
        data.SetSpacing(scene.spacing[::-1])
        flat = np.ascontiguousarray(array.astype(kind)).ravel()
        data.GetPointData().SetScalars(numpy_support.numpy_to_vtk(flat, deep=True))
        return data

    seeds = np.where(scene.goal | scene.seeds, 1, np.where(unknown(scene), 0, 2))
    grow = slicer.vtkImageGrowCutSegment()
    grow.SetIntensityVolume(image(scene.image, np.int16))
    grow.SetSeedLabelVolume(image(seeds, np.uint8))
    grow.Update()
    found = numpy_support.vtk_to_numpy(grow.GetOutput().GetPointData().GetScalars())
    return found.reshape(scene.image.shape) == 1


def random_walker(scene, positive):
    """scikit-image's random walker (Grady, PAMI 2006)."""
    import warnings

    from skimage.segmentation import random_walker

    seeds = np.where(scene.goal | scene.seeds, 1, np.where(unknown(scene), 0, 2))
    if not (seeds == 0).any() or not (seeds == 2).any():
        return scene.seeds.copy()
    image = np.clip(scene.image.astype(float), *np.percentile(scene.image, (1, 99)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return random_walker(image, seeds, beta=130, mode="cg_j", tol=1e-2, spacing=scene.spacing) == 1


def geodesic(scene, positive):
    """Fusion of geodesic distances from the two kinds of seeds (Wang et al., DeepIGeoS, PAMI 2019)."""
    from skimage.graph import MCP_Geometric

    image = scene.image.astype(float)
    cost = 1 + ndimage.gaussian_gradient_magnitude(image, 0.7) / 20
    open_ = unknown(scene)
    cost[~(open_ | scene.goal | scene.seeds)] = cost.max()

    def reach(seeds):
        return MCP_Geometric(cost, sampling=tuple(scene.spacing)).find_costs(np.argwhere(seeds))[0]

    stay = ndimage.binary_dilation(open_) & scene.candidates & ~open_
    if not stay.any():
        return scene.seeds.copy()
    return reach(scene.goal & ndimage.binary_dilation(scene.candidates) | scene.seeds) < reach(stay)


def sphere(scene, positive):
    """No image: a ball as large as the error."""
    return ndimage.distance_transform_edt(~scene.seeds, sampling=scene.spacing) < scene.scale


OWN = region._solved
METHODS = {
    "DeepSeg": OWN,
    "DeepSeg + probabilities": OWN,
    "GrowCut (Slicer)": growcut,
    "ball (no image)": sphere,
    "geodesic fusion": geodesic,
    "random walker": random_walker,
}


class Case:
    """One structure to correct: image, labels and truth around it, and the probabilities of the run, if any."""

    def __init__(self, name, volume, label_map, truth, target, probabilities=None):
        spacing = volume.spacing[::-1]
        both = np.argwhere(truth | label_map.mask(target))
        margin = np.ceil(80 / spacing).astype(int)
        box = tuple(slice(max(0, a - m), b + m + 1) for a, b, m in zip(both.min(0), both.max(0), margin, strict=True))
        matrix = matrix_of(box, volume.ijk_to_ras)
        self.name, self.target, self.truth, self.probabilities = name, target, truth[box], probabilities
        self.volume = Volume(volume.array[box].copy(), matrix)
        self.labels = LabelMap(label_map.array[box].copy(), matrix, label_map.structures)


def load(case, data):
    image, labels = CASES[case]
    volume, reference = read_volume(data / image), read_label_map(data / labels / "labels.nii.gz")
    array, matrix = reorient(volume.array, volume.ijk_to_ras, "RAS")
    truth, _ = reorient(reference.array, reference.ijk_to_ras, "RAS")
    return Volume(np.ascontiguousarray(array), matrix), LabelMap(
        np.ascontiguousarray(truth), matrix, reference.structures
    )


def cases_of_model(data):
    """The bundled model's results where its errors can be corrected: not under locked neighbours."""
    return (case for case, reachable in results_of_model("abdomen", data) if reachable > 0.95)


def cases_of_failure(data):
    """A subject on which the bundled model fails, and whose figures chose nothing of how probabilities are used."""
    return (case for case, _ in results_of_model("series", data))


def results_of_model(case, data):
    """Structures of more than 5 ml in the bundled model's result, and the Dice that can be reached under locks."""
    from DeepSegLogic.pipeline import segment

    volume, reference = load(case, data)
    result = segment(volume, "ct_demo", keep_probabilities=True)
    for structure in result.label_map.structures:
        parts = [s.value for s in reference.structures if ours(s.name) == structure.name]
        truth = np.isin(reference.array, parts)
        start = result.label_map.mask(structure.name)
        if truth.sum() * reference.voxel_ml > 5:
            name = f"{case}/{structure.name}"
            reachable = dice(truth & (start | (result.label_map.array == 0)), truth)
            yield Case(name, volume, result.label_map, truth, structure.name, result.probabilities), reachable


def cases_of_damage(data):
    """Reference labels that were damaged the way in which networks and people err."""
    for case in CASES:
        volume, reference = load(case, data)
        for number, organ in enumerate(ORGANS):
            if not any(s.name == organ for s in reference.structures) or reference.volume_ml(organ) < 5:
                continue
            for kind in DAMAGES[number % 2 :: 2]:
                broken = damaged(reference, organ, kind, np.random.default_rng(number), volume)
                yield Case(f"{case}/{organ}/{kind}", volume, broken, reference.mask(organ), organ)


def damaged(reference, organ, kind, rng, volume):
    array, spacing = reference.array.copy(), reference.spacing[::-1]
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


def next_click(current, truth, locked, spacing):
    """The middle of the largest error and its sign; None where all is right."""
    found = []
    for positive, wrong in ((True, truth & ~current & ~locked), (False, current & ~truth)):
        pieces, count = ndimage.label(wrong)
        if count:
            sizes = np.bincount(pieces.ravel())[1:]
            found.append((sizes.max(), positive, pieces == sizes.argmax() + 1))
    if not found:
        return None
    _, positive, piece = max(found, key=lambda f: f[0])
    box = ndimage.find_objects(piece.astype(np.uint8))[0]
    depth = ndimage.distance_transform_edt(np.pad(piece[box], 1), sampling=spacing)
    at = np.array(np.unravel_index(depth.argmax(), depth.shape)) - 1 + [s.start for s in box]
    return at, positive


def simulate(case, method, clicks):
    """Dice after 0, 1, … clicks, and seconds of each."""
    region._solved = METHODS[method]
    labels, prompts = case.labels, []
    value = labels.structure(case.target).value
    locked = (labels.array > 0) & (labels.array != value)
    curve, seconds = [dice(labels.array == value, case.truth)], []
    top = None
    if method.endswith("probabilities") and case.probabilities is not None:
        from DeepSegLogic.volume import volume_digest

        top = replace(case.probabilities, volume_digest=volume_digest(case.volume))
    for _ in range(clicks):
        click = next_click(labels.array == value, case.truth, locked, labels.spacing[::-1])
        if click is None:
            break
        at, positive = click
        prompts.append(Point(case.target, positive, tuple(ijk_to_ras_points([at[::-1]], labels.ijk_to_ras)[0])))
        begin = time.perf_counter()
        done = refine(labels, prompts, volume=case.volume, probabilities=top).label_map
        seconds.append(time.perf_counter() - begin)
        if not (done.array[locked] == labels.array[locked]).all():
            raise AssertionError(f"{case.name}: a locked structure changed")
        labels = done
        curve.append(dice(labels.array == value, case.truth))
    return curve + [curve[-1]] * (clicks + 1 - len(curve)), seconds


def clicks_to(curves, goal):
    """Mean number of clicks to a Dice; those that never reach it count one more than were made."""
    needed = [next((n for n, d in enumerate(c) if d >= goal), len(c)) for c in curves if c[0] < goal]
    return np.mean(needed) if needed else float("nan")


def compare(title, cases, methods, clicks):
    """Print a row for each method as soon as it is done; mean Dice by clicks of each."""
    shown = sorted({0, 1, 3, clicks})
    head = [*(f"Dice after {n}" for n in shown), "area", *(f"clicks to {g:.2f}" for g in GOALS)]
    print(f"\n{title}: {len(cases)} cases, {len({c.target for c in cases})} structures, {clicks} clicks\n")
    print("| method |", " | ".join(head), "| error left, ratio to DeepSeg | worst click | ms, median, p95 |")
    print("|---" * (len(head) + 4) + "|")
    means, own = {}, None
    for method in methods:
        runs = [simulate(c, method, clicks) for c in cases]
        curves = np.array([curve for curve, _ in runs])
        own = own or np.mean(1 - curves[:, -1])
        times = np.concatenate([seconds for _, seconds in runs]) * 1000
        row = [*(f"{curves[:, n].mean():.3f}" for n in shown), f"{curves.mean():.3f}"]
        row += [f"{clicks_to(curves, g):.1f}" for g in GOALS]
        row += [f"{np.mean(1 - curves[:, -1]) / own:.2f}", f"{np.diff(curves).min():+.4f}"]
        print(
            f"| {method} |", " | ".join(row), f"| {np.median(times):.0f}, {np.percentile(times, 95):.0f} |", flush=True
        )
        means[method] = curves.mean(0)
    return means


def time_96(data):
    """Milliseconds of one click whose region is 96³ voxels, on the CT at 1 mm."""
    region._solved = OWN
    volume, reference = load("abdomen", data)
    box = (slice(20, 90),) * 3
    array = ndimage.zoom(volume.array[box].astype(np.float32), 3, order=1).astype(np.int16)
    labels = ndimage.zoom(reference.array[box], 3, order=0)
    matrix = volume.ijk_to_ras.copy()
    matrix[:3, :3] /= 3
    names = {s.value: s.name for s in reference.structures}
    fine = Volume(array, matrix)
    times, sizes = [], []
    for value in np.unique(labels)[1:]:
        depth = ndimage.distance_transform_edt(labels == value)
        if not 7.6 <= depth.max() <= 9:  # voxels: then the region is about 96 wide
            continue
        at = np.array(np.unravel_index(depth.argmax(), depth.shape))
        click = Point(names[value], False, tuple(ijk_to_ras_points([at[::-1]], matrix)[0]))
        for _ in range(5):
            begin = time.perf_counter()
            done = refine(LabelMap(labels, matrix, reference.structures), [click], volume=fine)
            times.append((time.perf_counter() - begin) * 1000)
            sizes.append(np.prod([s.stop - s.start for s in done.regions[0]]) ** (1 / 3))
    q = np.percentile(times, (5, 50, 95))
    print(
        f"\nRegions of {np.min(sizes):.0f}³ to {np.max(sizes):.0f}³ voxels ({len(times)} clicks): "
        f"{q[0]:.0f} ms (p5), {q[1]:.0f} (median), {q[2]:.0f} (p95); goal 300"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--clicks", type=int, default=5)
    parser.add_argument("--picture", help="also plot Dice against clicks")
    parser.add_argument("--only", choices=("model", "failure", "damage", "time"))
    options = parser.parse_args()
    found = {}
    for title, cases, kind in (
        ("Damaged reference labels", cases_of_damage, "damage"),
        ("The bundled model's result", cases_of_model, "model"),
        ("The bundled model where it fails", cases_of_failure, "failure"),
    ):
        if options.only in (None, kind):
            methods = [m for m in METHODS if kind != "damage" or not m.endswith("probabilities")]
            found[title] = compare(title, list(cases(options.data)), methods, options.clicks)
    if options.only in (None, "time"):
        time_96(options.data)
    if options.picture:
        plot(found, options.picture)


def plot(found, path):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(5.5 * len(found), 4), squeeze=False)
    for axis, (title, curves) in zip(axes[0], found.items(), strict=True):
        for method, curve in curves.items():
            axis.plot(curve, marker="o", markersize=3, label=method, linewidth=2.2 if "DeepSeg" in method else 1.2)
        axis.set(title=title, xlabel="clicks", ylabel="mean Dice")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
