"""A cohort on Apache Spark, for institutes that run it (pip extra ``spark``; Java is needed, too)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...util.errors import Cancelled, ResourceError, first_line
from ...util.openmp import openmp_settings
from ...util.progress import Cancel
from ...util.restored import environment_restored
from ...util.version import how_to_install
from ..case import Outcome, Settings, failed, segment_case
from ..cases import Case
from ..signals import Signals
from . import check_one

if TYPE_CHECKING:
    from pyspark import SparkConf, SparkContext

_POLL_S = 0.2
_CONNECT_S = 3.0
_ANSWER_S = 1.0
_STREAM_REQUEST, _STREAM_FAILURE = 6, 8  # kinds of frames
_NO_FILE = b"/jars/\r\n\r\n"  # web servers answer after an empty line
_TLS_ALERT = b"\x15"
_OTHER = "what listens there is no Spark master"
_QUEUED = 2  # cases per slot that Spark knows of, so that none waits for the driver
LOG = "spark.log"
"""What Spark's Java process says, in the folder of results."""


def run(
    cases: Sequence[Case], settings: Settings, signals: Signals, workers: int, address: str, cancel: Cancel
) -> Iterator[Outcome]:
    """See :data:`~DeepSegLogic.cohort.engines.Engine`; ``address`` is Spark's master URL.

    Each case is a job of its own, since a job ends with its first task that fails for good.

    Raises:
        UsageError: both ``workers`` and ``address``.
        ResourceError: PySpark or Java is not installed, or there is no master at that address.
    """
    check_one(workers, address)
    master = address or f"local[{workers or 1}]"
    _must_answer(master)
    with _context(master, settings.output / LOG) as context:
        slots = max(1, int(context.defaultParallelism))
        with ThreadPoolExecutor(_QUEUED * slots) as pool:
            waiting: dict[Future[Outcome], Case] = {
                pool.submit(_job, context, case, settings, signals, number): case for number, case in enumerate(cases)
            }
            while waiting:
                ended, _ = wait(waiting, _POLL_S, FIRST_COMPLETED)
                cancelled = cancel()
                if cancelled:
                    _stop(context, signals, waiting)
                elif any(future.exception() for future in ended) and _has_stopped(context):
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise _gone(f"Spark has stopped: no master answers at {master}, or its Java process crashed.")
                for future in ended:
                    yield _outcome(future, waiting.pop(future), cancelled)


def _must_answer(master: str) -> None:
    """Check that a Spark listens at a ``spark://`` master: Spark tries for more than a minute, also at others."""
    if not master.startswith("spark://"):
        return
    places, end = master.removeprefix("spark://").split(","), time.monotonic() + _CONNECT_S
    while all(reasons := [_why_unreachable(place) for place in places]):
        if time.monotonic() > end or {*reasons} == {_OTHER}:  # where nothing listens, it may be starting
            raise ResourceError(
                f"No Spark master answers at {master} ({'; '.join(reasons)}).",
                "Start the master, or check its address, which its web page shows, and the network.",
                code="resource.scheduler",
            )
        time.sleep(_POLL_S)


def _why_unreachable(place: str) -> str:
    """Why no Spark listens at ``host:port``; empty if one may, or if Spark refuses the address at once."""
    try:
        parts = urlsplit(f"//{place}")
        if parts.hostname and parts.port:
            with socket.create_connection((parts.hostname, parts.port), _CONNECT_S) as connection:
                return "" if _may_be_spark(connection) else _OTHER
        return ""
    except (OSError, ValueError) as error:  # ValueError: of a port or a name that cannot exist
        return getattr(error, "strerror", None) or str(error)


def _may_be_spark(connection: socket.socket) -> bool:
    """Whether what listens answers as Spark does, or not at all.

    It is asked for a file that no Spark offers, in a frame of Spark's protocol: length, kind, length of the name, name.
    """
    connection.settimeout(_ANSWER_S)
    try:
        connection.sendall(struct.pack(">qbi", 13 + len(_NO_FILE), _STREAM_REQUEST, len(_NO_FILE)) + _NO_FILE)
        said = connection.makefile("rb").read(9)
    except OSError:  # silent, or it hangs up
        return True
    return not said or said[8:] == bytes([_STREAM_FAILURE]) or said[:1] == _TLS_ALERT  # which Spark 4 may want


