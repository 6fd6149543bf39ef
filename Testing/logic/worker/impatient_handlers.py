"""``faulty_handlers`` in a process that takes one second without a heartbeat for a lock-up."""

from faulty_handlers import HANDLERS  # noqa: F401

from DeepSegLogic.worker import job_loop as engine

engine.LOCKED_UP = 1.0
