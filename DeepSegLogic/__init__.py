"""DeepSeg's logic layer: CT in, organ label maps, surfaces and measures out. No Qt, no ``slicer``.

The public names are imported on first use, so that ``import DeepSegLogic`` costs next to nothing and
torch is loaded only when a model is.

Example:
    >>> from DeepSegLogic import read_volume, segment
    >>> result = segment(read_volume("ct.nii.gz"), "ct_demo", structures=["liver", "spleen"])
    >>> result.label_map.volume_ml("liver")
"""

from importlib.metadata import PackageNotFoundError, version

from .lazy import imported_on_use

try:
    __version__ = version("deepseg")
except PackageNotFoundError:  # run from a source tree or inside Slicer, without pip
    __version__ = "0.1.0"

_HOME_OF = {
    "DeepSegError": "errors",
    "Volume": "volume",
    "LabelMap": "labels",
    "Structure": "labels",
    "read_volume": "io",
    "read_label_map": "io",
    "write_label_map": "io",
    "ModelCard": "models",
    "find_model": "models",
    "Result": "pipeline",
    "segment": "pipeline",
}

__all__ = [*_HOME_OF, "__version__"]

__getattr__ = imported_on_use(__name__, _HOME_OF)


def __dir__():
    return sorted({*globals(), *__all__})
