"""The subjects that the bundled model is trained on. Licences: ``DATA.md`` beside the data, and the model's card."""

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicerio
import torch
from demo_structures import LEFT_OUT, NAMES, ours
from lung_rules import AIR, LEFT, RIGHT, UNSURE, lungs_and_air, outside_body

from DeepSegLogic.training.cases import BACKGROUND, Case
from DeepSegLogic.training.teacher import Teacher

CLASSES = (BACKGROUND, *NAMES)
FAT, SOFT, BONE = -30, 150, 3072  # upper bounds in HU of what has no label


GUESSED = {1: "spleen", 3: "kidney_left", 6: "liver"}  # what looks right in the guess beside the contrast abdomen CT
NOT_TAUGHT = {"stomach", "small_bowel", "colon", "gluteus_maximus_left", "gluteus_maximus_right"}  # looks wrong there
IN_NECK_AND_CHEST = {"vertebrae", "trachea", "esophagus", "heart", "aorta", "autochthon_left", "autochthon_right"}
IN_NECK_AND_CHEST |= {f"{n}_{side}" for n in ("ribs", "scapula", "clavicula") for side in ("left", "right")}
IN_NECK_AND_CHEST |= {"sternum"}


def demo_cases(data: Path, teacher: Teacher | None = None) -> list[Case]:
    """All subjects, with their shares of the samples.

    Args:
        teacher: labels what it is sure of in the contrast abdomen CT; without one only lungs and air are known there.
    """
    names = json.loads((data / "totalsegmentator_total_labels.json").read_text("utf-8"))
    names = {int(value): name for value, name in names.items()}
    maps = data / "label_maps"
    return [
        _abdomen(data / "abdomen_ct", names),
        _label_map(maps / "s0327.nii.gz", names, share=0.36),
        _label_map(maps / "s0328.nii.gz", names, share=0.18),
        _atlas(maps / "spl_abdominal.nrrd", maps / "spl_abdominal_names.ctbl"),
        _chest(),
        _by_rules(data / "ct_unlabelled" / "neck_chest.nii.gz", 2, elsewhere=IN_NECK_AND_CHEST if teacher else None),
        _by_rules(data / "ct_unlabelled" / "abdomen_contrast.nii.gz", 2, teacher=teacher),
        _by_rules(data / "ct_unlabelled" / "head.nii.gz", 4, elsewhere={"vertebrae", "trachea", "esophagus"}),
    ]


def _read(path: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    """Array (K, J, I) on a RAS grid and its spacing in mm; a turn by a few degrees stays."""
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")
    return sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]


def _case(name, array, names: dict[int, str], spacing, searched=None, **more) -> Case:
    """A case whose labels mean ``names``; several of them joined by ``|`` are alternatives.

    Args:
        searched: classes that were looked for; None for all.
    """
    unknown = frozenset() if searched is None else frozenset(NAMES) - frozenset(searched)
    values = [value for value in np.unique(array) if value in names]
    lookup = np.zeros(int(array.max()) + 1, np.uint8)
    lookup[values] = np.arange(1, len(values) + 1)
    classes = [frozenset({BACKGROUND}) | unknown]
    for value in values:
        meant = frozenset(ours(n) or n if n in NAMES else ours(n) or BACKGROUND for n in names[value].split("|"))
        classes.append(meant)
    labels = torch.from_numpy(lookup[array])
    return Case(name, labels, ["nothing", *(names[v] for v in values)], classes, spacing, **more)


def _label_map(path: Path, names, share: float) -> Case:
    array, spacing = _read(path)
    return _case(path.name.split(".")[0], array, names, spacing, body=False, share=share)


def _abdomen(folder: Path, names: dict[int, str]) -> Case:
    ct, spacing = _read(folder / "ct.nii.gz")
    labels, _ = _read(folder / "labels.nii.gz")
    tissue = np.digitize(ct, (-300, FAT, SOFT))
    labels = np.where(labels == 0, 200 + tissue, labels)
    names = names | {200: "air", 201: "fat", 202: "muscle_other", 203: "bone_other"}
    image = torch.from_numpy(ct.astype(np.float32))
    return _case("abdomen_ct", labels, names, spacing, image=image, share=0.32, painted=0.4)


def _atlas(path: Path, table: Path) -> Case:
    """The SPL abdominal atlas, in which some organs are one and some have no side."""
    array, spacing = _read(path)
    names = {}
    for line in table.read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            value, name = line.split()[:2]
            names[int(value)] = _atlas_name(name)
    searched = set(NAMES) - {"lung_left", "lung_right", "heart", "urinary_bladder", "femur_left", "femur_right"}
    searched -= {"esophagus", "small_bowel", "colon", "duodenum", "portal_vein_and_splenic_vein", "trachea"}
    return _case("spl_abdominal", array, names, spacing, searched=searched, body=False, share=0.06)


