"""Which merging of boxes finds best: non-maximum suppression or weighted box fusion, over windows and over detectors.

    .venv/bin/python Testing/benchmarks/box_merging.py MODEL [MODEL …] --data ../shared/data

The cases are those of ``Testing/benchmarks/detection.py``. Windows overlap by a quarter; "inner" takes a box only from
the window in whose inner part it is centred, as DeepSeg does, "whole" from each window that has it. The models must
work on the same grid.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from detection import JUDGED, as_finding, lungs_in
from monai.data.box_utils import box_iou

from DeepSegLogic import find_model, read_volume, score_detections
from DeepSegLogic.detection import detect as engine
from DeepSegLogic.detection.artificial import LUNG_NODULE, put_lesions
from DeepSegLogic.detection.detector import WindowBoxes, load_detector
from DeepSegLogic.inference.preprocessing import prepare
from DeepSegLogic.util.progress import ignore_progress, never_cancel


def fused(found: WindowBoxes, overlap: float = engine.OVERLAP, confidence: str = "max") -> WindowBoxes:
    """Weighted box fusion of boxes of one kind: those that overlap become one, their mean, weighted by their scores.

    In the order of their scores, each box joins the fused box that it overlaps most, if that is by more than
    ``overlap``, and moves it; else it starts a new one. Source: Solovyev et al., Weighted boxes fusion, Image Vis.
    Comput. 107 (2021) 104117.

    Args:
        confidence: of a fused box, the "max" or the "mean" of its boxes' scores.
    """
    found = found.at(found.scores.argsort(descending=True, stable=True))
    sums, weights, counts, best = (found.scores.new_zeros((0, n)) for n in (6, 1, 1, 1))
    for box, score in zip(found.boxes, found.scores, strict=True):
        ious = torch.as_tensor(box_iou(sums / weights, box[None]))[:, 0]
        if len(ious) and float(ious.max()) > overlap:
            at = int(ious.argmax())
            sums[at] += score * box
            weights[at] += score
            counts[at] += 1
        else:
            sums, weights = torch.cat([sums, (score * box)[None]]), torch.cat([weights, score.view(1, 1)])
            counts, best = torch.cat([counts, torch.ones(1, 1)]), torch.cat([best, score.view(1, 1)])
    scores = (best if confidence == "max" else weights / counts)[:, 0]
    order = scores.argsort(descending=True, stable=True)
    return WindowBoxes((sums / weights)[order], scores[order], torch.ones(len(order), dtype=torch.long))


MERGED = {
    "suppression": engine.suppressed,
    "fusion, highest score": fused,
    "fusion, mean score": lambda found: fused(found, confidence="mean"),
}


def whole_windows(prepared, detector) -> tuple[list[WindowBoxes], list[torch.Tensor]]:
    """The boxes of each window, and which of them are centred in its inner part."""
    owned, inner = engine._owned, []
    engine._owned = lambda length, size: [(start, -np.inf, np.inf) for start, _, _ in owned(length, size)]
    found, size = engine._search(
        prepared.image, detector, engine.LEAST_SCORE, torch.device("cpu"), ignore_progress, never_cancel
    )
    engine._owned = owned
    lengths = [max(n, s) for n, s in zip(prepared.image.shape[1:], size, strict=True)]
    windows = itertools.product(*(owned(n, s) for n, s in zip(lengths, size, strict=True)))
    for boxes, window in zip(found, windows, strict=True):
        center, ends = (boxes.boxes[:, :3] + boxes.boxes[:, 3:]) / 2, torch.tensor([w[1:] for w in window])
        inner.append(((center >= ends[:, 0]) & (center < ends[:, 1])).all(1))
    return found, inner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    detectors = {str(path): load_detector(find_model(path)) for path in options.models}
    true, boxes, places = {}, {}, {}
    for path, count in JUDGED.items():
        volume = read_volume(options.data / path)
        lungs = lungs_in(volume)
        for draw in range(options.draws + 1):
            scan = f"{path}_{draw}"
            changed, put = put_lesions(volume, lungs, LUNG_NODULE, count if draw else 0, seed=draw)
            true[scan] = [as_finding(x) for x in put]
            for name, detector in detectors.items():
                places[scan] = prepare(changed, detector.plan, torch.device("cpu"))
                boxes[scan, name] = whole_windows(places[scan], detector)
                print(scan, name, flush=True)
    together = [[name] for name in detectors] + ([list(detectors)] if len(detectors) > 1 else [])
    for names, part, (how, merge) in itertools.product(together, ("inner", "whole"), MERGED.items()):
        found = {}
        for scan, prepared in places.items():
            parts = [boxes[scan, name] for name in names]
            kept = [b.at(i) if part == "inner" else b for bs, inner in parts for b, i in zip(bs, inner, strict=True)]
            plain = engine.joined([b._replace(masks=None, mask_boxes=None) for b in kept])
            merged = engine._cut(merge(plain), prepared)
            found[scan] = engine._in_mm(merged, prepared, detectors[names[0]])[: engine.MOST_FINDINGS]
        scores = score_detections(found, true)
        print(f"{' and '.join(names)}; {part}; {how}: mAP {scores.mean_average_precision:.3f}", end=", ")
        print(f"FROC {scores.froc_score:.3f}, {sum(map(len, found.values()))} boxes", flush=True)


if __name__ == "__main__":
    main()