def _stop(context: SparkContext, signals: Signals, waiting: Iterable[Future[Outcome]]) -> None:
    signals.stop()  # running cases see it
    for future in waiting:
        future.cancel()
    if _has_stopped(context):
        return
    tracker = context.statusTracker()
    stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
    if not any(stage and stage.numActiveTasks for stage in stages):
        context.cancelAllJobs()  # no executor has them, as with a busy cluster


def _has_stopped(context: SparkContext) -> bool:
    try:
        return bool(context._jsc.sc().isStopped())
    except Exception:  # py4j's: the Java process is gone
        return True


def _job(context: SparkContext, case: Case, settings: Settings, signals: Signals, number: int) -> Outcome:
    one = context.parallelize([case], 1)
    found: list[Outcome] = one.map(lambda c: _on_executor(c, settings, signals, number)).collect()
    return found[0]


def _on_executor(case: Case, settings: Settings, signals: Signals, number: int) -> Outcome:
    from pyspark import TaskContext

    task = TaskContext.get()
    gpus = task.resources().get("gpu") if task is not None else None
    if gpus is not None and settings.device in ("auto", "cuda"):
        settings = replace(settings, device=f"cuda:{gpus.addresses[0]}")
    return segment_case(case, settings, signals, number)


def _outcome(future: Future[Outcome], case: Case, cancelled: bool) -> Outcome:
    error = None if future.cancelled() else future.exception()
    if future.cancelled() or (cancelled and error):
        return failed(case, Cancelled())
    if error is None:
        return future.result()
    reason = next((line for line in str(error).splitlines() if "xecutor" in line or "Exception" in line), str(error))
    lost = ResourceError(
        f"The worker process crashed ({reason.strip()[:300]}).",
        "Use fewer workers, a coarser model or a machine with more memory.",
        code="resource.worker_died",
    )
    return failed(case, lost)


@contextmanager
def _context(master: str, log: Path) -> Iterator[SparkContext]:
    try:
        from pyspark import SparkConf
    except ImportError as error:
        raise ResourceError(
            "Spark needs the package pyspark, which is not installed.", how_to_install("spark"), code="resource.package"
        ) from error
    if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        raise ResourceError(
            "Spark needs Java, which was not found.",
            "Install Java 17 or 21, or set JAVA_HOME.",
            code="resource.package",
        )
    conf = SparkConf().setMaster(master).setAppName("DeepSeg cohort")
    ours = {
        "spark.ui.enabled": "false",  # its pages show names of cases, which may be those of patients
        "spark.ui.showConsoleProgress": "false",
        "spark.task.maxFailures": "2",
        "spark.python.worker.reuse": "true",  # keeps the model loaded
        "spark.executor.processTreeMetrics.enabled": "false",
    }
    ours |= {f"spark.executorEnv.{name}": value for name, value in openmp_settings().items()}
    if master.startswith("local"):
        ours |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    for name, value in ours.items():
        conf.setIfMissing(name, value)
    with environment_restored():
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # which executors run
        try:
            context = _started(conf, log)
        except Exception as error:
            raise _gone(f"No Spark master answers at {master} ({first_line(error)[:300]}).") from error
        context.setLogLevel("ERROR")
        try:
            yield context
        finally:
            with suppress(OSError):  # its Java process is gone
                context.stop()


def _started(conf: SparkConf, log: Path) -> SparkContext:
    """A context whose Java process writes to ``log``: a terminal has the progress of the cohort."""
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    interrupt = signal.getsignal(signal.SIGINT)
    try:
        if SparkContext._gateway is not None:  # its Java process lives as long as this one
            return SparkContext(conf=conf)
        with log.open("ab") as file:
            return SparkContext(conf=conf, gateway=launch_gateway(conf, {"stdout": file, "stderr": file}))
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)  # Spark's own ends the program before the tables are written


def _gone(sentence: str) -> ResourceError:
    return ResourceError(
        sentence,
        f"Check the address, the network, and that both sides have the same version of Spark. {LOG} in the folder of "
        "results has what Spark says.",
        code="resource.scheduler",
    )
