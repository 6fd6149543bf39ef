"""Reading and writing volumes and label maps. Imported on first use, for the engine needs none of the libraries."""

from importlib import import_module

_HOME_OF = {
    "read_label_map": "reading",
    "read_volume": "reading",
    "write_label_map": "writing",
    "write_volume": "writing",
}

__all__ = list(_HOME_OF)


def __getattr__(name):
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
