"""Time and memory of the engine against nnU-Net's own predictor and MONAI's sliding window, interleaved in one run.

    python Testing/benchmarks/inference.py --model FOLDER --shape 256 256 200 --spacing 1.5 \\
        --peer /tmp/nnunet/bin/python [--repeats 2] [--device cpu]
    python Testing/benchmarks/inference.py --model ct_demo --image CT.nii.gz --peer …

``--peer`` is the interpreter of an environment with nnunetv2 (see Testing/reference/README.md); without it only
our own figures are printed. With ``--totalsegmentator ROOT`` that environment also runs TotalSegmentator's own command
(``--fast``) with the weights in ROOT, which must be of a network of the size of ``--model``. MONAI's row is its own
transforms and sliding window around the same network, with labels brought back by the nearest voxel. Each run is a
process of its own: start, import, load, run, write; ours is the whole command, with measurements and preview. Peak
memory is that of its whole process tree.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import SimpleITK as sitk
from phantom import body

OURS = """
import shutil, sys
from pathlib import Path
from DeepSegLogic.cli import run
image, model, out, device, quality = sys.argv[1:]
folder = Path(out).parent / quality
sys.argv[1:] = ["segment", image, "-o", str(folder), "-m", model, "--device", device, "--quality", quality]
sys.argv += ["--surfaces", "", "--force", "--quiet"]
try:
    run()
finally:
    shutil.copy(folder / "segmentation.nii.gz", out)
"""
THEIRS = """
import contextlib, sys, torch
for name in ("nms", "qnms"):  # torchvision does not import beside a CPU build of torch without them
    with contextlib.suppress(RuntimeError):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
image, model, out, device = sys.argv[1:5]
predictor = nnUNetPredictor(use_mirroring=False, perform_everything_on_device=device != "cpu",
                            device=torch.device(device), allow_tqdm=False)
predictor.initialize_from_trained_model_folder(model, None)
predictor.predict_from_files_sequential([[image]], [out.removesuffix(".nii.gz")], False, True)
"""

MONAI = """
import sys, torch
from monai.inferers import sliding_window_inference
from monai.transforms import Compose, EnsureChannelFirst, Invert, LoadImage, Orientation, SaveImage, Spacing
from DeepSegLogic.inference.preprocessing import normalized
from DeepSegLogic.models.model import load_model
from DeepSegLogic.models.find import find_model
image, model, out, device = sys.argv[1:]
model = load_model(find_model(model))
plan, network = model.plan, model.networks[0].to(device).eval()
turned = Orientation((plan.orientation or "LPS")[::-1], labels=None)
prepare = Compose([LoadImage(), EnsureChannelFirst(), turned, Spacing(plan.spacing)])
data = prepare(image)
batch = data.clone()
batch.set_array(normalized(data.as_tensor(), plan))
with torch.inference_mode():
    logits = sliding_window_inference(batch[None].to(device), plan.patch_size, 1, network, 0.5, "gaussian")
labels = Invert(prepare, nearest_interp=True)(logits[0].argmax(0, keepdim=True).cpu())
SaveImage(output_ext=".nii.gz", print_log=False)(labels, filename=out.removesuffix(".nii.gz"))
"""


def measured(command: list[str], **environment: str) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak memory (GB, proportional share of the process tree) of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", env={**os.environ, **environment}
    )
    root, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        total = 0
        try:
            for member in (root, *root.children(recursive=True)):
                total += member.memory_full_info().pss
        except psutil.Error:
            pass
        peak = max(peak, total)
        time.sleep(0.1)
    wall = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command[:2])}\n{process.stdout.read()[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, peak / 1e9


def synthetic_ct(path: Path, shape: list[int], spacing: float) -> None:
    """A body of ellipsoids with noise; for time and memory only."""
    image = sitk.GetImageFromArray(body(shape))
    image.SetSpacing([spacing] * 3)
    sitk.WriteImage(image, str(path))


def agreement(ours: Path, theirs: Path) -> str:
    """Mean Dice over labels, and the share of equal voxels."""
    a, b = (sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (ours, theirs))
    values = [v for v in np.unique(b) if v]
    dice = [
        2 * np.count_nonzero((a == v) & (b == v)) / (np.count_nonzero(a == v) + np.count_nonzero(b == v))
        for v in values
    ]
    return f"mean Dice {np.mean(dice):.4f} over {len(values)} labels, {100 * (a == b).mean():.2f} % of voxels equal"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="id or folder")
    parser.add_argument("--image", type=Path)
    parser.add_argument("--shape", type=int, nargs=3, default=[256, 256, 200])
    parser.add_argument("--spacing", type=float, default=1.5)
    parser.add_argument("--peer")
    parser.add_argument("--totalsegmentator", metavar="ROOT")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--qualities", nargs="+", default=["standard", "fast"])
    options = parser.parse_args()
    from DeepSegLogic.models import find_model

    folder = str(find_model(options.model).folder)
    with tempfile.TemporaryDirectory() as work:
        image = options.image or Path(work) / "ct.nii.gz"
        if options.image is None:
            synthetic_ct(image, options.shape, options.spacing)
        runs = {
            f"DeepSeg {q}": [
                *(sys.executable, "-c", OURS, str(image), folder),
                *(f"{work}/{q}.nii.gz", options.device, q),
            ]
            for q in options.qualities
        }
        runs["MONAI sliding window"] = [
            *(sys.executable, "-c", MONAI, str(image), folder, f"{work}/monai.nii.gz", options.device)
        ]
        if options.peer:
            runs["nnUNetPredictor"] = [
                *(options.peer, "-c", THEIRS, str(image), folder, f"{work}/peer.nii.gz", options.device)
            ]
        if options.totalsegmentator:
            program = str(Path(options.peer).with_name("TotalSegmentator"))
            runs["TotalSegmentator --fast"] = [
                *(program, "-i", str(image), "-o", f"{work}/total.nii.gz", "--ml", "--fast", "-d", options.device)
            ]
        home = {"TOTALSEG_HOME_DIR": options.totalsegmentator} if options.totalsegmentator else {}
        figures = {name: [] for name in runs}
        for _ in range(options.repeats):
            for name, command in runs.items():
                figures[name].append(measured(command, **home))
        reference = "nnUNetPredictor" if options.peer else next(iter(runs))
        base = [statistics.median(f[i] for f in figures[reference]) for i in range(3)]
        print(f"| run | wall / {reference} | CPU s / {reference} | peak memory / {reference} | peak GB |")
        print("|---|---|---|---|---|")
        for name, found in figures.items():
            cells = []
            for i in range(3):
                ratios = [f[i] / base[i] for f in found]
                cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
            print(f"| {name} | {' | '.join(cells)} | {statistics.median(f[2] for f in found):.1f} |")
        if options.peer:
            for q in options.qualities:
                print(f"{q}: {agreement(Path(work) / f'{q}.nii.gz', Path(work) / 'peer.nii.gz')}")


if __name__ == "__main__":
    main()
