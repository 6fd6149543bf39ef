"""Small cases that look like CT: a body with two balls in it, at a place that the seed chooses."""

import json

import numpy as np

from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.io import write_label_map, write_volume

NAMES = {1: "liver", 2: "spleen"}
HU = {1: 130, 2: 220}


def ball(shape, centre, radius):
    return sum((g - c) ** 2 for g, c in zip(np.indices(shape), centre, strict=True)) < radius**2


def case(seed=0, shape=(24, 28, 32), spacing=(4.0, 4.0, 4.0)):
    """Volume and label array (K, J, I); ``spacing`` along I, J, K."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    middle, aside = np.array(shape) / 2, np.array([0, 0, 7])
    labels[ball(shape, middle - aside + rng.uniform(-1.5, 1.5, 3), 5)] = 1
    labels[ball(shape, middle + aside + rng.uniform(-1.5, 1.5, 3), 4)] = 2
    body = ball(shape, middle, 0.48 * max(shape))
    image = np.where(body, 40, -1000) + sum(hu * (labels == v) for v, hu in HU.items()) + rng.normal(0, 15, shape)
    return Volume(image.astype(np.int16), np.diag([*spacing, 1.0]), f"case_{seed}", "CT"), labels


def label_map(volume, labels, names=NAMES):
    return LabelMap(labels, volume.ijk_to_ras, [Structure(v, n, n) for v, n in names.items()])


def write_raw(folder, count=3, names=NAMES, **options):
    """nnU-Net's raw layout with ``count`` cases."""
    for place in ("imagesTr", "labelsTr"):
        (folder / place).mkdir(parents=True)
    for seed in range(count):
        volume, labels = case(seed, **options)
        write_volume(volume, folder / "imagesTr" / f"c{seed}_0000.nii.gz")
        write_label_map(label_map(volume, labels), folder / "labelsTr" / f"c{seed}.nii.gz")
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, **{n: v for v, n in names.items()}}}
    (folder / "dataset.json").write_text(json.dumps(content), "utf-8")
    return folder


REGIONS = {"background": 0, "organs": [1, 2], "spleen": 2}


def pet_of(volume, labels):
    """A second image on the same grid, in which the spleen is bright."""
    noise = np.random.default_rng(7).normal(0, 0.3, labels.shape)
    return Volume((1 + 4 * (labels == 2) + noise).astype(np.float32), volume.ijk_to_ras, "PET")


def write_two_channels(folder, count=2, **options):
    """nnU-Net's raw layout with CT and PET, and structures that overlap."""
    write_raw(folder, count, **options)
    for seed in range(count):
        write_volume(pet_of(*case(seed, **options)), folder / "imagesTr" / f"c{seed}_0001.nii.gz")
    content = {"channel_names": {"0": "CT", "1": "PET"}, "labels": REGIONS, "regions_class_order": [1, 2]}
    (folder / "dataset.json").write_text(json.dumps(content), "utf-8")
    return folder
