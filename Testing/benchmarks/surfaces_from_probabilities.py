"""Would surfaces from probabilities lie closer to the truth than those from labels?

    python Testing/benchmarks/surfaces_from_probabilities.py --data ../shared/data

The DICOM series' labels (0.98 mm in plane) are taken as the truth. A network's probabilities on voxels three times as
large are imitated by the share of each voxel that a structure fills, and by the same blurred, as less certain networks
give it. Compared with the truth: our surfaces of the most probable labels, and the places where a structure is as
probable as the next best (flying edges), each structure by itself.
"""

import argparse

import numpy as np
import vtk
from scipy.ndimage import gaussian_filter
from surfaces import label_map_of
from vtk.util import numpy_support

from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.surfaces import Surface, make_surfaces
from DeepSegLogic.surfaces.mesh_quality import check_surfaces, mesh_volume_ml

FACTOR = 3


def shares(label_map):
    """The structures over 1 ml, (N, K, J, I) which share of a larger voxel each fills, and the matrix of those."""
    depth, rows, columns = label_map.array.shape
    array = label_map.array[:, : rows // FACTOR * FACTOR, : columns // FACTOR * FACTOR]
    blocks = array.reshape(depth, rows // FACTOR, FACTOR, columns // FACTOR, FACTOR)
    structures = [s for s in label_map.structures if (array == s.value).sum() * label_map.voxel_ml > 1]
    matrix = label_map.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :2].sum(1) * (FACTOR - 1) / 2
    matrix[:3, :2] *= FACTOR
    return structures, np.stack([(blocks == s.value).mean((2, 4), np.float32) for s in structures]), matrix


def level_set(structure, lead, matrix):
    """Where the lead of a structure over the next best is nought."""
    image, lead = vtk.vtkImageData(), np.pad(lead, 1, constant_values=-1).astype(np.float32)
    image.SetDimensions(*lead.shape[::-1])
    image.SetOrigin(-1, -1, -1)
    image.GetPointData().SetScalars(numpy_support.numpy_to_vtk(lead.ravel(), deep=True))
    edges = vtk.vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, 0)
    edges.Update()
    points = numpy_support.vtk_to_numpy(edges.GetOutput().GetPoints().GetData()).astype(float)
    triangles = numpy_support.vtk_to_numpy(edges.GetOutput().GetPolys().GetConnectivityArray()).reshape(-1, 3)
    points = ijk_to_ras_points(points, matrix)
    return Surface(structure, points, triangles if mesh_volume_ml(points, triangles) > 0 else triangles[:, ::-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    truth = label_map_of("DICOM series", parser.parse_args().data)
    structures, filled, matrix = shares(truth)
    print("| probabilities | surfaces from | mean distance, mm | 95 % within, mm | volume off by, % |")
    print("|---|---|---|---|---|")
    for blur in (0, 0.5, 1):
        found = filled if blur == 0 else np.stack([gaussian_filter(f, blur) for f in filled])
        every = np.concatenate([1 - found.sum(0, keepdims=True), found])
        values = np.array([0, *(s.value for s in structures)], np.uint8)
        ours = make_surfaces(LabelMap(values[every.argmax(0)], matrix, structures))
        rivals = [
            level_set(s, every[n] - np.delete(every, n, 0).max(0), matrix) for n, s in enumerate(structures, start=1)
        ]
        for name, surfaces in (("labels", ours), ("probabilities", rivals)):
            reports = check_surfaces(surfaces, truth).values()
            mean, within, _ = np.median([r.from_mask_mm for r in reports], 0)
            drift = np.median([abs(r.drift_percent) for r in reports])
            print(f"| blurred by {blur} voxels | {name} | {mean:.2f} | {within:.2f} | {drift:.1f} |", flush=True)


if __name__ == "__main__":
    main()
