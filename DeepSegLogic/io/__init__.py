"""Reading and writing volumes and label maps. Imported on first use, for the engine needs none of the libraries."""

from ..lazy import imported_on_use

_HOME_OF = {
    "read_label_map": "reading",
    "read_volume": "reading",
    "write_label_map": "writing",
    "write_volume": "writing",
}

__all__ = list(_HOME_OF)

__getattr__ = imported_on_use(__name__, _HOME_OF)
