"""A stand-in for 3D Slicer's desktop, for tests: real MRML (slicer-core), real Qt (PySide6), PythonQt's rules."""

import os
import sys

REAL = "PythonQt" in sys.modules
"""Whether this is the Python inside a real Slicer, which then takes the stand-in's place."""

_host = None


def start():
    """The host, started at the first call. Off-screen, with its own settings; one per process.

    Raises:
        ImportError: PySide6 or slicer-core is not installed.
    """
    global _host
    if _host is None and REAL:
        from .real import RealHost

        _host = RealHost()
    elif _host is None:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        from .host import Host

        _host = Host()
    return _host
