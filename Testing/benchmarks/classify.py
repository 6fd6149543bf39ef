"""Compare classifiers of scans on CTs that they never saw: the table in ``docs/classify.md``.

    .venv/bin/python Testing/reference/train_scan_model.py --data ../shared/data --work WORK --out WORK/scan.pth
    .venv/bin/python Testing/benchmarks/classify.py --work WORK        # needs scikit-learn

The first command leaves the coarse copies of all people and the network's predictions in WORK. Softmax regression,
random forest and the recurrent network see numbers per slice (see ``features``); the convolutional network sees the
voxels. All four learn from the same people, and are judged on the same CTs, which each fold leaves out.
"""

import argparse
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import nn

sys.path.append(str(Path(__file__).resolve().parents[1] / "reference"))
from scan_cases import Subject
from train_scan_model import FOLDS, _temperature, sample

from DeepSegLogic.classify.names import FLIPS, REGIONS
from DeepSegLogic.classify.orientation import turned
from DeepSegLogic.classify.scan import SURE, in_order, parts_of

DRAWN = 80  # parts of people that each fold learns from: 2,000 slices
EDGES = (-2000, -900, -500, -200, -50, 0, 30, 60, 100, 150, 250, 600, 5000)  # HU


def features(array: np.ndarray) -> np.ndarray:
    """Numbers per slice of a coarse copy: size and form of the body, how much of it has which density, and where."""
    rows = []
    y, x = np.meshgrid(*[np.linspace(-1, 1, 56)] * 2, indexing="ij")
    for hu in array:
        body = ndimage.binary_fill_holes(ndimage.binary_opening(hu > -300))
        area = max(int(body.sum()), 1)
        histogram = np.histogram(hu[body], EDGES)[0] / area
        centre = (y[body].mean(), x[body].mean()) if body.any() else (0.0, 0.0)
        spread = (y[body].std(), x[body].std()) if body.any() else (0.0, 0.0)
        row = [area / 3136, *spread, ndimage.label(body)[1] / 4, *histogram]
        for low, high in ((-1000, -400), (-150, -30), (30, 150), (200, 3000)):
            kind = body & (hu > low) & (hu < high)
            row += [y[kind].mean() - centre[0], x[kind].mean() - centre[1]] if kind.any() else [0.0, 0.0]
            row += [y[kind].std(), x[kind].std()] if kind.any() else [0.0, 0.0]
        rows.append(row)
    return np.array(rows, np.float32)


