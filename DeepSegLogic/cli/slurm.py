"""A cohort as an array job of Slurm."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..util.atomic_write import atomic_path
from ..util.errors import ResourceError, UsageError
from ..util.words import counted

SCRIPT = "cohort.sbatch"
_MOST = 100  # tasks, unless asked for more; Slurm's own limit is 1001 by default
_RUN = "from DeepSegLogic.cli import run; run()"


def part_of(text: str) -> slice:
    """The cases of a part such as ``"3/10"``, the third of ten: every tenth case, so that parts are alike.

    Raises:
        UsageError: it is not of that form.
    """
    first, _, parts = text.partition("/")
    if not (first.isdecimal() and parts.isdecimal() and 1 <= int(first) <= int(parts)):
        raise UsageError(f"There is no part {text!r}.", "Write it as 3/10, the third of ten.", code="usage.part")
    return slice(int(first) - 1, None, int(parts))


def array_script(arguments: Sequence[str], output: Path, count: int, tasks: int = 0, gpu: bool = False) -> str:
    """A script for ``sbatch``: an array job whose tasks share the cases.

    Args:
        arguments: of ``deepseg``, with absolute paths, without ``--part``.
        output: folder of results; for the logs, too.
        count: of cases.
        tasks: of the array; 0 for one per case, at most 100.
        gpu: ask for one GPU per task.

    Raises:
        UsageError: Slurm cannot write its logs to a folder of that name.
    """
    if {"\\", "\n"} & set(str(output)):
        raise UsageError(
            f"Slurm cannot write its logs to {str(output)!r}.",
            "Choose a folder without a backslash or line break in its path.",
            code="usage.folder",
        )
    parts = min(tasks or _MOST, count)
    folder = str(output).replace("%", "%%")  # else Slurm takes a % as the start of a pattern
    command = shlex.join([sys.executable, "-c", _RUN, *arguments])
    lines = [
        "#!/bin/bash",
        "#SBATCH --job-name=deepseg",
        f"#SBATCH --array=1-{parts}",
        f"#SBATCH --output={shlex.quote(folder + '/slurm-%A_%a.log')}",
        *(["#SBATCH --gpus-per-task=1", "#SBATCH --ntasks=1"] if gpu else ["#SBATCH --ntasks=1"]),
        "# Add what your cluster asks for: --partition, --account, --time, --mem, --cpus-per-task.",
        f"# {counted(count, 'case')}. Once all tasks have ended, run the same command without --engine:",
        "# it keeps what is done, repeats what failed, and writes the tables of all cases.",
        'export OMP_NUM_THREADS="${SLURM_CPUS_ON_NODE:-1}"',
        f'exec {command} --part "$SLURM_ARRAY_TASK_ID/{parts}"',
    ]
    return "\n".join(lines) + "\n"


def submit(script: str, output: Path) -> str:
    """Write the script to the folder of results and submit it; returns what ``sbatch`` says.

    Raises:
        OutputError: it cannot be written.
        ResourceError: there is no ``sbatch``, or it refuses the job.
    """
    path = output / SCRIPT
    with atomic_path(path) as temporary:
        temporary.write_text(script, "utf-8")
    try:
        done = subprocess.run(["sbatch", str(path)], capture_output=True, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ResourceError(
            f"Slurm's sbatch cannot be run here ({error.strerror}).",
            f"Submit {path} on a machine of the cluster, or print it with --dry-run.",
            code="resource.slurm",
        ) from error
    if done.returncode:
        raise ResourceError(
            f"Slurm refused the job: {done.stderr.strip()[:300]}",
            f"Mend {path} and submit it with sbatch.",
            code="resource.slurm",
        )
    return done.stdout.strip()
