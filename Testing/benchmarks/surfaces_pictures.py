"""Pictures of surfaces, side by side: Slicer's default and ours, of slices of 4.5 mm (all structures are made, some are
shown) and of an enlarged label map; and what each smoothing does.

    python Testing/benchmarks/surfaces_pictures.py --data ../shared/data -o Resources/Screenshots

Faces are shaded flat, so that nothing is smoothed by the shading.
"""

import argparse
from pathlib import Path

import numpy as np
import vtk
from surfaces import make
from surfaces_truth import thinned

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.io import read_label_map
from DeepSegLogic.surfaces import SMOOTHING, make_surfaces
from DeepSegLogic.surfaces.surface import polydata

LIVER = "liver", "gallbladder"
ORGANS = *LIVER, "spleen", "kidney_left", "kidney_right", "pancreas", "stomach"


def picture(path, columns, structures, towards, zoom, height):
    """Write a picture with one view for each caption and its meshes, by structure name.

    Args:
        towards: from the middle to the camera, in RAS.
        height: in pixels; the width is 1100.
    """
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(1100, height)
    window.SetMultiSamples(8)
    for at, (text, meshes) in enumerate(columns):
        renderer = vtk.vtkRenderer()
        renderer.SetViewport(at / len(columns), 0, (at + 1) / len(columns), 1)
        renderer.SetBackground(0.09, 0.1, 0.12)
        for structure in structures:
            if structure.name not in meshes:
                continue
            mapper = vtk.vtkPolyDataMapper()
            mapper.SetInputData(polydata(*meshes[structure.name]))
            actor = vtk.vtkActor()
            actor.SetMapper(mapper)
            actor.GetProperty().SetColor([c / 255 for c in structure.color])
            actor.GetProperty().SetInterpolationToFlat()
            renderer.AddActor(actor)
        caption = vtk.vtkTextActor()
        caption.SetInput(text)
        caption.GetTextProperty().SetFontSize(18)
        caption.SetPosition(16, 14)
        renderer.AddViewProp(caption)
        camera = renderer.GetActiveCamera()
        camera.SetPosition(*towards)
        camera.SetFocalPoint(0, 0, 0)
        camera.SetViewUp(0, 0, 1)
        renderer.ResetCamera()
        camera.Zoom(zoom)
        window.AddRenderer(renderer)
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputConnection(grab.GetOutputPort())
    writer.Write()


def chosen(label_map, names):
    """A label map of some structures only."""
    structures = [label_map.structure(name) for name in names]
    keep = np.isin(label_map.array, [s.value for s in structures])
    return LabelMap(np.where(keep, label_map.array, 0).astype(label_map.array.dtype), label_map.ijk_to_ras, structures)


def both(label_map):
    return [(method, make(method, label_map)[0]) for method in ("Slicer default", "DeepSeg")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("-o", "--output", type=Path, default=Path("Resources/Screenshots"))
    options = parser.parse_args()
    fine = read_label_map(Path(options.data) / "label_maps" / "s0327.nii.gz")
    thick = thinned(fine, 3)
    organs = [thick.structure(name) for name in ORGANS]
    picture(options.output / "surfaces.png", both(thick), organs, (0.3, 1, 0.7), 1.5, 460)
    enlarged = read_label_map(Path(options.data) / "abdomen_ct_dicom" / "labels.nii.gz")
    organs = [s for s in enlarged.structures if s.name in (*ORGANS, "aorta")]
    picture(options.output / "enlarged.png", both(enlarged), organs, (0.2, 1, 0.45), 1.5, 300)
    liver = chosen(thick, LIVER)
    columns = []
    for smoothing in SMOOTHING:
        surfaces = make_surfaces(liver, smoothing=smoothing)
        columns.append((smoothing, {s.structure.name: (s.points, s.triangles) for s in surfaces}))
    picture(options.output / "smoothing.png", columns, liver.structures, (1, 1, 0.3), 0.95, 320)


if __name__ == "__main__":
    main()
