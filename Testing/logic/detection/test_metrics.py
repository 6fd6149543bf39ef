"""FROC and average precision against their definitions, written down here once more."""

import numpy as np
import pytest

from DeepSegLogic import BoxFinding, UsageError, score_detections
from DeepSegLogic.detection.metrics import FALSE_PER_SCAN
from DeepSegLogic.detection.score_files import froc_plot, write_scores


def box(center, size=10.0, score=1.0, kind="lesion"):
    middle = np.array(center, float)
    return BoxFinding(kind, score, tuple(middle - size / 2), tuple(middle + size / 2))


def iou(a, b):
    low, high = np.maximum(a.low, b.low), np.minimum(a.high, b.high)
    both = np.prod(np.clip(high - low, 0, None))
    return both / (np.prod(a.size_mm) + np.prod(b.size_mm) - both)


def hits(found, true, threshold):
    """Score and whether it is a hit, of all findings: greedy by score, each true box once."""
    listed = []
    for scan, boxes in true.items():
        free = list(boxes)
        for one in sorted(found.get(scan, []), key=lambda f: -f.score):
            best = max(free, key=lambda t: iou(one, t), default=None)
            hit = best is not None and iou(one, best) >= threshold
            if hit:
                free.remove(best)
            listed.append((one.score, hit))
    return sorted(listed, key=lambda pair: -pair[0])


def average_precision(found, true, threshold):
    """Area under the precision over 101 recalls, precision made falling: the definition of COCO."""
    count = sum(map(len, true.values()))
    listed = hits(found, true, threshold)
    precision, recall, so_far = [], [], 0
    for n, (_, hit) in enumerate(listed, start=1):
        so_far += hit
        precision.append(so_far / n)
        recall.append(float(np.float32(so_far) / np.float32(count)))  # MONAI counts in float32
    reached = [max((p for p, r in zip(precision, recall, strict=True) if r >= wanted), default=0.0)
               for wanted in np.linspace(0, 1, 101)]  # fmt: skip
    return float(np.mean(reached))


def sensitivity(found, true, threshold, rate):
    listed, best = hits(found, true, threshold), 0.0
    for n in range(1, len(listed) + 1):
        false = sum(not hit for _, hit in listed[:n]) / len(true)
        if false <= rate:
            best = max(best, sum(hit for _, hit in listed[:n]) / sum(map(len, true.values())))
    return best


def random_case(seed):
    """Lesions far from each other, some found well, some badly, and false findings; all scores differ."""
    rng = np.random.default_rng(seed)
    found, true = {}, {}
    for scan in range(4):
        count = int(rng.integers(0, 5))
        true[str(scan)] = [box([100 * n, 0, 0], rng.uniform(6, 20)) for n in range(count)]
        near = [box(np.array(t.center_ras) + rng.uniform(-4, 4, 3), rng.uniform(6, 20), float(rng.random()))
                for t in true[str(scan)] if rng.random() < 0.8]  # fmt: skip
        false = [box([100 * n + 50, 300, 0], 10, float(rng.random())) for n in range(rng.integers(0, 5))]
        found[str(scan)] = near + false
    if not any(true.values()):
        true["0"] = [box([0, 0, 0])]
    return found, true


@pytest.mark.parametrize("seed", range(12))
def test_scores_are_what_their_definitions_say(seed):
    found, true = random_case(seed)
    for threshold in (0.1, 0.3, 0.5):
        scores = score_detections(found, true, threshold)
        assert scores.average_precision[threshold] == pytest.approx(average_precision(found, true, threshold), abs=1e-6)
        for rate in FALSE_PER_SCAN:
            assert scores.sensitivity[rate] == pytest.approx(sensitivity(found, true, threshold, rate), abs=1e-6)
    assert np.all(np.diff(scores.froc[:, 0]) >= 0) and np.all(np.diff(scores.froc[:, 1]) >= 0)


def test_a_perfect_detector_has_one_and_a_blind_one_nothing():
    true = {"a": [box([0, 0, 0]), box([50, 0, 0])], "b": []}
    best = score_detections(true, true)
    assert best.mean_average_precision == pytest.approx(1) and best.froc_score == 1
    worst = score_detections({}, true)
    assert worst.mean_average_precision == 0 and worst.froc_score == 0


def test_without_any_lesion_there_is_no_score():
    scores = score_detections({"a": [box([0, 0, 0])]}, {"a": []})
    assert np.isnan(scores.mean_average_precision) and np.isnan(scores.froc_score) and scores.found == 1


def test_kinds_are_not_mixed():
    cyst, nodule = box([0, 0, 0], kind="cyst"), box([0, 0, 0], kind="nodule")
    scores = score_detections({"a": [cyst]}, {"a": [nodule]})
    assert scores.froc_score == 0 and scores.mean_average_precision == 0
    both = score_detections({"a": [cyst, nodule]}, {"a": [nodule]})
    assert both.mean_average_precision == pytest.approx(1), "a kind that has no reference does not count"
    assert both.sensitivity[0.5] == 0 and both.sensitivity[1.0] == 1, "but its findings are false"


def test_what_cannot_be_compared_is_said():
    with pytest.raises(UsageError, match="no reference for b"):
        score_detections({"b": []}, {"a": []})
    with pytest.raises(UsageError, match="no reference to compare"):
        score_detections({}, {})
    with pytest.raises(UsageError, match="no threshold"):
        score_detections({}, {"a": []}, 0.75)


def test_files_hold_the_scores_and_plots_the_names(tmp_path):
    found, true = random_case(3)
    scores = score_detections(found, true)
    write_scores(scores, tmp_path / "out")
    table = (tmp_path / "out" / "scores.csv").read_text("utf-8")
    assert f"average precision,IoU 0.5,{scores.average_precision[0.5]:.4f}" in table
    plot = froc_plot({"one <detector>": scores, "other": scores})
    assert plot.count("<polyline") == 2 and "one &lt;detector&gt;" in plot
