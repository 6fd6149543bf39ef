"""Reading and writing volumes and label maps. Imported on first use: the engine needs none of the libraries."""

from ..util.lazy import imported_on_use

_HOME_OF = {
    "read_label_map": "read",
    "read_volume": "read",
    "write_label_map": "write",
    "write_volume": "write",
}

__all__ = list(_HOME_OF)

__getattr__ = imported_on_use(__name__, _HOME_OF)
