"""A cohort on servers that the user saved: each gets one case at a time."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial

from ...models.provenance import digest_of_all
from ...remote.known import KnownServers, model_of
from ...util.errors import ModelError
from ...util.progress import Cancel
from ..case import Outcome, Place, Settings, segment_case
from ..cases import Case
from ..signals import Signals
from . import check_one

_POLL_S = 0.2
_OF_THE_SERVER = (
    *("resource.server", "resource.connection", "resource.server_disk"),
    *("usage.token", "usage.certificate", "usage.protocol", "model.not_on_server", "model.replaced"),
)
"""Codes of errors that every further case would get from that server, too."""


@dataclass(frozen=True)
class _Seat:
    """A server that has time for a case."""

    url: str
    place: Place


def run(
    cases: Sequence[Case], settings: Settings, signals: Signals, workers: int, address: str, cancel: Cancel
) -> Iterator[Outcome]:
    """See :data:`~DeepSegLogic.cohort.engines.Engine`; ``address`` is the URLs of saved servers, separated by commas.

    A server that is named twice gets two cases at a time. One that is lost, whose disk is full, or on which the model
    was replaced, gets no more; its case goes to another.

    Raises:
        UsageError: both ``workers`` and ``address``; or a server was not saved, or there is no token for it.
        ModelError: a server does not have the model, or not the same as the others.
        ResourceError: a server cannot be reached at the start.
    """
    check_one(workers, address)
    idle = _seats(address.split(","), settings.model)
    waiting, moved = deque(range(len(cases))), defaultdict[int, list[str]](list)
    running: dict[Future[Outcome], tuple[int, _Seat]] = {}
    lost = Outcome(cases[0], "failed")
    with ThreadPoolExecutor(len(idle)) as pool:
        try:
            while running or (waiting and idle):
                while waiting and idle:
                    number, seat = waiting.popleft(), idle.pop()
                    future = pool.submit(segment_case, cases[number], settings, signals, number, seat.place)
                    running[future] = number, seat
                ended, _ = wait(running, _POLL_S, FIRST_COMPLETED)
                if cancel():
                    signals.stop()  # cases that have not begun see it, too
                for future in ended:
                    (number, seat), outcome = running.pop(future), future.result()
                    if outcome.code in _OF_THE_SERVER:
                        lost = outcome
                        waiting.appendleft(number)
                        moved[number].append(f"The case moved from {seat.url} to another server: {outcome.message}")
                    else:
                        idle.append(seat)
                        yield replace(outcome, warnings=[*moved[number], *outcome.warnings])
        finally:
            signals.stop()
    yield from (replace(lost, case=cases[number], seconds=0.0) for number in waiting)


def _seats(urls: Sequence[str], model: str) -> list[_Seat]:
    seats = []
    for url in urls:
        server = KnownServers().connect(url)
        cards = {card.id: card for card in server.models()}
        card = model_of(server, model)
        place = Place(card, digest_of_all(card, cards.get), partial(server.segment, model=model))
        seats.append(_Seat(server.connection.address.url, place))
    if len({seat.place.digest for seat in seats}) > 1:
        raise ModelError(
            f"The servers have different files of the model {model}, so that their results would differ.",
            "Install the same files on all of them, or use those that agree.",
            code="model.servers_differ",
        )
    return seats
