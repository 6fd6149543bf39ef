"""A cohort on a cluster: distributes cases, collects outcomes, writes the tables."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from ..results.folder import check_output_folder
from ..util.atomic_write import atomic_path
from ..util.errors import Cancelled, DeepSegError, OutputError, ResourceError, UsageError
from ..util.openmp import openmp_settings
from ..util.progress import Cancel, never_cancel
from ..util.staging import staging_folder
from ..util.tables import read_table, write_table
from ..util.version import how_to_install
from .case import Outcome, Settings, failed, segment_case
from .cases import Case

if TYPE_CHECKING:
    from distributed import Client, Future

_POLL_S = 0.2
_CONNECT_S = 20
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # Dask itself sets these to 1


def run_cohort(
    cases: Sequence[Case],
    settings: Settings,
    *,
    workers: int = 0,
    scheduler: str = "",
    cancel: Cancel = never_cancel,
) -> Iterator[Outcome]:
    """Segment the cases and yield their outcomes in the order in which they end.

    Each case gets a folder of results with its name. A case with complete results of the same input, model and
    settings is kept. A failed case does not stop the others. At the end, ``cohort.csv`` lists the outcomes and
    ``measurements.csv`` the measurements of all cases.

    Args:
        workers: processes on this machine; 0 for one per GPU, or one. Each needs the memory of a run.
        scheduler: address of a running Dask scheduler, whose workers have DeepSeg, the model and the same paths;
            empty for a cluster on this machine, which listens locally only, over TLS with its own keys.
        cancel: polled; once it returns True, running cases stop and the others do not start.

    Raises:
        UsageError: both ``workers`` and ``scheduler``.
        OutputError: the folder of results cannot be written, or was deleted during the run.
        ResourceError: ``distributed`` is not installed, or there is no scheduler at that address.
    """
    check_output_folder(settings.output)
    outcomes: dict[Case, Outcome] = {}
    try:
        with _client(scheduler, workers) as client, _stop_file(settings.output) as stop:
            for outcome in _ended(client, cases, settings, stop, cancel):
                outcomes[outcome.case] = outcome
                yield outcome
    finally:
        if outcomes:
            _write_tables(settings.output, [outcomes[case] for case in cases if case in outcomes])


def _ended(client: Client, cases: Sequence[Case], settings: Settings, stop: Path, cancel: Cancel) -> Iterator[Outcome]:
    from distributed import as_completed

    run = uuid4().hex  # else Dask would reuse an equal, failed case of an earlier run
    futures = {
        client.submit(segment_case, case, settings, stop, key=f"{case.name}-{run}", pure=False): case for case in cases
    }
    waiting = as_completed(futures)
    while not waiting.is_empty():
        if cancel():
            with suppress(OSError):
                stop.touch()
            if not client.nthreads():  # no worker is left to see it
                yield from (failed(case, Cancelled()) for case in futures.values())
                return
        for future in waiting.next_batch(block=False):
            case = futures.pop(future)
            yield future.result() if future.status == "finished" else failed(case, _lost(future))
            future.release()
        time.sleep(_POLL_S)


def _lost(future: Future[Outcome]) -> DeepSegError:
    """Why a case has no outcome, for example because its worker ran out of memory."""
    if future.status == "cancelled":
        return Cancelled("The scheduler cancelled the case.")
    return ResourceError(
        f"The worker process crashed ({future.exception()}).",
        "Use fewer workers, a coarser model or a machine with more memory.",
        code="resource.worker_died",
    )


def _client(scheduler: str, workers: int) -> AbstractContextManager[Client]:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ResourceError(
            "Cohorts need the package distributed, which is not installed.",
            how_to_install("cohort"),
            code="resource.package",
        ) from error
    if scheduler and workers:
        raise UsageError(
            "Both workers and a scheduler are given.",
            "Give one of them: a scheduler has its own workers.",
            code="usage.workers",
        )
    return _connected(scheduler) if scheduler else _local_cluster(workers or _gpus() or 1)


def _connected(scheduler: str) -> Client:
    from distributed import Client

    try:
        return Client(scheduler, timeout=_CONNECT_S)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ResourceError(
            f"No Dask scheduler answers at {scheduler} ({error}).",
            "Check the address, the network, and that both sides have the same version of Dask.",
            code="resource.scheduler",
        ) from error


@contextmanager
def _local_cluster(workers: int) -> Iterator[Client]:
    import dask
    from distributed import Client, LocalCluster

    # No web pages, since case names may be patient names. Each worker gets one case at a time, with none queued.
    settings: dict[str, object] = {f"distributed.{side}.http.routes": [] for side in ("scheduler", "worker")}
    settings |= {"distributed.scheduler.worker-saturation": 1.0, "distributed.scheduler.allowed-failures": 1}
    with dask.config.set(settings), _environment_restored():
        with _interrupts_blocked():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                security=True,
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                memory_limit=0,  # DeepSeg plans its own memory
                env=_environment(workers),
                silence_logs="ERROR",
            )
        with cluster, Client(cluster) as client:
            yield client


def _environment(workers: int) -> dict[str, str]:
    """Of each worker, which gets its share of the cores."""
    settings = openmp_settings()
    cores = int(settings.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    return settings | dict.fromkeys(_THREADS, str(max(1, cores // workers)))


@contextmanager
def _environment_restored() -> Iterator[None]:
    """Undo what Dask sets in this process's environment for its workers, such as the number of threads."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in threads started in the ``with`` block, and in their child processes.

    A terminal sends it to the workers, too, which must end their case in order.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # else the first process starts it, which removes the block
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


@contextmanager
def _stop_file(folder: Path) -> Iterator[Path]:
    """A file whose existence tells the workers to stop: wherever they run, they see this folder."""
    with staging_folder(folder) as own:
        yield own / "stop"


def _write_tables(folder: Path, outcomes: list[Outcome]) -> None:
    columns = ["case", "input", "status", "seconds", "warnings", "code", "message", "remedy"]
    told = [o.as_json() | {"warnings": " ".join(o.warnings)} for o in outcomes]
    with atomic_path(folder / "cohort.csv") as path:
        write_table(path, columns, ([row[column] for column in columns] for row in told))
    header: list[str] = []
    rows: list[list[str]] = []
    gone: list[str] = []
    for name in (o.case.name for o in outcomes if o.status in ("done", "kept")):
        try:
            found, own = read_table(folder / name / "measurements.csv")
            header = max(header, found, key=len)  # cases kept from earlier versions have fewer columns
            rows += [[name, *row] for row in own]
        except (OSError, ValueError):
            gone.append(name)
    with atomic_path(folder / "measurements.csv") as path:
        write_table(path, ["case", *header], (row + [""] * (1 + len(header) - len(row)) for row in rows))
    if gone:
        raise OutputError(
            f"Results in {folder} were deleted or changed during the run: those of {', '.join(gone)}.",
            "Start the run again: complete cases are kept.",
            code="output.gone",
        )
