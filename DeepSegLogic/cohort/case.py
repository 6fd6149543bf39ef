"""One volume of a cohort, as a worker of the cluster segments it."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from ..errors import Cancelled, DeepSegError
from ..models import Model, find_model, load_model
from ..progress import Cancel, check, ignore_progress
from .cases import Case

log = logging.getLogger(__name__)
_LOOK_S = 0.5
_one_at_a_time = threading.Lock()  # a worker with several threads has no more memory or GPUs than with one


@dataclass(frozen=True)
class Settings:
    """What is asked of every case; see :func:`DeepSegLogic.pipeline.segment`.

    Attributes:
        output: folder of the results; each case has a folder below it.
        model: an id or folder, the same on each worker.
        surfaces: formats.
    """

    output: Path
    model: str
    structures: list[str] | None = None
    device: str = "auto"
    quality: str = "standard"
    surfaces: list[str] = field(default_factory=list)
    uncertainty: bool = False
    force: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        status: ``"done"``; ``"kept"``, where an earlier run had done the same; ``"failed"`` or ``"cancelled"``.
        seconds: that it took.
        warnings: of the run, one sentence each.
        code, message, remedy: of the error, as :class:`~DeepSegLogic.errors.DeepSegError` has them.
    """

    case: Case
    status: str
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    code: str = ""
    message: str = ""
    remedy: str = ""

    @property
    def sentences(self) -> list[str]:
        """What there is to say: the warnings, or the error of a case that failed."""
        return [f"{self.message} {self.remedy}".strip()] if self.status == "failed" else self.warnings

    def as_json(self) -> dict:
        """The outcome as plain JSON values, ``case`` by name, with the ``input``'s path."""
        return asdict(self) | {"case": self.case.name, "input": str(self.case.source)}


def segment_case(case: Case, settings: Settings, stop: Path) -> Outcome:
    """Segment a case and write its results, unless they are there; no error leaves it.

    Args:
        stop: once this file exists, the work ends as soon as it can.
    """
    started = time.monotonic()
    try:
        with _one_at_a_time:
            outcome = _segmented(case, settings, _exists(stop))
    except Exception as error:
        outcome = failed(case, error)
    return replace(outcome, seconds=round(time.monotonic() - started, 1))


def failed(case: Case, error: Exception) -> Outcome:
    """The outcome of a case that ended with an error."""
    if isinstance(error, Cancelled):
        return Outcome(case, "cancelled", message=error.message)
    if isinstance(error, DeepSegError):
        return Outcome(case, "failed", code=error.code, message=error.message, remedy=error.remedy)
    log.error("%s failed", case.source, exc_info=error)
    what = f"{type(error).__name__}: {error}"
    return Outcome(case, "failed", code="internal", message=what, remedy="Please report this with the worker's log.")


def _segmented(case: Case, settings: Settings, cancel: Cancel) -> Outcome:
    from ..io import read_volume
    from ..outputs import write_outputs
    from ..pipeline import segment

    check(cancel)
    model, digest = _loaded(settings.model)
    options = {n: getattr(settings, n) for n in ("structures", "quality", "uncertainty")}
    request = {"model": digest, **options, "surfaces": settings.surfaces}
    folder = settings.output / case.name
    warnings = _warnings_of_finished(folder, case.source, request)
    if warnings is not None:
        return Outcome(case, "kept", warnings=warnings)
    volume = read_volume(case.source)
    result = segment(volume, model, device=_device(settings.device), force=settings.force, cancel=cancel, **options)
    result.provenance["request"] = request
    formats = settings.surfaces
    write_outputs(folder, volume, result, source=case.source, formats=formats, progress=ignore_progress, cancel=cancel)
    return Outcome(case, "done", warnings=result.warnings)


def _warnings_of_finished(folder: Path, source: Path, request: dict) -> list[str] | None:
    """The warnings of results that answer this request for this very input; None where there are none."""
    from ..outputs import identity

    try:
        facts = json.loads((folder / "provenance.json").read_text("utf-8"))
        finished = facts["request"] == request and facts["input"] == identity(source)
        return [str(w) for w in facts["warnings"]] if finished else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


@lru_cache(maxsize=1)
def _loaded(name: str) -> tuple[Model, str]:
    """A model, which stays for the next case, and its digest."""
    from ..provenance import digest_of

    card = find_model(name)
    return load_model(card), digest_of(card)


def _device(asked: str) -> str:
    """On a machine with several GPUs, the worker's own: workers of a local cluster are numbered."""
    import torch
    from distributed import get_worker

    name, gpus = get_worker().name, torch.cuda.device_count()
    return f"cuda:{name % gpus}" if isinstance(name, int) and gpus > 1 and asked in ("auto", "cuda") else asked


def _exists(stop: Path) -> Cancel:
    """Looks for the file now and then: it may lie on a slow share."""
    seen, looked = False, 0.0

    def look() -> bool:
        nonlocal seen, looked
        if not seen and time.monotonic() - looked > _LOOK_S:
            seen, looked = stop.exists(), time.monotonic()
        return seen

    return look
