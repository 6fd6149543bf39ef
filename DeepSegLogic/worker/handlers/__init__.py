"""The requests that a worker answers. To add one, write a function and put it into ``HANDLERS``.

A handler gets its :class:`~DeepSegLogic.worker.job_loop.Job` (progress, cancel, what stays loaded) and the request's
keyword arguments, and returns the result. Arguments and results are limited to what
:mod:`~DeepSegLogic.worker.serialization` can send. Heavy imports belong inside the functions: the worker connects
before torch is loaded.
"""

from ..job_loop import Handler
from .archive import fetch_series, find_series, send_result
from .models import accept_offer, adapt, collect_case, go_back, import_model, install_model, patient_id, prompt_network
from .planning import draft, plan, plan_pictures
from .results import evaluate, export, export_findings, follow_up, measure, open_segmentation, review, surfaces
from .running import classify, detect, estimate, ping, prepare, refine, refined, segment
from .sureness import explain, second_opinion

__all__ = ["HANDLERS", "prompt_network", "refined", "segment", "surfaces"]

_ANSWERS: tuple[Handler, ...] = (
    ping,
    prepare,
    segment,
    estimate,
    classify,
    detect,
    refine,
    surfaces,
    measure,
    review,
    open_segmentation,
    evaluate,
    follow_up,
    export,
    export_findings,
    plan,
    plan_pictures,
    draft,
    explain,
    second_opinion,
    find_series,
    fetch_series,
    send_result,
    collect_case,
    patient_id,
    adapt,
    accept_offer,
    go_back,
    install_model,
    import_model,
)
HANDLERS = {answer.__name__: answer for answer in _ANSWERS}
