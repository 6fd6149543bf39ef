"""Draw the pictures of ``docs/confidence.md``.

    python Testing/tools/confidence_pictures.py explain --out docs/explain.png [--data ../shared/data]
    python Testing/tools/confidence_pictures.py doubt --work WORK --out docs/confidence.png

The second needs what ``Testing/benchmarks/confidence.py`` left in WORK.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from DeepSegLogic.data.affine import ras_to_ijk
from DeepSegLogic.io import read_volume
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.review.attribution import METHODS, explain, place_in
from DeepSegLogic.segmentation import segment

STRUCTURE = "liver"
SIZE = 420


def grey(hu: np.ndarray) -> np.ndarray:
    """A slice (J, I) in a soft-tissue window, as RGB."""
    return np.repeat((np.clip((hu + 160) / 400, 0, 1) * 255)[..., None], 3, -1)


def heat(share: np.ndarray) -> np.ndarray:
    """Black, red, yellow, white for 0 to 1."""
    return np.clip(np.stack([3 * share, 3 * share - 1, 3 * share - 2], -1), 0, 1) * 255


def tile(picture: np.ndarray) -> Image.Image:
    """A slice on a RAS grid as radiologists look at it, of one height."""
    image = Image.fromarray(np.clip(picture[::-1, ::-1], 0, 255).astype(np.uint8))
    return image.resize((round(SIZE * image.width / image.height), SIZE), Image.Resampling.BICUBIC)


def save(tiles: list[Image.Image], out: Path) -> None:
    """Write pictures side by side."""
    whole = Image.new("RGB", (sum(t.width for t in tiles) + 6 * (len(tiles) - 1), SIZE), "white")
    left = 0
    for one in tiles:
        whole.paste(one, (left, 0))
        left += one.width + 6
    whole.save(out, optimize=True)


def draw_explanations(data: Path, out: Path) -> None:
    """A CT, Grad-CAM and occlusion of one structure."""
    volume = read_volume(data / "abdomen_ct" / "ct.nii.gz")
    result = segment(volume, "ct_demo", structures=[STRUCTURE], device="cpu", quality="fast")
    at = place_in(result.label_map, STRUCTURE)
    _, _, k = np.rint(ras_to_ijk([at], volume.ijk_to_ras)[0]).astype(int)
    slice_ = grey(volume.array[k].astype(float))
    marked = slice_.copy()
    marked[result.label_map.array[k] > 0] = marked[result.label_map.array[k] > 0] * 0.6 + np.array([40, 100, 20])
    tiles = [tile(marked)]
    for method in METHODS:
        found = explain(volume, load_model(find_model("ct_demo")), STRUCTURE, at, method=method, device="cpu")
        share = found.array[k, ..., None] / 255
        tiles.append(tile(slice_ * (1 - 0.7 * share) + 0.7 * share * heat(share[..., 0])))
        print(method, f"probability {found.probability:.3f}, largest fall {found.largest}", flush=True)
    save(tiles, out)


def draw_doubt(work: Path, out: Path) -> None:
    """A slice of a stranger: where the labels are wrong, the probability, and the spread of augmentation."""
    with np.load(work / "dicom.npz") as facts:
        hu, found, right = facts["slices"].astype(float)
        unsure, spread = facts["middle"]
    base = grey(hu)
    wrong = np.where((found != right)[..., None], base * 0.4 + np.array([150, 30, 30]), base)
    maps = [heat(unsure), heat(np.sqrt(np.maximum(spread, 0) / 0.25))]
    save([tile(base), tile(wrong), *(tile(base * 0.35 + one * 0.65) for one in maps)], out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("explain", "doubt"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.which == "explain":
        draw_explanations(options.data, options.out)
    else:
        draw_doubt(options.work, options.out)


if __name__ == "__main__":
    main()
