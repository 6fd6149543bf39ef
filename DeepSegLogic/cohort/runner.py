"""A cohort on an engine: distributes cases, collects outcomes, writes the tables."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..util.errors import Cancelled
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from .case import Outcome, Settings, failed
from .cases import Case
from .engines import engine_for
from .signals import Signals, signals_in
from .tables import write_tables

_TELL_S, _WAIT_S = 0.5, 20.0


def run_cohort(
    cases: Sequence[Case],
    settings: Settings,
    *,
    workers: int = 0,
    scheduler: str = "",
    engine: str = "dask",
    part: str = "",
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> Iterator[Outcome]:
    """Segment the cases and yield their outcomes in the order in which they end.

    Each case gets a folder of results with its name. A case with complete results of the same input, model and
    settings is kept. A failed case does not stop the others. At the end, ``cohort.csv`` lists the outcomes and
    ``measurements.csv`` the measurements of all cases; ``measurements-partial.csv`` takes its place if cases were not
    finished.

    Args:
        workers: processes on this machine; 0 for one per GPU, or one. Each needs the memory of a run.
        scheduler: address of a running scheduler, whose workers have DeepSeg, the model and the same paths; empty for
            this machine. Dask's listens locally only, over TLS with its own keys. For the engine ``"servers"``: the
            URLs of saved servers, separated by commas.
        engine: one of :data:`~DeepSegLogic.cohort.engines.ENGINES`.
        part: appended to the names of the two tables, for a part of a cohort.
        progress: told of running cases, too.
        cancel: polled; once it returns True, running cases stop and the others do not start.

    Raises:
        UsageError: both ``workers`` and ``scheduler``, or an unknown engine.
        OutputError: the folder of results cannot be written, or was deleted during the run.
        ResourceError: a package of the engine is not installed, or there is no scheduler at that address.
    """
    run = engine_for(engine)
    cases = [replace(case, source=case.source.absolute()) for case in cases]  # workers may run in other folders
    settings = replace(settings, output=settings.output.absolute())
    outcomes: dict[Case, Outcome] = {}
    try:
        with signals_in(settings.output) as signals:
            told = busy = time.monotonic()

            def told_and_cancelled() -> bool:
                nonlocal told, busy
                now = time.monotonic()
                if now - told > _TELL_S:
                    told, running = now, _named(signals)
                    busy = now if running else busy
                    if running or now - busy > _WAIT_S:  # for ever, if a scheduler has no workers
                        progress("cohort", len(outcomes) / len(cases), running or "waiting for workers")
                return cancel()

            for outcome in run(cases, settings, signals, workers, scheduler, told_and_cancelled):
                outcomes[outcome.case] = outcome
                yield outcome
    finally:
        if outcomes:
            write_tables(settings.output, [outcomes.get(case) or failed(case, Cancelled()) for case in cases], part)


def _named(signals: Signals) -> str:
    """The cases that run."""
    return ", ".join(f"{name}: {stage} {fraction:.0%}" for name, stage, fraction in signals.told())
