"""The case of docs/plan-tutorial.md: the abdomen CT's labels with two artificial lesions, and its plans and pictures.

python Testing/tools/plan_tutorial.py --data ../shared/data -o docs
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt

from DeepSegLogic import Plan, read_label_map
from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.data.label_map import Structure
from DeepSegLogic.planning import evaluate_plan
from DeepSegLogic.planning.looks import VIEWS
from DeepSegLogic.results.plan_pictures import picture, plan_scene

PLANE = {"type": "plane", "origin": [39, 192, 380], "normal": [0.62, -0.78, 0]}  # gallbladder to vena cava
MARKS = {
    "Right branch": [[56, 196, 382], [92, 186, 388]],
    "Left branch": [[26, 214, 382], [2, 236, 388]],
}
VESSELS = ("portal_vein_and_splenic_vein", "inferior_vena_cava", "aorta")
SHOWN = ("liver", "gallbladder", "kidney_right", *VESSELS)
SIZE = 960, 640


def with_lesion(labels, organ, near, mm, radius):
    """Labels with a ball in an organ, whose middle is as far from another structure as given; and its middle, RAS."""
    away = distance_transform_edt(~labels.mask(near), sampling=labels.spacing_kji)
    deep = distance_transform_edt(labels.mask(organ), sampling=labels.spacing_kji)
    places = np.argwhere((np.abs(away - mm) < labels.spacing_ijk.max()) & (deep > radius))
    place = places[ijk_to_ras_points(places[:, ::-1], labels.ijk_to_ras)[:, 0].argmax()]  # the most right one
    far = np.linalg.norm((np.indices(labels.array.shape).transpose(1, 2, 3, 0) - place) * labels.spacing_kji, axis=-1)
    value = 1 + max(s.value for s in labels.structures)
    array = labels.array.copy()
    array[far <= radius] = value
    name = f"{organ}_tumor"
    found = replace(
        labels,
        array=array,
        structures=[*labels.structures, Structure(value, name, name.replace("_", " ").capitalize())],
    )
    return found, ijk_to_ras_points(place[None, ::-1], labels.ijk_to_ras)[0]


def case(data):
    """The labels, and the plans by name."""
    labels = read_label_map(data / "abdomen_ct" / "labels.nii.gz")
    structures = [s for s in labels.structures if s.name in SHOWN]
    array = np.where(np.isin(labels.array, [s.value for s in structures]), labels.array, 0).astype(labels.array.dtype)
    labels = replace(labels, array=array, structures=structures)
    labels, tumor = with_lesion(labels, "liver", VESSELS[0], 20, 11)
    labels, renal = with_lesion(labels, "kidney_right", "liver", 34, 9)
    tumor, renal = tumor.round(1), renal.round(1)
    ball = {"type": "ellipsoid", "center": renal.tolist(), "radii": [15, 15, 15]}
    return labels, {
        "plane": {"resections": [{"organ": "liver", "cuts": [PLANE], "removed": [1]}]},
        "territories": {
            "resections": [{"organ": "liver", "cuts": [{"type": "territories", "marks": MARKS}], "removed": [1]}]
        },
        "margin": {
            "distances": [{"one": "liver_tumor", "other": VESSELS[0]}],
            "margins": [{"structure": "liver_tumor", "mm": 10}],
            "distance_maps": [{"one": VESSELS[0], "other": "liver_tumor"}],
            "vessels": [{"structure": VESSELS[0]}],
        },
        "enucleation": {"resections": [{"organ": "kidney_right", "cuts": [ball], "removed": [1]}]},
        "needle": {
            "approaches": [
                {
                    "entry": np.add(tumor, (95, 0, -15)).round(1).tolist(),
                    "target": tumor.tolist(),
                    "spare": [*VESSELS, "gallbladder"],
                }
            ]
        },
    }


VIEW_OF = {"plane": "front", "territories": "below", "margin": "front", "enucleation": "right", "needle": "front"}


def main():
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    options = parser.parse_args()
    labels, plans = case(options.data)
    found = {}
    for name, entries in plans.items():
        done = evaluate_plan(Plan(entries), labels)
        print(name, {k: v for k, v in done.plan.numbers.items() if k not in ("digest", "stale")}, done.notes)
        found[name] = picture(plan_scene(done), VIEWS[VIEW_OF[name]], SIZE)
    for name, parts in {
        "resections": ("plane", "territories"),
        "lesions": ("margin", "enucleation"),
        "needle": ("needle",),
    }.items():
        sheet = Image.new("RGB", (SIZE[0] * len(parts), SIZE[1]))
        for number, part in enumerate(parts):
            sheet.paste(found[part], (SIZE[0] * number, 0))
        sheet.save(options.output / f"plan-tutorial-{name}.png", optimize=True)


if __name__ == "__main__":
    main()
