"""Make ``Testing/data/totalsegmentator_postprocess.npz``: label maps, and what TotalSegmentator's own functions do.

Runs in an environment of its own, with TotalSegmentator (see README.md beside this file):

    python postprocess_reference.py --out Testing/data/totalsegmentator_postprocess.npz

Each case has ``NAME/before`` and ``NAME/after``, and ``NAME/other`` where the step needs it. Axes are (I, J, K), as
RAS, voxels 1 mm, for the body 6 mm.
"""

import argparse
from pathlib import Path

import nibabel
import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter
from totalsegmentator.map_to_binary import class_map
from totalsegmentator.postprocessing import (
    extract_skin,
    keep_largest_blob_multilabel,
    postprocess_vertebrae_pp,
    refine_vertebrae_pp_with_body_mask,
    remove_small_blobs_multilabel,
)

SPINE = class_map["vertebrae_pp"]
VALUE = {name.removeprefix("vertebrae_"): value for value, name in SPINE.items()}


def blobs(seed: int, shape: tuple[int, int, int], coarseness: float, labels: int) -> np.ndarray:
    """Connected pieces of many sizes and several labels."""
    random = np.random.default_rng(seed)
    smooth = np.stack([gaussian_filter(random.standard_normal(shape), coarseness) for _ in range(labels)])
    found = smooth.argmax(0) + 1
    found[smooth.max(0) < 1.1 * smooth.std()] = 0
    return found.astype(np.uint8)


def column(names: str, leaks: bool, seed: int = 0) -> np.ndarray:
    """A spine of bodies, the first name at the top; with leaks, a part of each second one has the label of the one
    below."""
    random = np.random.default_rng(seed)
    found = np.zeros((26, 26, 12 + 11 * len(names.split())), np.uint8)
    i, j, _ = np.indices(found.shape)
    below = 0
    for number, name in enumerate(reversed(names.split())):
        bottom = 6 + 11 * number
        inside = (i - 13) ** 2 + (j - 12 - random.integers(0, 3)) ** 2 < 36
        inside[..., :bottom] = inside[..., bottom + 6 :] = False
        found[inside] = VALUE[name]
        if leaks and below and number % 2:
            found[inside & (i < 12)] = below
        below = VALUE[name]
    found[:2, :2, -9:-5] = VALUE[name]  # a small piece apart
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    made = {}
    body = blobs(1, (40, 36, 44), 2.0, 2)
    after = keep_largest_blob_multilabel(body.copy(), class_map["body"], ["body_trunc"], quiet=True)
    limits = [50000 / 216, 1e10]
    after = remove_small_blobs_multilabel(after, class_map["body"], ["body_extremities"], interval=limits, quiet=True)
    made |= {"body/before": body, "body/after": after}
    image = np.rint(300 * gaussian_filter(np.random.default_rng(4).standard_normal(body.shape), 1.0) * 6).astype(
        np.int16
    )
    skin = extract_skin(
        nibabel.Nifti1Image(image, np.eye(4)), nibabel.Nifti1Image((after > 0).astype(np.uint8), np.eye(4))
    )
    made |= {"body/image": image, "body/skin": np.asanyarray(skin.dataobj) > 0}
    small = blobs(2, (40, 36, 44), 1.2, 3)
    names = {1: "one", 2: "two", 3: "three"}
    after = remove_small_blobs_multilabel(small.copy(), names, list(names.values()), interval=[200, 1e10], quiet=True)
    made |= {"small/before": small, "small/after": after}
    spines = {
        "from_below": column("T11 T12 L1 L2 L3 L4 L5", True),
        "from_above": column("C1 C2 C3 C4 C5 C6", True),
        "in_between": column("T3 T4 T5 T6", True),
        "repeated": column("C1 C2 C1 C2 C3", True),
        "as_they_are": column("T12 L1 L2 L3", False),
    }
    for name, before in spines.items():
        after = postprocess_vertebrae_pp(before.copy(), SPINE)
        other = binary_dilation(before > 0, iterations=4)
        other[13:] &= binary_dilation(before > 0, iterations=2)[13:]
        refined = refine_vertebrae_pp_with_body_mask(after.copy(), other.astype(np.uint8), SPINE)
        made |= {f"vertebrae_{name}/before": before, f"vertebrae_{name}/after": after}
        made |= {f"refined_{name}/before": before, f"refined_{name}/after": refined, f"refined_{name}/other": other}
    np.savez_compressed(out, **made)
    for name in (key.removesuffix("/before") for key in made if key.endswith("/before")):
        print(
            name, *(np.bincount(made[f"{name}/{when}"].ravel()).nonzero()[0].tolist() for when in ("before", "after"))
        )


if __name__ == "__main__":
    main()
