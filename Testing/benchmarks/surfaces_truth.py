"""Surfaces against the truth: shapes with formulas, and a fine label map thinned to thick slices.

    python Testing/benchmarks/surfaces_truth.py --data ../shared/data

Ours and Slicer's default are compared with the true normals of the formulas; and, made of every second and third slice
of a label map of 1.5 mm, with the boundaries of all its slices, blurred by a voxel at the same volume (a method that is
neither's own).
Ours are made jointly, as `deepseg surfaces` makes them, and each structure by itself, as Slicer makes them.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects, gaussian_filter
from scipy.spatial import cKDTree
from surfaces import METHODS, by_slicer
from surfaces_from_probabilities import level_set

from DeepSegLogic.data.boxes import grown, matrix_of
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.io import read_label_map
from DeepSegLogic.surfaces import make_surfaces
from DeepSegLogic.surfaces.mesh_quality import mesh_volume_ml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "logic" / "surfaces"))
from shapes import SHAPES, SPACINGS, label_map_of, normal_error

SMALLEST_ML = 5


def meshes_of(surfaces):
    return {s.structure.name: (s.points, s.triangles) for s in surfaces}


def slicers(label_map):
    meshes, _ = by_slicer(METHODS["Slicer default"], label_map)
    return {n: (p, t if mesh_volume_ml(p, t) > 0 else t[:, ::-1]) for n, (p, t) in meshes.items()}


def formulas():
    print("| shape | spacing, mm | DeepSeg | Slicer | ratio |\n|---|---|---|---|---|")
    for spacing in SPACINGS:
        for name, shape in [*SHAPES.items(), ("ball in two halves", SHAPES["ball"])]:
            halves = "halves" in name
            label_map = label_map_of(shape, spacing, halves)
            errors = [
                np.mean([normal_error(shape, *mesh, int(n[1:]) if halves else None) for n, mesh in meshes.items()])
                for meshes in (meshes_of(make_surfaces(label_map)), slicers(label_map))
            ]
            grid = "×".join(map(str, spacing))
            print(f"| {name} | {grid} | {errors[0]:.2f} | {errors[1]:.2f} | {errors[0] / errors[1]:.2f} |", flush=True)


def thinned(label_map, factor):
    """Every so many slices along K."""
    matrix = label_map.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, 2] * (factor // 2)
    matrix[:3, 2] *= factor
    return LabelMap(label_map.array[factor // 2 :: factor].copy(), matrix, label_map.structures)


def truth_of(label_map, structure, box):
    """The boundary of a blurred mask, at the level that encloses as many voxels as the mask has.

    Half would be too high a level: the blurred mask of a rib loses a fifth of its volume there.
    """
    box = grown(box, 4, label_map.array.shape)
    mask = label_map.array[box] == structure.value
    soft = gaussian_filter(mask.astype(np.float32), 1, mode="constant")
    level = np.partition(soft.ravel(), -mask.sum())[-mask.sum()]
    surface = level_set(structure, soft - level, matrix_of(box, label_map.ijk_to_ras))
    return surface.points, surface.triangles


def samples(points, triangles, count, seed):
    """Random points of a surface, and the normals there."""
    corners = points[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas, rng = np.linalg.norm(normals, axis=1), np.random.default_rng(seed)
    at = rng.choice(len(areas), count, p=areas / areas.sum())
    weights = rng.dirichlet([1, 1, 1], count)
    return (corners[at] * weights[:, :, None]).sum(1), normals[at] / areas[at, None]


def compared(mesh, truth):
    """Symmetric mean distance in mm, and the mean angle between normals in degrees."""
    (some, normals), (many, _) = samples(*mesh, 6000, 0), samples(*mesh, 60000, 1)
    true, true_normals = samples(*truth, 60000, 2)
    distances, nearest = cKDTree(true).query(some)
    back, _ = cKDTree(many).query(true[:6000])
    cosines = (normals * true_normals[nearest]).sum(1)
    return (distances.mean() + back.mean()) / 2, np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean()


def anatomy(path):
    fine = read_label_map(path)
    boxes = find_objects(fine.array.astype(int))
    sizes = np.bincount(fine.array.ravel()) * fine.voxel_ml
    large = [s for s in fine.structures if s.value < len(sizes) and sizes[s.value] > SMALLEST_ML]
    truths = {s.name: truth_of(fine, s, boxes[s.value - 1]) for s in large}
    print("| slices, mm | surfaces | distance / Slicer's | normals / Slicer's | distance better | normals better |")
    print("|---|---|---|---|---|---|")
    for factor in (2, 3):
        label_map = thinned(fine, factor)
        theirs = slicers(label_map)
        theirs = np.array([compared(theirs[s.name], truths[s.name]) for s in large])
        alone = {s.name: meshes_of(make_surfaces(label_map, [s.name]))[s.name] for s in large}
        for how, meshes in (("joint", meshes_of(make_surfaces(label_map))), ("one by one", alone)):
            ratios = np.array([compared(meshes[s.name], truths[s.name]) for s in large]) / theirs
            median, worst, better = np.median(ratios, 0), ratios.max(0), (ratios < 1).sum(0)
            columns = [f"{m:.2f} (worst {w:.2f})" for m, w in zip(median, worst, strict=True)]
            columns += [f"{n} of {len(large)}" for n in better]
            print(f"| {factor * fine.spacing_ijk[2]:g} | {how} | {' | '.join(columns)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    path = Path(parser.parse_args().data) / "label_maps" / "s0327.nii.gz"
    formulas()
    print()
    if path.is_file():
        anatomy(path)
    else:
        print(f"{path} is not there, so the comparison with a finer label map is skipped.")


if __name__ == "__main__":
    main()
