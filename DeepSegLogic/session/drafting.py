"""A draft of the result's report, by the language model that the user set up."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from ..data.label_map import LabelMap
from ..util.errors import UsageError
from ..util.i18n import tr as _
from .jobs import Jobs
from .outcome import Outcome
from .signal import Signal

if TYPE_CHECKING:
    from ..drafting.endpoint import Endpoint
    from ..drafting.table import Table
    from ..results.draft import Draft
    from ..review.measurements import Measurement


class Drafting:
    """The draft of the last result; it goes when that goes.

    Args:
        jobs: asks the worker, which asks the language model.
        outcome: what the draft is about.

    Attributes:
        endpoint: where the language model is; None if none is set up.
        draft: of the report; None before it is written.
    """

    def __init__(self, jobs: Jobs, outcome: Outcome) -> None:
        self.endpoint: Endpoint | None = None
        self.draft: Draft | None = None
        self.changed: Signal[Drafting] = Signal()
        self._jobs, self._outcome = jobs, outcome
        self._table: Table | None = None
        self._volumes: dict[str, float] = {}
        self._digest = ""
        outcome.result_changed.connect(lambda _result: self.discard())
        outcome.measurements_changed.connect(self._look)

    def look_up(self) -> None:
        """Take the endpoint that is set up for this user.

        Raises:
            UsageError: its file is damaged.
        """
        from ..drafting.endpoint import configured

        self.endpoint = configured()
        self.changed.emit(self)

    def set_up(self, url: str, model: str, other_host: bool) -> None:
        """Set up an endpoint for this user; none for an empty address.

        Raises:
            UsageError: it cannot be used.
        """
        from ..drafting.endpoint import Endpoint, configure

        pictures = self.endpoint is not None and self.endpoint.pictures
        self.endpoint = Endpoint(url, model, other_host, pictures) if url else None
        configure(self.endpoint)
        self.changed.emit(self)

    def write(self, label_map: LabelMap) -> None:
        """Let the model draft a report; another draft is replaced.

        Args:
            label_map: the result, with its corrections.

        Raises:
            UsageError: no model is set up, there is no result, or a task is running.
        """
        from ..drafting.endpoint import the_endpoint
        from ..planning import digest_of

        endpoint = self.endpoint or the_endpoint()
        result, volume = self._outcome.result, self._outcome.volume
        if result is None or volume is None:
            raise UsageError(_("Nothing to report."), _("Segment a volume first."), code="usage.empty")

        digest = digest_of(label_map)

        def drafted(found: dict[str, Any]) -> None:
            if self._outcome.result is result:  # else another one came meanwhile
                self._digest = digest
                self._take(found)

        self._jobs.start(
            "draft",
            "draft",
            drafted,
            label_map=label_map,
            volume=volume,
            confidence=self._outcome.belief_in(label_map)[0],
            plan=self._outcome.plan_content,
            changes=self._outcome.changes,
            endpoint=asdict(endpoint),
            hidden=sorted(self._outcome.ignored),
        )
        if endpoint.warning:
            self._jobs.run.warnings.append(endpoint.warning)

    def edit(self, text: str) -> None:
        """Take the draft as a person changed it."""
        if self.draft is not None and self._table is not None:
            from ..drafting.draft import edited

            before, self.draft = self.draft, edited(self.draft, text, self._table)
            if self.draft is not before:
                self.changed.emit(self)

    def discard(self) -> None:
        """Drop the draft."""
        if self.draft is not None:
            self.draft = self._table = None
            self.changed.emit(self)

    def of(self, label_map: LabelMap) -> Draft | None:
        """The draft for a report of a label map; marked if it was written for another one."""
        from ..planning import digest_of

        if self.draft is not None and digest_of(label_map) != self._digest:
            self._mark()
        return self.draft

    def _take(self, found: dict[str, Any]) -> None:
        from ..drafting.table import Table
        from ..results.draft import Draft

        self.draft = Draft.of_json(found["draft"])
        self._table = Table(tuple(found["lines"]), found["titles"])
        self._volumes = found["volumes"]
        self.changed.emit(self)

    def _look(self, rows: list[Measurement]) -> None:
        """Mark the draft if its numbers no longer hold."""
        now = {row.name: row.volume_ml for row in rows if row.voxels}
        if now != self._volumes:
            self._mark()

    def _mark(self) -> None:
        stale = _("The segmentation was changed after this draft was written. Its numbers no longer hold.")
        if self.draft is not None and stale not in self.draft.notes:
            self.draft = replace(self.draft, notes=(stale, *self.draft.notes))
            self.changed.emit(self)
