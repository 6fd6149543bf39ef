"""A cohort on Dask: a cluster on this machine, or the institute's."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from ...util.errors import Cancelled, DeepSegError, ResourceError
from ...util.openmp import openmp_settings, usable_cores
from ...util.progress import Cancel
from ...util.restored import environment_restored
from ...util.version import how_to_install
from ..case import Outcome, Settings, failed, segment_case
from ..cases import Case
from ..signals import Signals
from . import check_one

if TYPE_CHECKING:
    from distributed import Client, Future

_POLL_S = 0.2
_CONNECT_S = 20
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # Dask itself sets these to 1


def run(
    cases: Sequence[Case], settings: Settings, signals: Signals, workers: int, address: str, cancel: Cancel
) -> Iterator[Outcome]:
    """See :data:`~DeepSegLogic.cohort.engines.Engine`.

    Raises:
        UsageError: both ``workers`` and ``address``.
        ResourceError: ``distributed`` is not installed, or there is no scheduler at that address, or it is lost.
    """
    with _client(address, workers) as client:
        yield from _ended(client, cases, settings, signals, cancel)


def _ended(
    client: Client, cases: Sequence[Case], settings: Settings, signals: Signals, cancel: Cancel
) -> Iterator[Outcome]:
    from distributed import as_completed

    run = uuid4().hex  # else Dask would reuse an equal, failed case of an earlier run
    futures = {
        client.submit(_on_worker, case, settings, signals, number, key=f"{case.name}-{run}", pure=False): case
        for number, case in enumerate(cases)
    }
    waiting = as_completed(futures)
    while not waiting.is_empty():
        if cancel():
            signals.stop()
            if not client.nthreads():  # no worker is left to see it
                yield from (failed(case, Cancelled()) for case in futures.values())
                return
        for future in waiting.next_batch(block=False):
            case = futures.pop(future)
            if future.status == "cancelled" and client.status != "running":
                raise ResourceError(
                    "The connection to the Dask scheduler was lost.",
                    "Start it again, then run the same command again: it keeps the cases that are done.",
                    code="resource.scheduler",
                )
            yield future.result() if future.status == "finished" else failed(case, _lost(future))
            future.release()
        time.sleep(_POLL_S)


def _on_worker(case: Case, settings: Settings, signals: Signals, number: int) -> Outcome:
    return segment_case(case, replace(settings, device=_device(settings.device)), signals, number)


def _device(asked: str) -> str:
    """The device; with several GPUs, the worker's own: workers of a local cluster are numbered."""
    import torch
    from distributed import get_worker

    name, gpus = get_worker().name, torch.cuda.device_count()
    return f"cuda:{name % gpus}" if isinstance(name, int) and gpus > 1 and asked in ("auto", "cuda") else asked


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
    check_one(workers, scheduler)
    return _connected(scheduler) if scheduler else _local_cluster(workers or _gpus() or 1)


@contextmanager
def _connected(scheduler: str) -> Iterator[Client]:
    from distributed import Client
    from distributed.utils import silence_logging_cmgr

    try:
        client = Client(scheduler, timeout=_CONNECT_S)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise ResourceError(
            f"No Dask scheduler answers at {scheduler} ({error}).",
            "Check the address, the network, and that both sides have the same version of Dask. For tls:// addresses, "
            "Dask's settings (distributed.comm.tls) must name the certificates.",
            code="resource.scheduler",
        ) from error
    with silence_logging_cmgr(logging.CRITICAL), client:  # it logs tracebacks where we tell a sentence
        yield client


@contextmanager
def _local_cluster(workers: int) -> Iterator[Client]:
    import dask
    from distributed import Client, LocalCluster

    # No web pages, since case names may be patient names. Each worker gets one case at a time, with none queued.
    settings: dict[str, object] = {f"distributed.{side}.http.routes": [] for side in ("scheduler", "worker")}
    settings |= {"distributed.scheduler.worker-saturation": 1.0, "distributed.scheduler.allowed-failures": 1}
    given = dask.config.get("distributed.worker.preload")
    settings["distributed.worker.preload"] = [*([given] if isinstance(given, str) else given), __name__]
    with dask.config.set(settings), environment_restored():
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
    """Of each worker, which gets its share of the cores, or of the threads that the environment allows."""
    threads = os.environ.get("OMP_NUM_THREADS", "")
    cores = int(threads) if threads.isdecimal() else usable_cores()
    return openmp_settings() | dict.fromkeys(_THREADS, str(max(1, cores // workers)))


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in threads started in the ``with`` block, and in their child processes.

    A terminal sends it to the workers, too, which must end their case in order. On Windows, where nothing is blocked,
    :func:`dask_setup` does it a little later.
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


def dask_setup(_worker: object) -> None:
    """Ignore Ctrl-C in a worker on this machine. Dask calls this there, as this module is preloaded."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
