"""A process of its own that keeps the network loaded: :class:`WorkerClient` sends it requests."""

from .client import Event, WorkerClient, WorkerState
from .transports import ProcessLink

__all__ = ["Event", "ProcessLink", "WorkerClient", "WorkerState"]
