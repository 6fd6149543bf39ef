"""How well each sign of doubt tells the bundled model's errors, in patients that it never saw: AUROC and calibration.

    python Testing/benchmarks/confidence.py --second MODEL --work WORK [--data ../shared/data]

The second model for the disagreement is any other one of the same structures; docs/confidence.md used version 5 of the
bundled model, from the history of this repository. The bundled model has no dropout: the row about it is of the same
weights with dropout put into the deeper layers afterwards (Ledda et al., Pattern Recognition Letters 2023). What was
computed for a case stays in WORK.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import rankdata
from torch import nn

from DeepSegLogic.data.affine import reorient, sampled, spacing_kji
from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.evaluation.perturbations import PERTURBATIONS
from DeepSegLogic.inference.familiarity import TrainingStatistics, watched
from DeepSegLogic.io import read_label_map, read_volume
from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.review.disagreement import disagreement_map, disagreements
from DeepSegLogic.review.members import members
from DeepSegLogic.segmentation import segment

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "reference"))
from demo_structures import ours
from dice import STRANGERS, cases
from lung_rules import LEFT, RIGHT, UNSURE, lungs_and_air

MEMBERS, DROPPED = 4, 0.2
LAYER = "encoder.stages.3"
VARIANTS = {"": None, "noise": ("Noise", 100.0)}
WRONG_DICE = 0.7  # below it a structure counts as wrong
SIGNS = {
    "confidence": "1 − probability",
    "entropy": "entropy",
    "augmentation": "augmentation, variance",
    "dropout": "dropout, variance",
    "models": "two models",
    "features": "far from the training",
}


def auroc(score: np.ndarray, wrong: np.ndarray) -> float:
    """That a wrong one scores higher than a right one: Mann and Whitney's U over the number of pairs."""
    ranks, n = rankdata(score), int(wrong.sum())
    return (
        float((ranks[wrong].sum() - n * (n + 1) / 2) / (n * (len(wrong) - n))) if 0 < n < len(wrong) else float("nan")
    )


def stranger(name: str, data: Path, structures: list[str]) -> tuple[Volume, LabelMap, list[str]]:
    """A CT on a grid of about 4 mm, its reference, and the structures that were looked for; 255 is unknown."""
    image, labels = cases(data)[name]
    volume, known = read_volume(image), [structure_for(n, v) for v, n in enumerate(structures, 1)]
    value = {s.name: s.value for s in known}
    ct, matrix = reorient(volume.array, volume.ijk_to_ras, "RAS")
    if labels is None:
        every = (slice(None), slice(None, None, 2), slice(None, None, 2))
        found = lungs_and_air(ct[every], spacing_kji(matrix) * (1, 2, 2))[every]
        truth = np.select(
            [found == LEFT, found == RIGHT, found == UNSURE], [value["lung_left"], value["lung_right"], 255]
        )
        searched = ["lung_left", "lung_right"]
    else:
        reference = read_label_map(labels)
        theirs, _ = reorient(reference.array, reference.ijk_to_ras, "RAS")
        table = np.zeros(1 + int(theirs.max()), int)
        for structure in reference.structures:
            table[structure.value] = value.get(ours(structure.name) or "", 0)
        truth, searched = table[theirs][:, ::4, ::4], [n for n, v in value.items() if v in table]
    grid = matrix @ np.diag([4.0, 4.0, 1.0, 1.0])
    voxels = np.ascontiguousarray(ct[:, ::4, ::4])
    return replace(volume, array=voxels, ijk_to_ras=grid), LabelMap(truth.astype(np.uint8), grid, known), searched


def varied(volume: Volume, truth: LabelMap, variant: str) -> tuple[Volume, LabelMap]:
    """The same case, perturbed."""
    if VARIANTS[variant] is None:
        return volume, truth
    name, level = VARIANTS[variant]
    perturbation = next(p for p in PERTURBATIONS if p.name == name)
    return perturbation.volume(volume, level, np.random.default_rng(0)), perturbation.labels(truth, level)


def with_dropout(model):
    """The same weights, with dropout in the deeper stages of the encoder."""
    for stage in model.networks[0].encoder.stages[2:]:
        for block in stage.modules():
            if hasattr(block, "nonlin"):
                block.nonlin = nn.Sequential(block.nonlin, nn.Dropout3d(DROPPED))
    return model


