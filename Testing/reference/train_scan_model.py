"""Train the network of ``DeepSegLogic.classify``, judge it on CTs it never saw, and write its weights.

    .venv/bin/python Testing/reference/train_scan_model.py --data ../shared/data --work WORK --out scan.pth

``scan.pth`` belongs into ``Resources/Models``. Each fold leaves out two or three people, so each CT is judged by a
network that never saw it. The temperature is fitted on these predictions; the network that is shipped learns from
everybody. WORK gets the predictions, for ``Testing/benchmarks/classify.py``.
"""

import argparse
import pickle
import time
from pathlib import Path

import numpy as np
import torch
from scan_cases import Shown, Subject, subjects
from scipy.ndimage import affine_transform, gaussian_filter
from torch.nn import functional

from DeepSegLogic.classify.network import Logits, ScanNetwork

FOLDS = (("abdomen_ct", "chest_contrast"), ("abdomen_contrast", "neck_chest"), ("abdomen_ct_dicom", "CTChest4", "head"))
COPIES, STEPS, BATCH, RATE = 8, 330, 4, 3e-3
NOT_CT = 0.2  # share of the samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="for the coarse copies and the predictions")
    parser.add_argument("--out", type=Path, required=True, help="the file of weights to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    people = kept(options.work / "subjects.pkl", lambda: subjects(options.data, COPIES))
    judged = []
    for number, left_out in enumerate(FOLDS):
        network = train([p for p in people if p.name not in left_out], number)
        judged += [(p.name, judge(network, p.real)) for p in people if p.name in left_out]
    temperature = calibrated(judged)
    (options.work / "judged.pkl").write_bytes(pickle.dumps(judged))
    network = train(people, len(FOLDS), steps=STEPS * 5 // 4)
    weights = {name: tensor.half() for name, tensor in network.state_dict().items()}
    torch.save({"version": 1, "temperature": temperature, "weights": weights}, options.out)


def kept(path: Path, make):
    """What ``make`` returns, from a file if it is there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(make()))
    return pickle.loads(path.read_bytes())


def train(people: list[Subject], seed: int, steps: int = STEPS) -> ScanNetwork:
    torch.manual_seed(seed)
    rng, network = np.random.default_rng(seed), ScanNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    started, seen = time.process_time(), []
    for step in range(steps):
        loss = sum(loss_of(network, sample(people, rng)) for _ in range(BATCH)) / BATCH
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        seen.append(loss.item())
        if (step + 1) % 50 == 0:
            print(f"{seed} {step + 1}: {np.mean(seen[-50:]):.3f}, {time.process_time() - started:.0f} s", flush=True)
    return network.eval()


def loss_of(network: ScanNetwork, shown: Shown) -> torch.Tensor:
    found = network(torch.from_numpy(shown.array))
    loss = functional.cross_entropy(found.modality[None], torch.tensor([shown.modality]))
    if shown.modality:
        return loss
    known = torch.from_numpy(shown.regions)
    return loss + functional.cross_entropy(found.regions, known, ignore_index=-1, label_smoothing=0.05)


def sample(people: list[Subject], rng: np.random.Generator) -> Shown:
    """A part of somebody, moved, flipped and seen by another scanner; now and then not a CT at all."""
    person = people[rng.integers(len(people))]
    shown = person.real if person.real and (rng.random() < 0.6 or not person.painted) else None
    shown = shown or person.painted[rng.integers(len(person.painted))]
    slices = len(shown.array)
    length = int(min(slices, rng.integers(2, 56) if rng.random() < 0.8 else slices))
    begin = int(rng.integers(slices - length + 1))
    hu, regions = shown.array[begin : begin + length], shown.regions[begin : begin + length]
    hu = _moved(hu, rng)
    if rng.random() < NOT_CT:
        modality, hu = (1, _like_mr(hu, rng)) if rng.random() < 0.5 else (2, _something_else(hu, rng))
        return Shown(hu, regions, modality)
    hu = hu * rng.uniform(0.95, 1.05) + rng.normal(0, 8) + rng.normal(0, rng.uniform(0, 15), hu.shape)
    if rng.random() < 0.25:
        hu = _narrow(hu, rng)
    flips = rng.random(3) < 0.25
    regions = regions[::-1] if flips[0] else regions
    return Shown(np.ascontiguousarray(np.flip(hu, np.flatnonzero(flips)), np.float32), regions.copy())


def _moved(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turned, shifted and scaled in the plane."""
    angle, scale = rng.normal(0, 0.08), np.exp(rng.uniform(-0.2, 0.2, 2))
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    middle = (hu.shape[1] - 1) / 2
    whole = np.eye(3)
    whole[1:, 1:] = matrix
    offset = np.array([0, *(middle - matrix @ [middle, middle] + rng.uniform(-3, 3, 2))])
    return affine_transform(hu, whole, offset, order=1, cval=-1000.0, output=np.float32)


def _narrow(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smaller field of view."""
    y, x = np.meshgrid(*[np.arange(56) - 27.5] * 2, indexing="ij")
    radius = rng.uniform(12, 26)
    away = np.hypot(x, y) if rng.random() < 0.5 else np.maximum(abs(x), abs(y))
    return np.where(away < radius, hu, -1000)


def _like_mr(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other grey values for each tissue, a bias field, no negative values."""
    grey = rng.uniform(0.1, 1, 6)
    grey[0], grey[5] = rng.uniform(0, 0.05), rng.uniform(0, 0.5)
    image = np.interp(hu, [-900, -100, 20, 60, 150, 700], grey)
    bias = np.exp(0.5 * gaussian_filter(rng.normal(0, 1, hu.shape), 12, mode="nearest") * 40)
    image = image * np.clip(bias, 0.3, 3) + rng.normal(0, 0.03, hu.shape)
    return (np.abs(image) * np.exp(rng.uniform(np.log(80), np.log(3000)))).astype(np.float32)


def _something_else(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise, a phantom, or a CT whose values are no HU."""
    kind = rng.integers(5)
    if kind == 0:
        return rng.normal(rng.uniform(-500, 500), np.exp(rng.uniform(2, 7)), hu.shape).astype(np.float32)
    if kind == 1:
        low, high = np.sort(rng.uniform(-1000, 3000, 2))
        return rng.uniform(low, high, hu.shape).astype(np.float32)
    if kind == 2:  # a phantom: a cylinder or a box with inserts
        y, x = np.meshgrid(*[np.arange(56) - 27.5] * 2, indexing="ij")
        away = np.hypot(x, y) if rng.random() < 0.6 else np.maximum(abs(x), abs(y))
        image = np.where(away < rng.uniform(8, 24), rng.uniform(-100, 150), -1000.0)
        for _ in range(rng.integers(6)):
            u, v = rng.uniform(-12, 12, 2)
            image = np.where(np.hypot(x - u, y - v) < rng.uniform(1, 4), rng.uniform(-1000, 1000), image)
        return (image + rng.normal(0, rng.uniform(0, 20), hu.shape)).astype(np.float32)
    scaled = (np.clip(hu, -1000, 1000) + 1000) / 2000
    top = 255 if kind == 3 else rng.uniform(1, 4000)
    return (top * np.clip((scaled - rng.uniform(0, 0.45)) * rng.uniform(1, 2), 0, 1)).astype(np.float32)


@torch.inference_mode()
def judge(network: ScanNetwork, shown: Shown) -> dict[str, np.ndarray]:
    """The true regions of the slices of a CT, and the logits of regions and modality."""
    found: Logits = network(torch.from_numpy(shown.array))
    return {"truth": shown.regions, "regions": found.regions.numpy(), "modality": found.modality.numpy()}


def calibrated(judged: list[tuple[str, dict[str, np.ndarray]]]) -> float:
    """The temperature with the smallest negative log-likelihood on the CTs left out."""
    return _temperature([(d["regions"], d["truth"]) for _, d in judged])


def _temperature(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    logits = torch.cat([torch.as_tensor(a, dtype=torch.float32) for a, _ in pairs])
    truth = torch.cat([torch.as_tensor(b).long() for _, b in pairs])
    grid = np.exp(np.linspace(np.log(0.5), np.log(8), 60))
    return float(min(grid, key=lambda t: functional.cross_entropy(logits / t, truth).item()))


if __name__ == "__main__":
    main()
