"""The page's choice of the computer that networks run on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from DeepSegLogic.remote.known import KnownServers
from DeepSegLogic.session import Place, Session
from DeepSegLogic.session.texts import place_question
from DeepSegLogic.util.errors import DeepSegError

from .binding import alert


class PagePlaces:
    """Lists the servers that were saved by the user who runs the page, and passes on the choice.

    Args:
        state: of the page.
        session: runs there.
        saying: in its context, errors are shown.
    """

    def __init__(self, state, session: Session, saying: Callable[[], AbstractContextManager[None]]):
        self._state, self._session, self._saying = state, session, saying
        servers, saved = KnownServers(), []
        state.places_note = ""
        try:
            saved = list(servers.all())
        except DeepSegError as error:  # told beside the list, as opening a file takes the alert away
            state.places_note = " ".join(alert(error, [servers.path.parent]).values())
        state.places = [{"title": "The page's computer", "value": ""}, *({"title": url, "value": url} for url in saved)]
        state.place_questions = {
            url: {"kind": "Run there", "title": "Run on a server", "text": place_question(url), "url": url}
            for url in saved
        }
        session.choices.place_changed.connect(self.show)
        state.place = session.choices.place.url

    def choose(self, url: str) -> None:
        """Run there from now on; the page has asked what a server needs."""
        self._state.alert = None
        with self._saying():
            self._session.run_on(url)

    def show(self, place: Place) -> None:
        """Another computer was chosen. What its user agreed to is not asked again."""
        state = self._state
        state.place = place.url
        state.place_questions = {url: asked for url, asked in state.place_questions.items() if url != place.url}
        self._session.choices.ask_estimate()
