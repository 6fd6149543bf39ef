"""Surfaces against those of 3D Slicer, on real organs.

    python Testing/benchmarks/surfaces.py --data ../shared/data

Each method runs in a process of its own, in turns with the others; times are of making the surfaces, given as ratios
to Slicer's default in the same round, on the clock and of the processor (all threads). Slicer checks nothing; ours are
timed without the checks and with them. Slicer's are those of its own conversion rule in ``slicer-core``.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROUNDS = 3
METHODS = {
    "Slicer default": {"Conversion method": "0", "Smoothing factor": "0.5"},
    "Slicer SurfaceNets": {"Conversion method": "1", "Smoothing factor": "0.5"},
    "Slicer SurfaceNets, own smoothing": {"Conversion method": "1", "SurfaceNets smoothing": "1"},
    "DeepSeg": {},
    "DeepSeg, checks included": {},
}
CASES = ("abdomen 3 mm", "abdomen 1 mm", "DICOM series")


def label_map_of(case, data):
    from DeepSegLogic.io import read_label_map

    folder = "abdomen_ct_dicom" if case.startswith("DICOM") else "abdomen_ct"
    label_map = read_label_map(Path(data) / folder / "labels.nii.gz")
    return finer(label_map, 3) if case.endswith("1 mm") else label_map


def finer(label_map, factor):
    """Voxels ``factor`` times smaller along each axis: of the labels interpolated linearly, the largest."""
    from scipy.ndimage import find_objects, zoom

    from DeepSegLogic.data.label_map import LabelMap

    array = np.zeros(np.array(label_map.array.shape) * factor, label_map.array.dtype)
    best = np.full(array.shape, 0.5, np.float32)
    padded = np.pad(label_map.array, 2)
    for value, box in enumerate(find_objects(label_map.array.astype(int)), start=1):
        if box is None:
            continue
        inner = tuple(slice(s.start, s.stop + 4) for s in box)
        mask = (padded[inner] == value).astype(np.float32)
        soft = zoom(mask, factor, order=1, grid_mode=True, mode="grid-constant")[(slice(2 * factor, -2 * factor),) * 3]
        target = tuple(slice(s.start * factor, s.stop * factor) for s in box)
        wins = soft > best[target]
        array[target][wins] = value
        best[target][wins] = soft[wins]
    matrix = label_map.ijk_to_ras.copy()
    matrix[:3, :3] /= factor
    matrix[:3, 3] -= label_map.ijk_to_ras[:3, :3].sum(1) * (1 - 1 / factor) / 2
    return LabelMap(array, matrix, label_map.structures)


def make(method, label_map):
    """Name → (points in RAS mm, triangles), and the seconds that it took, on the clock and of the processor."""
    if method.startswith("DeepSeg"):
        from DeepSegLogic.surfaces import make_surfaces
        from DeepSegLogic.surfaces.mesh_quality import check_surfaces

        begin = now()
        surfaces = make_surfaces(label_map)
        if method != "DeepSeg":
            check_surfaces(surfaces, label_map)
        seconds = now() - begin
        return {s.structure.name: (s.points, s.triangles) for s in surfaces}, seconds
    return by_slicer(METHODS[method], label_map)


def now():
    return np.array([time.perf_counter(), time.process_time()])


def by_slicer(parameters, label_map):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "DeepSegExtension"))
    import slicer
    import vtk
    from DeepSegLib import bridge
    from vtk.util.numpy_support import vtk_to_numpy

    rule = slicer.vtkBinaryLabelmapToClosedSurfaceConversionRule()
    slicer.vtkSegmentationConverterFactory.GetInstance().RegisterConverterRule(rule)
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    bridge.segmentationFromLabelMap(label_map, node)
    segmentation = node.GetSegmentation()
    for name, value in parameters.items():
        segmentation.SetConversionParameter(name, value)
    begin = now()
    node.CreateClosedSurfaceRepresentation()
    seconds = now() - begin
    meshes = {}
    for structure in label_map.structures:
        mesh = segmentation.GetSegment(structure.name).GetRepresentation("Closed surface")
        if mesh is not None and mesh.GetNumberOfPolys():
            split = vtk.vtkTriangleFilter()  # SurfaceNets gives quads too
            split.SetInputData(mesh)
            split.Update()
            mesh = split.GetOutput()
            triangles = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3)
            meshes[structure.name] = vtk_to_numpy(mesh.GetPoints().GetData()).astype(float), triangles
    return meshes, seconds


def faults(meshes, label_map):
    """What a surgeon would mind."""
    import trimesh

    from DeepSegLogic.surfaces import Surface
    from DeepSegLogic.surfaces.mesh_quality import check_surfaces, mesh_volume_ml

    drifts, judged, open_, triangles, missing = [], [], 0, 0, 0
    counts = np.bincount(label_map.array.ravel(), minlength=256)
    for structure in label_map.structures:
        mask_ml = counts[structure.value] * label_map.voxel_ml
        if mask_ml == 0:
            continue
        if structure.name not in meshes:
            missing += 1
            continue
        points, faces = meshes[structure.name]
        triangles += len(faces)
        mesh = trimesh.Trimesh(points, faces, process=True)  # merges points of the same place, as a printer's program
        open_ += not (mesh.is_watertight and mesh.is_winding_consistent)  # inside out is the viewer's to mend
        if mask_ml > 1:
            drifts.append(100 * abs(abs(mesh_volume_ml(points, faces)) / mask_ml - 1))
            judged.append(Surface(structure, points, faces))
    far = [quality.from_mask_mm[1] for quality in check_surfaces(judged, label_map).values()]
    return {
        "triangles": triangles,
        "drift_median": float(np.median(drifts)),
        "drift_worst": float(max(drifts)),
        "p95_voxels": float(max(far) / label_map.spacing_ijk.max()),
        "not_solid": open_ + missing,
        **boundaries(meshes, label_map),
    }


def boundaries(meshes, label_map):
    """Of the pairs of structures that touch broadly, those whose two surfaces differ there: a gap or an overlap.

    Points of one surface that lie nearest to voxel faces between the two must lie on the other surface; a median
    distance of more than a hundredth of a voxel counts.
    """
    from scipy.spatial import cKDTree

    from DeepSegLogic.data.affine import ijk_to_ras_points
    from DeepSegLogic.surfaces.mesh_quality import distances_to_mesh
    from DeepSegLogic.surfaces.surface_net import build_net

    net = build_net(label_map.array)
    centres = ijk_to_ras_points(net.vertices[net.quads].mean(1), label_map.ijk_to_ras)
    names = {s.value: s.name for s in label_map.structures}
    low, high = net.low.astype(int), net.high.astype(int)
    pairs, sizes = np.unique(np.sort(np.stack([low, high], 1), 1), axis=0, return_counts=True)
    touching = [tuple(p) for p, n in zip(pairs, sizes, strict=True) if p[0] and n >= 20]
    trees = {}
    differ = 0
    for a, b in touching:
        if names[a] not in meshes or names[b] not in meshes:
            differ += 1
            continue
        own = np.flatnonzero((low == a) | (high == a))
        if a not in trees:
            trees[a] = cKDTree(centres[own]).query(meshes[names[a]][0])[1]
        nearest = own[trees[a]]
        between = (low[nearest] == b) | (high[nearest] == b)
        points = meshes[names[a]][0][between][:2000]
        gap = np.median(distances_to_mesh(points, *meshes[names[b]])) if len(points) else np.inf
        differ += gap > 0.01 * label_map.spacing_ijk.max()
    return {"pairs": len(touching), "pairs_apart": int(differ)}


def child(method, case, data, judge):
    label_map = label_map_of(case, data)
    small = label_map.array[:4].copy()
    make(method, type(label_map)(small, label_map.ijk_to_ras, label_map.structures))  # imports are not the matter
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    meshes, seconds = make(method, label_map)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps({"seconds": list(seconds), "peak_mb": peak, **(faults(meshes, label_map) if judge else {})}))


def run(method, case, data, judge):
    command = [sys.executable, __file__, "--data", data, "--child", method, "--case", case]
    done = subprocess.run(command + ["--judge"] * judge, stdout=subprocess.PIPE, check=True, encoding="utf-8")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--case", choices=CASES, help="only this one")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--judge", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.case, options.data, options.judge)
        return
    columns = "case", "method", "time", "processor time", "peak memory, MB", "triangles", "drift median, worst %"
    columns += "farthest p95, voxels", "not solid", "touching pairs apart"
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for case in [options.case] if options.case else CASES:
        rounds = [{m: run(m, case, options.data, judge=n == 0) for m in METHODS} for n in range(ROUNDS)]
        for method in METHODS:
            ratios = [np.divide(r[method]["seconds"], r["Slicer default"]["seconds"]) for r in rounds]
            clock, processor = (
                f"{median:.3f} ({least:.3f}–{most:.3f})"
                for least, median, most in np.percentile(ratios, (0, 50, 100), axis=0).T
            )
            f = rounds[0][method]
            print(
                f"| {case} | {method} | {clock} | {processor} | {f['peak_mb']:.0f} | {f['triangles']} "
                f"| {f['drift_median']:.2f}, {f['drift_worst']:.1f} "
                f"| {f['p95_voxels']:.2f} | {f['not_solid']} | {f['pairs_apart']} of {f['pairs']} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
