"""Makes a small data set of the shared CTs, for few_shot.py and federated.py: four patients on 6 mm.

python Testing/benchmarks/shared_cases.py DATA --shared ../shared/data --results RESULTS

Three CTs have the labels that the bundled model found (RESULTS has a folder of `deepseg segment` for each), so that a
training on them learns what that model knows. The fourth, the last by name, has labels that people checked.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reference"))
from demo_structures import ours

from DeepSegLogic.io.read import read_label_map

STRUCTURES = ("liver", "spleen", "stomach", "aorta", "vertebrae", "heart")
UNLABELLED = ("abdomen_contrast", "chest_contrast", "neck_chest")
SPACING = 6.0  # mm


def on_grid(image, of, interpolator, outside):
    """An image on a coarse grid of the same extent."""
    size = [max(1, round(n * s / SPACING)) for n, s in zip(of.GetSize(), of.GetSpacing(), strict=True)]
    spacing = [n * s / m for n, s, m in zip(of.GetSize(), of.GetSpacing(), size, strict=True)]
    first = [0.5 * m / s - 0.5 for m, s in zip(spacing, of.GetSpacing(), strict=True)]
    corner = of.TransformContinuousIndexToPhysicalPoint(first)
    return sitk.Resample(image, size, sitk.Transform(), interpolator, corner, spacing, of.GetDirection(), outside)


def write(folder, name, image, labels):
    """A pair of files; ``labels`` are values of STRUCTURES from 1."""
    smooth = sitk.SmoothingRecursiveGaussian(sitk.Cast(image, sitk.sitkFloat32), SPACING / 2.355)
    coarse = on_grid(smooth, image, sitk.sitkLinear, -1000)
    sitk.WriteImage(sitk.Cast(coarse, sitk.sitkInt16), str(folder / f"{name}.nii.gz"))
    found = on_grid(labels, image, sitk.sitkNearestNeighbor, 0)
    sitk.WriteImage(found, str(folder / f"{name}_seg.nii.gz"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.data.mkdir(parents=True)
    place = {name: value for value, name in enumerate(STRUCTURES, 1)}
    for number, name in enumerate(UNLABELLED, 1):
        image = sitk.ReadImage(str(arguments.shared / "ct_unlabelled" / f"{name}.nii.gz"))
        path = arguments.results / name / "segmentation.nii.gz"
        known = {one.value: one.name for one in read_label_map(path).structures}
        labels = renamed(sitk.ReadImage(str(path)), {value: place.get(n, 0) for value, n in known.items()})
        write(arguments.data, f"{number}_{name}", image, labels)
    image, labels = (sitk.ReadImage(str(arguments.shared / "abdomen_ct" / f"{n}.nii.gz")) for n in ("ct", "labels"))
    names = json.loads((arguments.shared / "totalsegmentator_total_labels.json").read_text("utf-8"))
    values = {int(value): place.get(ours(name), 0) for value, name in names.items()}
    write(arguments.data, "9_abdomen_ct", image, renamed(labels, values))
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, **place}}
    (arguments.data / "dataset.json").write_text(json.dumps(content), "utf-8")


def renamed(labels, values):
    """A label image with other values; 0 for those without."""
    array = sitk.GetArrayFromImage(labels)
    table = np.zeros(int(array.max()) + 1, np.uint8)
    for value, own in values.items():
        if value < len(table):
            table[value] = own
    image = sitk.GetImageFromArray(table[array])
    image.CopyInformation(labels)
    return image


if __name__ == "__main__":
    main()
