"""A process of its own that keeps the network loaded: :class:`WorkerClient` sends requests to a child or a service."""

from .client import Event, WorkerClient, WorkerState
from .transports import ProcessLink, SocketLink

__all__ = ["Event", "ProcessLink", "SocketLink", "WorkerClient", "WorkerState"]
