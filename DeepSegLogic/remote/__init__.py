"""A DeepSeg server on another machine, as Python programs and the faces use it; ``docs/server.md`` describes it."""

from .server import Server

__all__ = ["Server"]
