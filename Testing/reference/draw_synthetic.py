"""Draw what the bundled model learns from: patches of synthetic and real CT, and the classes in them.

.venv/bin/python Testing/reference/draw_synthetic.py --data ../shared/data --out docs/synthetic_ct.png
"""

import argparse
from pathlib import Path

import numpy as np
from demo_cases import CLASSES, demo_cases
from PIL import Image

from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.training.samples import MEAN, SD, Samples

COLUMNS, ROWS, SIZE = 6, 2, 72
WINDOW = (-200, 300)  # HU


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cases = demo_cases(options.data)
    samples = Samples(cases, (SIZE,) * 3, 4.0)
    tables = [case.table(list(CLASSES)).numpy() for case in cases]
    colors = np.array([(0, 0, 0), *(structure_for(n, 1).color for n in CLASSES[1:])], np.uint8)
    rows = []
    for row in range(ROWS):
        pictures = []
        for n in range(row * COLUMNS, (row + 1) * COLUMNS):
            image, labels, case = samples[n]
            rules = tables[case][labels[SIZE // 2].numpy()]
            classes = np.where(rules.sum(-1) == 1, rules.argmax(-1), 0)
            lower, upper = ((hu - MEAN) / SD for hu in WINDOW)
            grey = np.clip((image[0, SIZE // 2].numpy() - lower) / (upper - lower), 0, 1) * 255
            grey = np.repeat(grey[..., None], 3, -1)
            mixed = np.where(classes[..., None] > 0, 0.5 * grey + 0.5 * colors[classes], grey)
            pictures.append(np.concatenate([grey[::-1], mixed[::-1]])[:, ::-1])
        rows.append(np.concatenate(pictures, 1))
    picture = Image.fromarray(np.concatenate(rows).astype(np.uint8))
    picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.BICUBIC).save(options.out)


if __name__ == "__main__":
    main()
