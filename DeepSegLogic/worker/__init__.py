"""The network in a process of its own, kept warm: :class:`WorkerClient` asks, a child or a service works."""

from .client import Event, WorkerClient, WorkerState
from .links import ProcessLink, SocketLink

__all__ = ["Event", "ProcessLink", "SocketLink", "WorkerClient", "WorkerState"]