def measured(volume: Volume, truth: LabelMap, searched: list[str], second: str) -> dict[str, np.ndarray]:
    """The signs of doubt of one case, by voxel and by structure."""
    run = {"device": "cpu", "quality": "fast", "force": True, "keep_probabilities": True}
    plain = load_model(find_model("ct_demo"))
    with watched(plain.networks[0], LAYER) as features:
        result = segment(volume, plain, **run)
    top, shape, grid = result.probabilities, volume.shape_kji, volume.ijk_to_ras
    chances = np.concatenate([top.values / 255.0, np.maximum(0, 1 - top.values.sum(0, keepdims=True) / 255.0)])
    maps = {"confidence": 1 - chances[0], "entropy": -(chances * np.log(np.maximum(chances, 1e-6))).sum(0)}
    opinions, spread = {}, {}
    for kind in ("augmentation", "dropout"):
        model = load_model(find_model("ct_demo"))
        others = members(with_dropout(model) if kind == "dropout" else model, kind)[1:MEMBERS]
        found = [result, *(segment(volume, one, **run) for one in others)]
        opinions[kind] = [one.label_map for one in found]
        spread[kind] = [
            np.where(one.probabilities.labels == top.labels[0], one.probabilities.values, 0).max(0) for one in found
        ]
        maps[kind] = np.var(np.array(spread[kind]) / 255.0, axis=0)
    opinions["models"] = [result.label_map, segment(volume, second, **run).label_map]
    maps = {n: sampled(m.astype(np.float32), top.ijk_to_ras, shape, grid, mode="nearest") for n, m in maps.items()}
    maps["models"] = disagreement_map(opinions["models"])
    found, right = result.label_map.array, truth.array
    values = [truth.structure(n).value for n in searched]
    found = np.where(np.isin(found, values), found, 0)
    counts = ((found > 0) | (right > 0)) & (right != 255)
    facts = {f"voxels_{n}": m[counts].astype(np.float32) for n, m in maps.items()}
    facts["voxels_wrong"] = (found != right)[counts]
    facts["middle"] = np.array([maps["confidence"][shape[0] // 2], maps["augmentation"][shape[0] // 2]])
    facts["slices"] = np.array([volume.array[shape[0] // 2], found[shape[0] // 2], right[shape[0] // 2]])
    pairs = {kind: {row.name: row for row in disagreements(maps_)} for kind, maps_ in opinions.items()}
    rows = []
    for name, value in zip(searched, values, strict=True):
        one, other = found == value, (right == value)
        if one.any():
            dice = 2 * (one & other).sum() / (one.sum() + other.sum())
            inside = [
                maps["entropy"][one].mean(),
                *(1 - (pairs[k][name].dice or 0) for k in ("augmentation", "dropout", "models")),
            ]
            rows.append([dice, 1 - result.confidence.get(name, 0), *inside])
    facts["structures"] = np.array(rows)
    facts["features"] = np.concatenate([f.numpy() for f in features])
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--second", required=True, help="another model of the same structures")
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    card = find_model("ct_demo")
    known = TrainingStatistics.from_json(card.training_statistics)
    voxels: dict[str, list[np.ndarray]] = {}
    structures = []
    for variant in VARIANTS:
        for name in STRANGERS:
            kept = options.work / f"{name}{variant and '_' + variant}.npz"
            if not kept.is_file():
                volume, truth, searched = stranger(name, options.data, card.structures)
                facts = measured(*varied(volume, truth, variant), searched, options.second)
                np.savez_compressed(kept, **facts)
            with np.load(kept) as facts:
                far = known.distance([_tensor(facts["features"])]) if known is not None else None
                rows = facts["structures"]
                structures.append(np.column_stack([rows, np.full(len(rows), far or 0)]))
                for key in facts:
                    if key.startswith("voxels_"):
                        voxels.setdefault(key.removeprefix("voxels_"), []).append(facts[key])
                wrong = facts["voxels_wrong"]
                print(
                    f"{kept.stem}: {wrong.mean():.2f} of the voxels wrong, distance from the training {far}", flush=True
                )
    _print(voxels, np.concatenate(structures))


def _tensor(array: np.ndarray):
    import torch

    return torch.from_numpy(array)


def _print(voxels: dict[str, list[np.ndarray]], structures: np.ndarray) -> None:
    wrong = structures[:, 0] < WRONG_DICE
    print(
        f"\n{len(wrong)} structures, of which {wrong.sum()} are wrong (Dice < {WRONG_DICE}); means over cases of voxels"
    )
    print(f"{'sign':<26}{'voxels':>8}{'structures':>12}")
    for column, (sign, title) in enumerate(SIGNS.items(), 1):
        each = [auroc(s, w) for s, w in zip(voxels.get(sign, []), voxels["wrong"], strict=False)]
        print(f"{title:<26}{np.mean(each) if each else float('nan'):>8.2f}{auroc(structures[:, column], wrong):>12.2f}")


if __name__ == "__main__":
    main()
