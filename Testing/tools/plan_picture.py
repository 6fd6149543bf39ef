"""The picture of docs/plan.md: a right hemihepatectomy by a plane, on the abdomen CT's labels.

python Testing/tools/plan_picture.py --data ../shared/data -o docs/plan.png
"""

import argparse
from pathlib import Path

import numpy as np
import vtk

from DeepSegLogic import make_surfaces, read_label_map
from DeepSegLogic.planning import Plan, evaluate_plan
from DeepSegLogic.surfaces.surface import polydata

PLANE = {"type": "plane", "origin": [39, 192, 380], "normal": [0.62, -0.78, 0]}  # gallbladder to vena cava
PLAN = Plan({"resections": [{"organ": "liver", "cuts": [PLANE], "removed": [1]}]}, "Right hemihepatectomy")
LOOKS = {  # name → color, opacity
    "liver_part_1": ((0.85, 0.35, 0.3), 0.4),
    "liver_part_2": ((0.86, 0.55, 0.42), 1.0),
    "gallbladder": ((0.45, 0.75, 0.35), 1.0),
    "inferior_vena_cava": ((0.3, 0.5, 0.85), 1.0),
    "portal_vein_and_splenic_vein": ((0.35, 0.75, 0.85), 1.0),
    "aorta": ((0.9, 0.25, 0.2), 1.0),
}
VIEWS = (0, 1, 0.15), (0.75, 0.25, -0.6)  # from the middle to the camera, in RAS: from the front, and from below
SIZE = 1200, 560


def actor(surface):
    color, opacity = LOOKS[surface.structure.name]
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(polydata(surface.points, surface.triangles))
    normals.SetFeatureAngle(60)
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputConnection(normals.GetOutputPort())
    shown = vtk.vtkActor()
    shown.SetMapper(mapper)
    shown.GetProperty().SetColor(color)
    shown.GetProperty().SetOpacity(opacity)
    return shown


def caption(text, row, color=(1, 1, 1)):
    shown = vtk.vtkTextActor()
    shown.SetInput(text)
    shown.GetTextProperty().SetFontSize(18)
    shown.GetTextProperty().SetColor(color)
    shown.SetPosition(16, 14 + 26 * row)
    return shown


def picture(path, surfaces, captions):
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(*SIZE)
    window.SetMultiSamples(0)  # depth peeling, which sorts what is translucent, needs this
    window.SetAlphaBitPlanes(1)
    liver = np.concatenate([s.points for s in surfaces if s.structure.name.startswith("liver")])
    bounds = np.stack([liver.min(0), liver.max(0)], 1).ravel()
    for at, towards in enumerate(VIEWS):
        renderer = vtk.vtkRenderer()
        renderer.SetViewport(at / len(VIEWS), 0, (at + 1) / len(VIEWS), 1)
        renderer.SetBackground(0.09, 0.1, 0.12)
        renderer.SetUseDepthPeeling(1)
        renderer.SetUseFXAA(1)
        for surface in surfaces:
            renderer.AddActor(actor(surface))
        for row, (text, color) in enumerate(captions if at == 0 else []):
            renderer.AddViewProp(caption(text, row, color))
        camera = renderer.GetActiveCamera()
        camera.SetPosition(*towards)
        camera.SetFocalPoint(0, 0, 0)
        camera.SetViewUp(0, 0, 1)
        renderer.ResetCamera(*bounds)
        camera.Zoom(1.3)
        window.AddRenderer(renderer)
    window.Render()
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputConnection(grab.GetOutputPort())
    writer.Write()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/plan.png"))
    options = parser.parse_args()
    done = evaluate_plan(PLAN, read_label_map(Path(options.data) / "abdomen_ct" / "labels.nii.gz"))
    resection = done.plan.numbers["resections"][0]
    right, left = resection["parts"]
    captions = [
        (f"Removed: {right['ml']:.0f} ml ({right['percent']:.1f} %)", LOOKS["liver_part_1"][0]),
        (f"Remnant: {left['ml']:.0f} ml ({left['percent']:.1f} %)", LOOKS["liver_part_2"][0]),
    ]
    print(*(text for text, _ in captions), *done.notes, sep="\n")
    picture(options.output, make_surfaces(done.label_map, list(LOOKS)), captions)


if __name__ == "__main__":
    main()
