"""Reading and writing volumes and label maps."""

from .reading import read_label_map, read_volume
from .writing import write_label_map, write_volume

__all__ = ["read_label_map", "read_volume", "write_label_map", "write_volume"]
