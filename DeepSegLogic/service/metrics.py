"""Figures for Prometheus. No user, no model and no patient is in them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from .jobs import Jobs


class Metrics:
    """The figures of a server.

    Attributes:
        requests: answers by ``status``.
        uploaded: bytes of voxels received.

    Args:
        stored: gives the bytes of all volumes that are kept.
    """

    def __init__(self, jobs: Jobs, stored: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("deepseg_requests", "Answers by status.", ["status"], registry=self._registry)
        self.uploaded = Counter("deepseg_uploaded_bytes", "Bytes of voxels received.", registry=self._registry)
        self._jobs, self._stored = jobs, stored
        self._open = Gauge("deepseg_jobs", "Jobs waiting and running.", ["state"], registry=self._registry)
        self._ended = Gauge("deepseg_jobs_ended", "Jobs ended since the start.", ["state"], registry=self._registry)
        self._kept = Gauge("deepseg_stored_bytes", "Bytes of volumes kept.", registry=self._registry)

    def text(self) -> bytes:
        """All figures as Prometheus reads them."""
        for state, count in self._jobs.counts().items():
            self._open.labels(state=state).set(count)
        for state, count in dict(self._jobs.ended).items():
            self._ended.labels(state=state).set(count)
        self._kept.set(self._stored())
        return generate_latest(self._registry)