def _atlas_name(name: str) -> str:
    """TotalSegmentator's name of one of the atlas's structures."""
    whole = {
        "colon_and_ileum": "colon|small_bowel",
        "stomach_and_duodenum": "stomach|duodenum",
        "portal_vein_and_superior_mesenteric_vein": "portal_vein_and_splenic_vein",
        "splenic_vein": "portal_vein_and_splenic_vein",
        "Pelvis": "hip_left|hip_right",
        "Sacrum": "sacrum",
        "Coccyx": "sacrum",
    }
    if name in whole:
        return whole[name]
    if "Disc" in name:
        return "vertebrae_L|nothing"
    for begin, ours_ in (("Cervical", "vertebrae_C"), ("Thoracic", "vertebrae_T"), ("Lumbar", "vertebrae_L")):
        if name.startswith(begin):
            return ours_ + name[len(begin) :]
    if name.startswith("Rib"):
        return "rib_left_|rib_right_"
    side, _, rest = name.partition("_")
    muscles = {
        "kidney": "kidney",
        "erector_spinae_muscle": "autochthon",
        "psoas_muscle": "iliopsoas",
        "iliacus_muscle": "iliopsoas",
        "gluteus_medius_muscle": "gluteus_medius",
        "gluteus_maximus_muscle": "gluteus_maximus",
    }
    if rest in muscles:
        return f"{muscles[rest]}_{side}"
    return name if "muscle" not in name else f"muscle_{name}"


def _chest() -> Case:
    """Slicer's sample chest CT: lungs, ribs and spine are labelled, all else is unknown."""
    package = Path(slicerio.__file__).parent / "data"
    ct, spacing = _read(package / "CTChest4.nrrd")
    segmentation = slicerio.read_segmentation(str(package / "Segmentation.seg.nrrd"))
    theirs = segmentation["voxels"].transpose(2, 1, 0)
    value = {s["name"]: s["labelValue"] for s in segmentation["segments"]}
    labels = np.zeros(ct.shape, np.uint8)
    labels[outside_body(ct)] = 1
    spine = np.isin(theirs, [v for n, v in value.items() if "vertebral" in n])
    labels[spine] = 2
    labels[theirs == value["left lung"]], labels[theirs == value["right lung"]] = 3, 4
    middle = np.mean(np.nonzero(spine)[2])
    columns = np.broadcast_to(np.arange(ct.shape[2]), ct.shape)
    ribs = theirs == value["ribs"]
    labels[ribs & (columns < middle)], labels[ribs & (columns >= middle)] = 5, 6  # I runs to the right
    labels[ribs & (np.abs(columns - middle) < 8)] = 7
    names = {1: "air", 2: "vertebrae_T", 3: "lung_upper_lobe_left", 4: "lung_upper_lobe_right"}
    names |= {5: "rib_left", 6: "rib_right", 7: "rib_left|rib_right|sternum|vertebrae_T"}
    searched = {"lung_left", "lung_right", "vertebrae", "ribs_left", "ribs_right"}
    image = torch.from_numpy(ct.astype(np.float32))
    return _case("CTChest4", labels, names, spacing, searched=searched, image=image, share=0.08, painted=0.0)


def _by_rules(path: Path, step: int, elsewhere: set[str] | None = None, teacher: Teacher | None = None) -> Case:
    """A real CT without labels, in which lungs and the air around the body follow from their density.

    Args:
        step: every so many-th voxel in the plane is taken.
        elsewhere: all that the rest may be; None for anything but lungs.
        teacher: labels what it is sure of, beside the guess of some organs.
    """
    ct, spacing = _read(path)
    ct = ct[:, ::step, ::step]
    spacing = (spacing[0], spacing[1] * step, spacing[2] * step)
    lung = ("lung_upper_lobe_left", "lung_upper_lobe_right")
    names = {AIR: "air", LEFT: lung[0], RIGHT: lung[1], UNSURE: "|".join((*lung, "trachea", "nothing"))}
    searched = {"lung_left", "lung_right"} if elsewhere is None else set(NAMES) - elsewhere
    image = torch.from_numpy(ct.astype(np.float32))
    options = {"searched": searched, "image": image, "share": 0.04, "painted": 0.0}
    labels = lungs_and_air(ct, spacing)
    if teacher is not None:
        guess, _ = _read(path.with_name(path.name.replace(".nii", "_guess.nii")))
        names |= _taught(labels, teacher.sure(ct, spacing), guess[:, ::step, ::step])
        options |= {"share": 0.12, "recoloured": False}
    return _case(path.name.split(".")[0], labels, names, spacing, **options)


def _taught(labels: np.ndarray, sure: np.ndarray, guess: np.ndarray) -> dict[int, str]:
    """Fill in ``labels`` where no rule did, and name what was filled in."""
    free, first = labels == 0, UNSURE + 1
    names = {first: "|".join(("nothing", *LEFT_OUT))}  # the teacher does not know these well enough to exclude them
    labels[free & (sure == 0)] = first
    for number, name in enumerate(CLASSES[1:], 1):
        if name not in (*NOT_TAUGHT, *LEFT_OUT, *GUESSED.values(), "lung_left", "lung_right"):
            labels[free & (sure == number) & (guess == 0)] = first + number
            names[first + number] = name
    for value, name in GUESSED.items():
        names[first + CLASSES.index(name)] = name
        labels[free & (guess == value)] = first + CLASSES.index(name)
    return names
