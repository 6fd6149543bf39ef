"""A cohort on a cluster: cases out to the workers, outcomes back, tables at the end."""

from __future__ import annotations

import csv
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from ..errors import Cancelled, DeepSegError, ResourceError, UsageError
from ..io.atomic import atomic_path
from ..outputs import check_output_folder
from ..progress import Cancel, never_cancel
from .case import Outcome, Settings, failed, segment_case
from .cases import Case

_POLL_S = 0.2
_CONNECT_S = 20
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # dask's own choice is one


def run_cohort(
    cases: Sequence[Case],
    settings: Settings,
    *,
    workers: int = 0,
    scheduler: str = "",
    cancel: Cancel = never_cancel,
) -> Iterator[Outcome]:
    """Segment the cases; outcomes come in the order in which cases end.

    Each case is as ``deepseg segment`` makes it, in a folder of its name. A case whose results are there already, of
    the same input, model and settings, is kept; one that fails stops no other. At the end ``cohort.csv`` says what
    became of each, and ``measurements.csv`` holds the measurements of all.

    Args:
        workers: processes on this machine; 0 for one per GPU, or one. Each takes the memory of a run.
        scheduler: address of a running ``dask`` scheduler, whose workers have DeepSeg, the model and the same paths;
            empty for a cluster on this machine, reachable from it only and by TLS with keys of its own.
        cancel: asked all the time; once it says so, running cases stop and the others do not begin.

    Raises:
        UsageError: settings that cannot be.
        OutputError: the folder of results cannot be written.
        ResourceError: ``distributed`` is not installed, or there is no scheduler at that address.
    """
    check_output_folder(settings.output)
    outcomes = {}
    try:
        with _client(scheduler, workers) as client, _stop_file(settings.output) as stop:
            for outcome in _ended(client, cases, settings, stop, cancel):
                outcomes[outcome.case] = outcome
                yield outcome
    finally:
        if outcomes:
            _write_tables(settings.output, [outcomes[case] for case in cases if case in outcomes])


def _ended(client, cases: Sequence[Case], settings: Settings, stop: Path, cancel: Cancel) -> Iterator[Outcome]:
    from distributed import as_completed

    run = uuid4().hex  # else dask would take an equal case of an earlier run, which failed, for the same
    futures = {
        client.submit(segment_case, case, settings, stop, key=f"{case.name}-{run}", pure=False): case for case in cases
    }
    waiting = as_completed(futures)
    while not waiting.is_empty():
        if cancel():
            with suppress(OSError):
                stop.touch()
            if not client.nthreads():  # no worker is left that could see it
                yield from (failed(case, Cancelled()) for case in futures.values())
                return
        for future in waiting.next_batch(block=False):
            case = futures.pop(future)
            yield future.result() if future.status == "finished" else failed(case, _lost(future))
            future.release()
        time.sleep(_POLL_S)


def _lost(future) -> DeepSegError:
    """Why a case gave no outcome: its worker died, as when the system is out of memory."""
    if future.status == "cancelled":
        return Cancelled("The scheduler gave it up.")
    return ResourceError(
        f"The worker died of it ({future.exception()}).",
        "Use fewer workers, a coarser model or a machine with more memory.",
        code="resource.worker_died",
    )


def _client(scheduler: str, workers: int) -> AbstractContextManager:
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise ResourceError(
            "Cohorts need the package distributed, which is not installed.",
            'Install it with `pip install "deepseg[cohort]"`.',
            code="resource.package",
        ) from error
    if scheduler and workers:
        raise UsageError(
            "Both workers and a scheduler are given.", "A scheduler has its own workers.", code="usage.workers"
        )
    return _connected(scheduler) if scheduler else _local_cluster(workers or _gpus() or 1)


def _connected(scheduler: str):
    from distributed import Client

    try:
        return Client(scheduler, timeout=_CONNECT_S)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ResourceError(
            f"No dask scheduler answers at {scheduler} ({error}).",
            "Check the address, the network, and the versions of dask on both sides.",
            code="resource.scheduler",
        ) from error


@contextmanager
def _local_cluster(workers: int) -> Iterator:
    import dask
    from distributed import Client, LocalCluster

    # No pages, for names of cases may be those of patients; and one case at a time in each worker, none in reserve.
    settings = {f"distributed.{side}.http.routes": [] for side in ("scheduler", "worker")}
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
                memory_limit=0,  # runs plan their memory themselves
                env=dict.fromkeys(_THREADS, str(max(1, (os.cpu_count() or 1) // workers))),
                silence_logs="ERROR",
            )
        with cluster, Client(cluster) as client:
            yield client


@contextmanager
def _environment_restored() -> Iterator[None]:
    """Dask sets variables for its workers in our environment, such as the number of threads, and leaves them there."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Threads that are started meanwhile, and the processes that those start, are never told of Ctrl-C.

    A terminal sends it to workers, too, which must end their case instead of dying.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # else it starts with the first process, and lifts the block
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
    """A file that tells workers to stop once it exists: they may be anywhere, but they see this folder."""
    stop = folder / f".stop-{uuid4().hex}"
    try:
        yield stop
    finally:
        stop.unlink(missing_ok=True)


def _write_tables(folder: Path, outcomes: list[Outcome]) -> None:
    with atomic_path(folder / "cohort.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        columns = ["case", "input", "status", "seconds", "warnings", "code", "message", "remedy"]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(o.as_json() | {"warnings": " ".join(o.warnings)} for o in outcomes)
    finished = [o.case.name for o in outcomes if o.status in ("done", "kept")]
    with atomic_path(folder / "measurements.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for number, name in enumerate(finished):
            with (folder / name / "measurements.csv").open(newline="", encoding="utf-8") as own:
                header, *rows = csv.reader(own)
            if number == 0:
                writer.writerow(["case", *header])
            writer.writerows([name, *row] for row in rows)
