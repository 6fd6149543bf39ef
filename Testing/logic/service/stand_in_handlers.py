"""Stands in for networks in tests of the server: the "model" says what happens. Every start is noted in a file."""

import errno
import math
import os
import time
from pathlib import Path

import numpy as np
import psutil

from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.segmentation import Result
from DeepSegLogic.service import handlers
from DeepSegLogic.util.atomic_write import atomic_path
from DeepSegLogic.util.errors import Cancelled, UsageError

HERE = Path(os.environ["DEEPSEG_TEST_FOLDER"])


class OutOfMemoryError(RuntimeError):
    """As torch's, which nothing here imports."""


def _starts():
    return len((HERE / "starts").read_text().splitlines())


def _most_before_the_gate():
    path = HERE / "closed"
    return int(path.read_text()) if path.exists() else math.inf


def run(job, *, wanted, volumes, output, device):
    if wanted["request"] != "segment":
        return handlers.run(job, wanted=wanted, volumes=volumes, output=output, device=device)
    with (HERE / "starts").open("a") as file:
        file.write(f"{Path(volumes).parent.name} {wanted['min_piece_ml']:g} {wanted['model']}\n")
    if wanted["model"] == "memory":
        raise MemoryError
    if wanted["model"] == "gpu":
        raise OutOfMemoryError("CUDA out of memory.")
    if wanted["model"] == "picky":
        raise UsageError(f"There is no structure named {wanted['structures'][0]}.", "Choose another.")
    if wanted["model"] == "faulty":
        raise ZeroDivisionError
    if (HERE / "full").exists():
        with atomic_path(Path(output) / "result.gz"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if wanted["model"] == "killed":
        psutil.Process().kill()
    if wanted["model"] == "odd":
        return handlers._write({"not": "a result"}, Path(output))
    step = 0
    gated = wanted["model"] == "gated" or _starts() > _most_before_the_gate()
    while gated and not (HERE / "gate").exists():
        step += 1
        job.progress("inference", min(0.9, step / 1000), f"window {step}")
        if job.cancel():
            raise Cancelled
        time.sleep(0.02)
    volume = handlers._volume(Path(volumes), wanted["volume"], wanted["modality"])
    labels = (volume.array > 300).astype(np.uint8)
    result = Result(LabelMap(labels, volume.ijk_to_ras, [Structure(1, "bone", "Bone")]), {"bone": 1.0})
    result.warnings.append(f"The volume was seen by {device}.")
    if (HERE / "digest").exists():
        result.provenance["model"] = {"id": wanted["model"], "digest": (HERE / "digest").read_text()}
    handlers._write(result, Path(output))


HANDLERS = {"run": run}
