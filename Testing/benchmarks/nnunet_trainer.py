"""`deepseg train` against nnU-Net's own trainer: samples per CPU second, and Dice after the same CPU seconds.

    .venv/bin/python Testing/benchmarks/nnunet_trainer.py --nnunet NNUNET/bin/python --seconds 600

With ``--device cuda``, on a machine with a GPU, the seconds are those of the clock, and the peak of its memory is told.
NNUNET is an environment with ``Testing/reference/requirements.txt``. One subject, the shared abdomen CT, with the
structures of the bundled model. nnU-Net trains once with the plan that DeepSeg makes for the device, so that the
networks are the same, and once with its own plan, which is made for a GPU. It trains without mirroring, as
TotalSegmentator does, because there are structures of the left and of the right. One thread each on a CPU; both
learning rates fall to nothing at the end of the budget. The Dice is that of the subject that was trained on, and of the
DICOM series, which neither saw.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAME, TIMED = "Dataset001_Abdomen", 6
LOADERS = "nnUNet_n_proc_DA"


def spent(device: str) -> float:
    """CPU seconds of this process and of its children that have ended; for a GPU, seconds of the clock."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def write_raw(data: Path, folder: Path) -> list[str]:
    """nnU-Net's raw data set of one case; returns the names of its structures."""
    import numpy as np
    import SimpleITK as sitk

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "reference"))
    from demo_structures import NAMES, ours

    from DeepSegLogic import read_label_map

    truth = read_label_map(data / "abdomen_ct" / "labels.nii.gz")
    labels = np.zeros(truth.array.shape, np.uint8)
    names = [n for n in NAMES if any(ours(s.name) == n for s in truth.structures)]
    for structure in truth.structures:
        if (name := ours(structure.name)) is not None:
            labels[truth.array == structure.value] = 1 + names.index(name)
    image = sitk.ReadImage(str(data / "abdomen_ct" / "ct.nii.gz"))
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    written = sitk.GetImageFromArray(labels)
    written.CopyInformation(image)
    sitk.WriteImage(written, str(folder / "labelsTr" / "a.nii.gz"))
    sitk.WriteImage(image, str(folder / "imagesTr" / "a_0000.nii.gz"))
    table = {"background": 0} | {name: 1 + i for i, name in enumerate(names)}
    facts = {"channel_names": {"0": "CT"}, "labels": table, "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(facts))
    return names


def peak_gb(device: str) -> float:
    """Peak of the GPU's memory; 0 for a CPU."""
    import torch

    return torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0.0


def train_ours(raw: Path, model: Path, seconds: float, device: str) -> dict:
    """Train as `deepseg train` does."""
    import torch

    from DeepSegLogic.training.checks import check_cases
    from DeepSegLogic.training.dataset import find_cases
    from DeepSegLogic.training.optimization import Options
    from DeepSegLogic.training.planning import DEFAULT_NETWORK, plan_training
    from DeepSegLogic.training.run import budget, rate_for, train_model

    where = torch.device(device)
    if device == "cpu":
        torch.set_num_threads(1)
    report = check_cases(find_cases(raw))
    given = budget(where)
    plan = plan_training(report, DEFAULT_NETWORK, memory_gb=given.memory_gb, width=given.width)
    rate = rate_for(plan.network, "adamw")
    place = model.with_name("timed")
    train_model(report, plan, place, options=Options(steps=1, rate=rate), device=where)
    first = spent(device)
    train_model(report, plan, place, options=Options(steps=TIMED, rate=rate), device=where)
    steps = round(seconds * (TIMED - 1) / (spent(device) - first))
    began = spent(device)
    train_model(report, plan, model, options=Options(steps=steps, rate=rate, every=1e9), device=where)
    took = {"steps": steps, "spent": spent(device) - began, "peak": peak_gb(device)}
    return {**took, "batch": plan.batch, "patch": plan.patch}


def train_nnunet(seconds: float, plan_of: Path | None, device: str) -> dict:
    """Train with nnU-Net's trainer; its environment variables are set."""
    import torch
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import (
        nnUNetTrainerNoMirroring,
    )

    if device == "cpu":
        torch.set_num_threads(1)
    extract_fingerprints([1], num_processes=1, check_dataset_integrity=False)
    plan_experiments([1])
    preprocess([1], configurations=["3d_fullres"], num_processes=[1])
    folder = Path(nnUNet_preprocessed) / NAME
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    configuration = plans["configurations"]["3d_fullres"]
    if plan_of is not None:
        theirs = json.loads((plan_of / "plans.json").read_text())["configurations"]["3d_fullres"]
        configuration |= {key: theirs[key] for key in ("patch_size", "batch_size", "architecture")}
        if configuration["spacing"] != theirs["spacing"]:
            raise SystemExit("The spacings differ.")
    facts = json.loads((folder / "dataset.json").read_text())
    plans["continue_training"] = False
    if device == "cpu":
        os.environ[LOADERS] = "0"  # samples are made in this process, whose CPU seconds count
    trainer = nnUNetTrainerNoMirroring(plans, "3d_fullres", "all", facts, torch.device(device))
    trainer.initialize()
    trainer.on_train_start()

    def step(number: int, steps: int) -> None:
        if number == 0:
            trainer.lr_scheduler = PolyLRScheduler(trainer.optimizer, trainer.initial_lr, steps)
        trainer.lr_scheduler.step(number)
        trainer.network.train()
        trainer.train_step(next(trainer.dataloader_train))

    step(0, TIMED)
    first = spent(device)
    for number in range(1, TIMED):
        step(number, TIMED)
    steps = max(TIMED, round(seconds * (TIMED - 1) / (spent(device) - first)))
    trainer.was_initialized = False
    trainer.initialize()  # begins anew
    began = spent(device)
    for number in range(steps):
        step(number, steps)
    took = {"steps": steps, "spent": spent(device) - began, "peak": peak_gb(device)}
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    patch, batch = configuration["patch_size"], configuration["batch_size"]
    return {**took, "batch": batch, "patch": patch, "model": trainer.output_folder_base}


def scores(model: Path, data: Path) -> list[float]:
    """Mean Dice on the subject that was trained on, and on the DICOM series."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import torch
    from dice import cases, dice_of

    torch.set_num_threads(1)
    files = cases(data)
    parts = [dice_of(*files[name], str(model)) for name in ("abdomen", "dicom")]
    return [sum(v for n, v in d.items() if " " not in n) / sum(" " not in n for n in d) for d in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--nnunet", type=Path, required=True, help="Python with nnU-Net")
    parser.add_argument("--seconds", type=float, default=600, help="of each training")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--work", type=Path, help="folder for what is made; a temporary one if not given")
    parser.add_argument("--one", choices=("ours", "nnunet", "score"), help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one == "ours":
        got = train_ours(options.work / "raw" / NAME, options.model, options.seconds, options.device)
    elif options.one == "nnunet":
        got = train_nnunet(options.seconds, options.model, options.device)
    elif options.one == "score":
        got = scores(options.model, options.data)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            compare(options, options.work or Path(temporary))
        return
    print(json.dumps(got))


def compare(options: argparse.Namespace, work: Path) -> None:
    write_raw(options.data, work / "raw" / NAME)
    common = ["--data", options.data, "--nnunet", options.nnunet, "--seconds", options.seconds, "--work", work]
    common += ["--device", options.device]

    def run(python: Path, *more: object, where: str = "") -> object:
        names = {"nnUNet_raw": "raw", "nnUNet_preprocessed": f"pre{where}", "nnUNet_results": f"results{where}"}
        variables = {name: str(work / folder) for name, folder in names.items()}
        if options.device == "cpu":
            variables |= {LOADERS: "1", "nnUNet_compile": "f", "OMP_NUM_THREADS": "1"}
        command = [str(part) for part in (python, __file__, *common, *more)]
        done = subprocess.run(command, env=os.environ | variables, stdout=subprocess.PIPE, encoding="utf-8", check=True)
        return json.loads(done.stdout.splitlines()[-1])

    second = "CPU s" if options.device == "cpu" else "s"
    columns = ["trainer", "plan", "patch, batch", "steps", second, f"samples per {second}", "GPU memory, GB"]
    columns += ["Dice, same subject", "Dice, DICOM series"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * 3}{'---:|' * 6}", flush=True)
    ours = work / "ours"
    for trainer, plan in (("DeepSeg", "DeepSeg's"), ("nnU-Net", "DeepSeg's"), ("nnU-Net", "its own")):
        if trainer == "DeepSeg":
            got, model = run(Path(sys.executable), "--one", "ours", "--model", ours), ours
        else:
            taken = ["--model", ours] if plan == "DeepSeg's" else []
            got = run(options.nnunet, "--one", "nnunet", *taken, where="_ours" if taken else "_own")
            model = Path(got["model"])
        seen, unseen = run(Path(sys.executable), "--one", "score", "--model", model)
        patch = "×".join(map(str, got["patch"]))
        print(
            f"| {trainer} | {plan} | {patch}, {got['batch']} | {got['steps']} | {got['spent']:.0f} "
            f"| {got['steps'] * got['batch'] / got['spent']:.2f} | {got['peak']:.1f} | {seen:.3f} | {unseen:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