class Recurrent(nn.Module):
    """A bidirectional GRU over the slices."""

    def __init__(self, inputs: int):
        super().__init__()
        self.gru = nn.GRU(inputs, 32, bidirectional=True, batch_first=True)
        self.head = nn.Linear(64, len(REGIONS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.gru(x[None])[0][0])


def drawn(people: list[Subject], seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Features and regions of parts of people, with the augmentation of the network's training."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < DRAWN:
        shown = sample(people, rng)
        if shown.modality == 0:
            found.append((features(shown.array), shown.regions))
    return found


def fitted(kind: str, data, seed: int):
    """A function from features to logits."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    rows, truth = np.concatenate([f for f, _ in data]), np.concatenate([t for _, t in data])
    mean, sd = rows.mean(0), rows.std(0) + 1e-3
    if kind == "recurrent network":
        torch.manual_seed(seed)
        network = Recurrent(rows.shape[1])
        optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-2)
        for _ in range(6):
            for x, t in data:
                told = network(torch.from_numpy((x - mean) / sd))
                loss = nn.functional.cross_entropy(told, torch.from_numpy(t.copy()))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        network.eval()
        return lambda x: network(torch.from_numpy((x - mean) / sd)).detach().numpy()
    model = (
        LogisticRegression(max_iter=300)
        if kind == "softmax regression"
        else RandomForestClassifier(150, min_samples_leaf=3, random_state=seed)
    ).fit((rows - mean) / sd, truth)

    def logits(x):
        found = np.full((len(x), len(REGIONS)), np.log(1e-3), np.float32)
        found[:, model.classes_] = np.log(model.predict_proba((x - mean) / sd) + 1e-3)
        return found

    return logits


def figures(judged: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Of logits and true regions: accuracy per slice as it is and in the order of a body, calibration, answers."""
    temperature = _temperature(judged)
    truth = np.concatenate([t for _, t in judged])
    ordered = np.concatenate([in_order(torch.log_softmax(torch.as_tensor(a), 1).numpy())[0] for a, _ in judged])
    probability = np.concatenate([torch.softmax(torch.as_tensor(a) / temperature, 1).numpy() for a, _ in judged])
    top, sure = probability.argmax(1), probability.max(1)
    bins = np.minimum((sure * 10).astype(int), 9)
    error = sum(abs((top == truth)[bins == b].mean() - sure[bins == b].mean()) * (bins == b).mean() for b in set(bins))
    answered = sure >= SURE
    return {
        "slices": (top == truth).mean(),
        "in order": (ordered == truth).mean(),
        "answered": answered.mean(),
        "of those": (top == truth)[answered].mean(),
        "ECE": error,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    people = pickle.loads((options.work / "subjects.pkl").read_bytes())
    network = dict(pickle.loads((options.work / "judged.pkl").read_bytes()))
    kinds = ("softmax regression", "random forest", "recurrent network")
    judged: dict[str, dict[str, tuple]] = {kind: {} for kind in kinds}
    for number, left_out in enumerate(FOLDS):
        data = drawn([p for p in people if p.name not in left_out], number)
        print(f"fold {number}: features at {time.process_time():.0f} s", file=sys.stderr, flush=True)
        for kind in kinds:
            model = fitted(kind, data, number)
            for person in (p for p in people if p.name in left_out):
                judged[kind][person.name] = model(features(person.real.array)), person.real.regions
    judged["3D network (shipped)"] = {n: (d["regions"], d["truth"]) for n, d in network.items()}
    for title, names in (("all CTs", list(network)), ("without the head", [n for n in network if n != "head"])):
        print(f"\n{title}\n| classifier | slices right | in body order | answered | right of those | ECE |")
        print("|---|---|---|---|---|---|")
        for kind, found in judged.items():
            print(f"| {kind} |", " | ".join(f"{v:.2f}" for v in figures([found[n] for n in names]).values()), "|")
    print("\n| CT left out | truth | told (in order) |\n|---|---|---|")
    for name, (logits, truth) in judged["3D network (shipped)"].items():
        told = in_order(torch.log_softmax(torch.as_tensor(logits), 1).numpy())[0]
        print(f"| {name} | {_runs(truth)} | {_runs(told)} |")
    _flips(people, network)


def _runs(regions: np.ndarray) -> str:
    return ", ".join(f"{REGIONS[r]} {8 * int((regions == r).sum())} mm" for r in sorted(set(regions.tolist())))


def _flips(people: list[Subject], network: dict) -> None:
    """How often each flip is told of a CT left out that is flipped, and of one that is not, over all eight ways."""
    temperature = _temperature([(d["regions"], d["truth"]) for d in network.values()])
    found = []
    for person in (p for p in people if p.name in network):
        log = torch.log_softmax(torch.as_tensor(network[person.name]["regions"]) / temperature, 1).numpy()
        for code in range(8):
            flips = [bool(code >> n & 1) for n in range(3)]
            # The network sees flipped scans in training; here the logits are flipped, the rules see the flipped voxels.
            array, told = np.flip(person.real.array, np.flatnonzero(flips)), log[::-1] if flips[0] else log
            (path, up), (mirrored, down) = in_order(told), in_order(told[:, ::-1])
            order = len(REGIONS) - 1 - mirrored if down > up else path
            found.append((flips, turned(array, parts_of(told, order, 0.0)[1], down - up)))
    print("\n| flip | told when flipped | told when not |\n|---|---|---|")
    for n, name in enumerate(FLIPS):
        yes, no = ([name in told for flips, told in found if flips[n] is wanted] for wanted in (True, False))
        print(f"| {name} | {np.mean(yes):.2f} | {np.mean(no):.2f} |")


if __name__ == "__main__":
    main()
