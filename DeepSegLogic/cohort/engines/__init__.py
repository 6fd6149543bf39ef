"""What a cohort runs on: one file per engine, one line each in the table below.

An engine is a function :data:`Engine`. It gives each case to :func:`~DeepSegLogic.cohort.case.segment_case` on some
worker and yields the outcomes in the order in which they end; when ``cancel`` says so, it calls ``signals.stop()`` and
yields the rest as cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module

from ...util.errors import UsageError
from ...util.progress import Cancel
from ..case import Outcome, Settings
from ..cases import Case
from ..signals import Signals

Engine = Callable[[Sequence[Case], Settings, Signals, int, str, Cancel], Iterator[Outcome]]
"""``engine(cases, settings, signals, workers, address, cancel)``: either a number of ``workers`` on this machine, or
the ``address`` of a scheduler, or of servers, that have their own. It polls ``cancel`` often."""

ENGINES = {"dask": "on_dask", "spark": "on_spark", "servers": "on_servers"}


def engine_for(name: str) -> Engine:
    """The engine of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in ENGINES:
        raise UsageError(f"There is no engine {name!r}.", f"Choose one of {', '.join(ENGINES)}.", code="usage.engine")
    engine: Engine = import_module(f".{ENGINES[name]}", __name__).run
    return engine


def check_one(workers: int, address: str) -> None:
    """Raise :class:`UsageError` if both are given."""
    if address and workers:
        raise UsageError(
            "Both workers and a scheduler are given.",
            "Give one of them: a scheduler has its own workers.",
            code="usage.workers",
        )
