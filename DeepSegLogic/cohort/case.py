"""One case of a cohort: on a worker of the cluster, or by way of a server."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.volume import Volume
from ..models import Model, ModelCard, find_model, load_model
from ..util.errors import Action, Cancelled, DeepSegError, ModelError
from ..util.progress import Cancel, Progress, check
from .cases import Case
from .signals import Signals

if TYPE_CHECKING:
    from ..data.label_map import LabelMap
    from ..results.measured import MeasuredResult
    from ..review.measurements import Measurement
    from ..segmentation import Result

log = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()  # more threads bring neither more memory nor more GPUs


@dataclass(frozen=True)
class Settings:
    """The settings for all cases; see :func:`DeepSegLogic.segmentation.segment`.

    Attributes:
        output: folder of the results, with one folder per case.
        model: an id or folder, the same on all workers; on servers an id.
        surfaces: their formats.
        skip_elsewhere: skip volumes that show no region in which a structure lies.
    """

    output: Path
    model: str
    structures: list[str] | None = None
    device: str = "auto"
    quality: str = "standard"
    surfaces: list[str] = field(default_factory=list)
    uncertainty: bool = False
    force: bool = False
    min_piece_ml: float = 0.0
    skip_elsewhere: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        status: ``"done"``, ``"kept"`` (done by an earlier run), ``"skipped"``, ``"failed"`` or ``"cancelled"``.
        seconds: duration.
        warnings: of the run, one sentence each.
        code, message, remedy, action, details: of the error, see :class:`~DeepSegLogic.util.errors.DeepSegError`.
        corrected: the measurements of a label map that somebody corrected; None if those in the folder hold.
    """

    case: Case
    status: str
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    corrected: list[Measurement] | None = None
    code: str = ""
    message: str = ""
    remedy: str = ""
    action: Action | None = None
    details: dict[str, str] = field(default_factory=dict)

    def in_words(self, words: Mapping[Action, str]) -> Outcome:
        """The outcome with its remedy in the words of a face, see :meth:`DeepSegError.remedy_in`."""
        error = DeepSegError(self.message, self.remedy)
        error.action, error.details = self.action, self.details
        return replace(self, remedy=error.remedy_in(words))

    @property
    def sentences(self) -> list[str]:
        """The warnings, or the error of a failed case."""
        return [f"{self.message} {self.remedy}".strip()] if self.status == "failed" else self.warnings

    def as_json(self) -> dict[str, Any]:
        """The outcome as JSON values, without measurements: ``case`` is its name, ``input`` its path."""
        told = asdict(replace(self, corrected=None)) | {"case": self.case.name, "input": str(self.case.source)}
        del told["corrected"]
        return told


@dataclass(frozen=True)
class Place:
    """Where volumes are segmented.

    Attributes:
        card: of the model.
        digest: of the model's files, and of those of the models that it needs.
        run: ``run(volume, **options)``, as :func:`DeepSegLogic.segmentation.segment` with the model.
    """

    card: ModelCard
    digest: str
    run: Callable[..., Result]


def segment_case(case: Case, settings: Settings, signals: Signals, number: int, place: Place | None = None) -> Outcome:
    """Segment a case and write its results, unless they exist; raises nothing.

    Args:
        number: of the case, one of its own.
        place: a server; None for this process.
    """
    started = time.monotonic()
    try:
        with nullcontext() if place else _one_at_a_time, signals.running(case, number) as progress:
            outcome = _segmented(case, settings, place or _here(settings, signals), progress, signals.stopped())
    except Exception as error:
        outcome = failed(case, error)
    return replace(outcome, seconds=round(time.monotonic() - started, 1))


def failed(case: Case, error: Exception) -> Outcome:
    """The outcome of a case that ended with an error."""
    if isinstance(error, Cancelled):
        return Outcome(case, "cancelled", message=error.message)
    if isinstance(error, DeepSegError):
        return Outcome(
            case,
            "failed",
            code=error.code,
            message=error.message,
            remedy=error.remedy,
            action=error.action,
            details=error.details,
        )
    log.error("%s failed", case.source, exc_info=error)
    what = f"Unexpected error ({type(error).__name__}: {error})."
    return Outcome(case, "failed", code="internal", message=what, remedy="Report it with the worker's log.")


