"""Draw what DeepSeg tells of some CTs, for docs/classify.md: each scan from the front, its regions, a body beside it.

.venv/bin/python Testing/tools/classify_picture.py --out docs/classify.png CT [CT ...]
"""

import argparse
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from DeepSegLogic import read_volume, what_is
from DeepSegLogic.classify.coarse import STEP_MM, coarse_copy
from DeepSegLogic.classify.names import REGIONS
from DeepSegLogic.classify.outline import HEIGHT, WIDTH, outline_png

SCALE, TALL = 5, 240
COLORS = ((150, 90, 60), (210, 150, 60), (90, 170, 90), (70, 140, 220), (160, 100, 200), (220, 90, 120))


def panel(path: Path) -> Image.Image:
    """One scan."""
    volume = read_volume(path)
    scan, hu = what_is(volume), coarse_copy(volume).array.clip(-300, 500)
    front = 0.5 * hu.max(1) + 0.5 * hu.mean(1)
    grey = np.uint8(255 * np.clip((front + 300) / 600, 0, 1))[::-1, ::-1]  # the patient's right is on the left
    picture = Image.fromarray(grey).resize((56 * SCALE, len(grey) * SCALE), Image.Resampling.BICUBIC)
    sheet = Image.new("RGB", (56 * SCALE + 110 + WIDTH, TALL), "white")
    top = max(0, (TALL - picture.height) // 2)
    sheet.paste(picture.convert("RGB"), (0, top))
    draw = ImageDraw.Draw(sheet)
    for part in scan.parts:
        above, below = (top + SCALE * (scan.high_mm - s) / STEP_MM for s in (part.high_mm, part.low_mm))
        color = COLORS[REGIONS.index(part.region)]
        draw.rectangle([56 * SCALE + 4, above, 56 * SCALE + 14, below - 1], fill=color)
        draw.text((56 * SCALE + 18, (above + below) / 2 - 6), f"{part.region} {part.probability:.0%}", fill="black")
    body = Image.open(BytesIO(outline_png(scan)))
    sheet.paste(body, (56 * SCALE + 105, (TALL - HEIGHT) // 2), body)
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("scans", type=Path, nargs="+")
    options = parser.parse_args()
    sheets = [panel(path) for path in options.scans]
    whole = Image.new("RGB", (2 * sheets[0].width, (len(sheets) + 1) // 2 * TALL), "white")
    for n, sheet in enumerate(sheets):
        whole.paste(sheet, (n % 2 * sheet.width, n // 2 * TALL))
    whole.save(options.out, optimize=True)


if __name__ == "__main__":
    main()
