"""Every network of ``deepseg train`` on the shared abdomen CT, with the same CPU seconds: time, memory and Dice.

    .venv/bin/python Testing/benchmarks/networks.py --data ../shared/data --seconds 60 --out docs/networks_table.md

The networks are trained and measured on the same patient: the figures say how fast they learn, not how well they do on
others. Each runs in a process of its own, with one thread. The steps follow from the speed of the first ones; the CPU
seconds that they took in the end are in the table.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STRUCTURES = ("liver", "spleen", "kidney_left", "kidney_right", "urinary_bladder")
SPACING, MEMORY_GB, WIDTH = (6.0, 6.0, 6.0), 0.05, 16
TIMED = 6  # steps
HEADER = "| network | parameters (M) | steps | CPU s | peak memory (GB) | segment (s) | Dice |"


def one(name: str, data: Path, seconds: float) -> dict:
    """Train a network for so many CPU seconds, and segment the CT with it."""
    import torch

    from DeepSegLogic import find_model, read_label_map, read_volume, segment
    from DeepSegLogic.training.checks import check_cases
    from DeepSegLogic.training.dataset import CaseFiles
    from DeepSegLogic.training.optimization import Options
    from DeepSegLogic.training.planning import plan_training
    from DeepSegLogic.training.run import rate_for, require_packages, train_model

    torch.set_num_threads(1)
    require_packages(name)
    image, labels = data / "abdomen_ct" / "ct.nii.gz", data / "abdomen_ct" / "labels.nii.gz"
    report = check_cases([CaseFiles("abdomen", image, labels, looked_for=frozenset(STRUCTURES))])
    plan = plan_training(report, name, memory_gb=MEMORY_GB, width=WIDTH, spacing=SPACING, batch=1)
    rate = rate_for(name, "adamw")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        train_model(report, plan, place / "timed", options=Options(steps=1, rate=rate))
        first = time.process_time()
        train_model(report, plan, place / "timed", options=Options(steps=TIMED, rate=rate))
        each = (time.process_time() - first) / (TIMED - 1)
        steps = max(TIMED, round(seconds / each))
        started = time.process_time()
        train_model(report, plan, place / "model", options=Options(steps=steps, rate=rate, every=1e9))
        spent = time.process_time() - started
        card = find_model(place / "model")
        volume, truth = read_volume(image), read_label_map(labels)
        began = time.process_time()
        found = segment(volume, card, device="cpu").label_map
        took = time.process_time() - began
        weights = torch.load(place / "model.training" / "checkpoint.pth", weights_only=True)["network"]
    scores = []
    for structure in STRUCTURES:
        a, b = found.mask(structure), truth.mask(structure)
        scores.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    return {
        "parameters": sum(tensor.numel() for tensor in weights.values()) / 1e6,
        "steps": steps,
        "spent": spent,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "segment": took,
        "dice": float(sum(scores) / len(scores)),
    }


def main() -> None:
    from DeepSegLogic.networks.table import TRAINABLE

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file for the table")
    parser.add_argument("--networks", nargs="*", default=list(TRAINABLE))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.data, options.seconds)))
        return
    rows = [HEADER, "|---|" + "---:|" * (HEADER.count("|") - 2)]
    for name in options.networks:
        command = [sys.executable, __file__, "--data", options.data, "--seconds", str(options.seconds)]
        done = subprocess.run([*command, "--out", options.out, "--one", name], capture_output=True, encoding="utf-8")
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1]
            rows.append(f"| {name} | not run: {reason[:100]} |" + " |" * (HEADER.count("|") - 3))
        else:
            got = json.loads(done.stdout.splitlines()[-1])
            rows.append(
                f"| {name} | {got['parameters']:.1f} | {got['steps']} | {got['spent']:.0f} | {got['memory']:.1f} "
                f"| {got['segment']:.1f} | {got['dice']:.2f} |"
            )
        print(rows[-1], flush=True)
        options.out.write_text("\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()