def _segmented(case: Case, settings: Settings, place: Place, progress: Progress, cancel: Cancel) -> Outcome:
    from ..results.corrections import corrections_in, must_not_be_corrected
    from ..results.folder import what_is_wrong, write_outputs
    from ..util.staging import sweep
    from ..worker.isolated import read_label_map, read_volume

    check(cancel)
    options = {n: getattr(settings, n) for n in ("structures", "quality", "uncertainty")}
    if settings.min_piece_ml > 0:  # else left out, as in the requests of earlier versions
        options["min_piece_ml"] = settings.min_piece_ml
    request = {"model": place.digest, **options, "surfaces": settings.surfaces}
    folder = settings.output / case.name
    told = sweep(folder)
    earlier = _facts_of_finished(folder, case.source, request)
    wrong = what_is_wrong(folder, earlier) if earlier else ""
    if earlier and not wrong:
        return Outcome(case, "kept", warnings=[*told, *map(str, earlier["warnings"])])
    read = partial(read_label_map, cancel=cancel)
    if earlier and (corrected := corrections_in(folder, read)):
        again = _measured_again(folder, case.source, read, cancel)
        kept = "surfaces are" if again else "measurements and surfaces are"
        told.append(f"{corrected[0].name} was corrected and is kept; its {kept} those of before.")
        told += again.notes[1:] if again else ()  # the first one says that it was corrected
        rows = again.rows if again else None
        return Outcome(case, "kept", warnings=[*told, *map(str, earlier["warnings"])], corrected=rows)
    must_not_be_corrected(folder, read)
    if wrong:
        told.append(f"The case was repeated because its earlier results were incomplete: {wrong}.")
    volume = read_volume(case.source, cancel=cancel)
    if settings.skip_elsewhere and (why := _elsewhere(volume, place.card, settings.structures)):
        return Outcome(case, "skipped", warnings=[*told, why])
    result = place.run(volume, force=settings.force, progress=progress, cancel=cancel, **options)
    if not _digests(result.provenance) <= {*place.digest.split()}:
        raise _replaced(place.card.id)
    result.provenance["request"] = request
    formats = settings.surfaces
    write_outputs(folder, volume, result, source=case.source, formats=formats, progress=progress, cancel=cancel)
    return Outcome(case, "done", warnings=[*told, *result.warnings])


def _measured_again(
    folder: Path, source: Path, read: Callable[[Path], LabelMap], cancel: Cancel
) -> MeasuredResult | None:
    """A corrected result with its present numbers; None if it cannot be measured."""
    from ..io.read import UNNAMED
    from ..results.measured import read_measured
    from ..worker.isolated import read_volume

    try:
        found = read_measured(folder, read, read_volume(source, cancel=cancel))
    except Cancelled:
        raise
    except (DeepSegError, OSError, ValueError, LookupError):
        return None
    return None if any(UNNAMED in warning for warning in found.label_map.warnings) else found


def _elsewhere(volume: Volume, card: ModelCard, structures: list[str] | None) -> str:
    """Why nothing can be found in a volume; empty if something may be there, or its regions are not known."""
    from ..classify import finds_nothing, what_is
    from ..data.terminology import known_names
    from ..session.scan_texts import shown

    names = card.structures if structures is None else known_names(structures, card.structures + card.on_request)
    scan = what_is(volume)
    return f"Skipped: {shown(scan)}; the structures lie elsewhere." if finds_nothing(scan, names) else ""


def _facts_of_finished(folder: Path, source: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """The provenance of earlier results with this input and request; None if there are none."""
    from ..io.result_files import provenance_of
    from ..models.provenance import identity

    facts = provenance_of(folder)
    try:
        same = facts["request"] == request and facts["input"] == identity(source)
        return facts if same and isinstance(facts["warnings"], list) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _digests(facts: Mapping[str, Any]) -> set[str]:
    """Those of the models that a record tells."""
    own = {str(facts["digest"])} if "digest" in facts else set[str]()
    return own.union(
        *(_digests(v) for n, v in facts.items() if n in ("model", "crop", "postprocess") and isinstance(v, dict))
    )


def _replaced(model: str) -> ModelError:
    return ModelError(
        f"The model {model} was replaced during the cohort, so this result would differ from the others.",
        "Run the cohort again: it repeats the cases that were done with other files.",
        code="model.replaced",
    )


def _here(settings: Settings, signals: Signals) -> Place:
    from ..models.provenance import stamp_of
    from ..segmentation import segment

    model, digest = _loaded(settings.model, stamp_of(find_model(settings.model)))
    if not signals.is_the_first(digest):
        raise _replaced(model.card.id)
    return Place(model.card, digest, partial(segment, model=model, device=settings.device))


@lru_cache(maxsize=1)
def _loaded(name: str, _stamp: object) -> tuple[Model, str]:
    """A model, which stays loaded for the next case, and its digest.

    Args:
        _stamp: see :func:`~DeepSegLogic.models.provenance.stamp_of`; a worker of the institute's lives for weeks.
    """
    from ..models.provenance import digest_of_all

    card = find_model(name)
    return load_model(card), digest_of_all(card)
