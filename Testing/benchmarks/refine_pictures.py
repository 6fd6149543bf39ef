"""Pictures of corrections of the liver on the abdomen CT: before, after, and what the wheel widens.

python Testing/benchmarks/refine_pictures.py --data ../shared/data -o docs/refine.png
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from refine import load
from scipy import ndimage

from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.refinement import Point, Scribble, propose
from DeepSegLogic.session.reach import reach_after

BEFORE, AFTER, ADD, REMOVE = "#ffb347", "#4cc9f0", "#57d957", "#ff4d5e"
HALF_MM = 60.0
WHEEL = 0, 4, 7, 10


class Scene:
    """The liver, damaged in some way, and a prompt for it."""

    def __init__(self, ct, reference, wrong, positive, at, length_mm=0.0):
        """
        Args:
            wrong: (K, J, I) bool, voxels that the prompt is to change; None if nothing is wrong.
            at: (K, J, I) voxel of the prompt's middle.
            length_mm: of a stroke along I; 0: a click.
        """
        self.ct, self.at, self.positive = ct, at, positive
        array, liver = reference.array.copy(), reference.structure("liver").value
        if wrong is not None:
            array[wrong] = 0 if positive else liver
        self.before, self.truth = array == liver, reference.array == liver
        self.labels = LabelMap(array, reference.ijk_to_ras, reference.structures)
        place = ijk_to_ras_points(np.array(at)[None, ::-1].astype(float), ct.ijk_to_ras)[0]
        step = np.array([length_mm / 2, 0, 0])
        ends = tuple(place - step), tuple(place + step)
        prompt = Scribble("liver", positive, ends, 2.0) if length_mm else Point("liver", positive, tuple(place))
        self.proposal = propose(self.labels, prompt, volume=ct)

    def draw(self, axis, text, reach=1.0):
        k, spacing = self.at[0], self.ct.spacing_kji
        half = np.rint(HALF_MM / spacing[1:]).astype(int)
        size = 2 * half + 1
        low = np.clip(np.array(self.at[1:]) - half, 0, self.ct.array.shape[1:] - size)
        window = tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))
        after = self.proposal.applied(self.labels, reach).array == self.proposal.target
        marked = np.zeros_like(after)
        marked[self.proposal.region] = self.proposal.marked
        grey = ndimage.zoom(self.ct.array[k][window].astype(float), 4, order=1)
        axis.imshow(grey, cmap="gray", vmin=-140, vmax=220, interpolation="bilinear")
        for mask, color, style in ((self.truth, "white", ":"), (self.before, BEFORE, "-"), (after, AFTER, "--")):
            fine = ndimage.gaussian_filter(ndimage.zoom(mask[k][window].astype(float), 4, order=0), 1.5)
            axis.contour(fine, [0.5], colors=color, linestyles=style, linewidths=1.6)
        fine = ndimage.zoom(marked[k][window].astype(float), 4, order=0)
        axis.contourf(fine, [0.5, 1.5], colors=ADD if self.positive else REMOVE)
        moved, drawn = self.proposal.ml(reach), self.proposal.ml(0)
        axis.set_title(f"{text}\nmarks {drawn:.2g} ml, changes {moved:.3g} ml", fontsize=10)
        axis.invert_yaxis()  # J grows to the front, which is up
        axis.invert_xaxis()  # I grows to the patient's right, which is on the left
        axis.set_axis_off()


def ball(shape, middle, radius):
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum((g - m) ** 2 for g, m in zip(grid, middle, strict=True)) <= radius**2


def deepest(mask):
    """The voxel that is farthest from the mask's border."""
    return np.unravel_index(ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1, 1:-1].argmax(), mask.shape)


def scenes(ct, reference):
    """Name → scene."""
    liver = reference.mask("liver")
    deep = deepest(liver)
    hole = ball(liver.shape, deep, 8) & liver
    border = np.argwhere(liver & ~ndimage.binary_erosion(liver))
    tip = border[border[:, 2].argmin()]
    bite = ball(liver.shape, tip, 10) & liver
    front = border[border[:, 1].argmax()]
    fat = ball(liver.shape, front, 7) & (reference.array == 0) & (ct.array < -30)
    alike = (np.abs(ct.array - np.median(ct.array[liver])) < 40) & ~liver
    beside = border[ndimage.gaussian_filter(alike.astype(np.float32), 3)[tuple(border.T)].argmax()]
    leak = ball(liver.shape, beside, 8) & ~liver & (ct.array > -30)
    return {
        "Remove, 15 mm in what is right": Scene(ct, reference, None, False, deep, 15),
        "Add, click into a hole": Scene(ct, reference, hole, True, deep),
        "Add, stroke into a missing part": Scene(ct, reference, bite, True, deepest(bite), 10),
        "Remove, click into a leak to fat": Scene(ct, reference, fat, False, deepest(fat)),
        "Remove, stroke into what looks alike": Scene(ct, reference, leak, False, deepest(leak), 12),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    found = scenes(*load("abdomen", options.data))
    *plain, (text, last) = found.items()
    figure, axes = plt.subplots(2, 4, figsize=(13, 7.6), facecolor="white")
    for axis, (name, scene) in zip(axes[0], plain, strict=True):
        scene.draw(axis, name)
    for axis, notches in zip(axes[1], WHEEL, strict=True):
        scene_text = text if not notches else f"the wheel, {notches} notches"
        last.draw(axis, scene_text, reach_after(notches))
    lines = [
        Line2D([], [], color=color, linestyle=style, label=label)
        for color, style, label in (("grey", ":", "reference"), (BEFORE, "-", "before"), (AFTER, "--", "after"))
    ]
    marks = [Line2D([], [], color=c, linewidth=5, label=t) for c, t in ((ADD, "add"), (REMOVE, "remove"))]
    figure.legend(handles=[*lines, *marks], loc="lower center", ncol=5, frameon=False)
    figure.tight_layout(rect=(0, 0.05, 1, 1), h_pad=2)
    figure.savefig(options.output, dpi=85)


if __name__ == "__main__":
    main()
