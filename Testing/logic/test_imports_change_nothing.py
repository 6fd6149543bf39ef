"""Importing any part of DeepSegLogic leaves the user's process as it was."""

import json
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("resource", reason="compares limits that Windows does not have")

WATCHED = """
    import decimal, faulthandler, gc, locale, logging, os, random, resource, signal, sys, threading, warnings
    from importlib import import_module
    from importlib.util import find_spec
    from multiprocessing import resource_tracker
    from pkgutil import walk_packages

    for library in ("numpy", "scipy.ndimage", "SimpleITK", "vtk", "torch", "trimesh", "pydicom", "slicerio", "monai",
                    "requests", "typer", "rich.progress", "psutil", "filelock", "PIL.Image",
                    "distributed", "nninteractive", "igl", "lxml.etree", "networkx"):
        if find_spec(library.partition(".")[0]):
            import_module(library)  # what these change is their own
    import numpy, torch, vtk

    def state():
        return {
            "environment": dict(os.environ),
            "folder": os.getcwd(),
            "path": list(sys.path),
            "signals": {str(s): repr(signal.getsignal(s)) for s in signal.Signals},
            "warnings": [repr(f) for f in warnings.filters],
            "hooks": [repr(h) for h in (sys.excepthook, sys.displayhook, threading.excepthook, sys.unraisablehook)],
            "streams": [repr(s) for s in (sys.stdin, sys.stdout, sys.stderr)],
            "log": [logging.root.level, repr(logging.root.handlers), logging.root.manager.disable],
            "locale": locale.setlocale(locale.LC_ALL),
            "random": [hash(random.getstate()), repr(numpy.random.get_state()[1][:8]), torch.initial_seed()],
            "numpy": [numpy.geterr(), {k: repr(v) for k, v in numpy.get_printoptions().items()}],
            "decimal": repr(decimal.getcontext()),
            "recursion": sys.getrecursionlimit(),
            "collector": [gc.isenabled(), gc.get_threshold()],
            "crashes": faulthandler.is_enabled(),
            "torch": [torch.get_num_threads(), torch.get_num_interop_threads(), str(torch.get_default_dtype()),
                      torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(),
                      torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark,
                      torch.backends.cudnn.deterministic, torch.backends.mkldnn.enabled],
            "vtk": [vtk.vtkObject.GetGlobalWarningDisplay(), vtk.vtkSMPTools.GetEstimatedNumberOfThreads()],
            "threads": threading.active_count(),
            "limits": [resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n.startswith("RLIMIT_")],
            "resource tracker": [repr(resource_tracker.register), repr(resource_tracker.unregister)],
        }

    before = state()
    import DeepSegLogic
    names = [m.name for m in walk_packages(DeepSegLogic.__path__, "DeepSegLogic.") if not m.name.endswith("__main__")]
    for name in names:
        try:
            import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name.partition(".")[0] != "flwr":  # has an environment of its own: make federated
                raise
    after = state()
    print(json.dumps([len(names), {k: [before[k], after[k]] for k in before if before[k] != after[k]}]))
"""


def test_importing_every_module_changes_nothing_in_the_process():
    code = "import json\n" + textwrap.dedent(WATCHED)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    count, changed = json.loads(done.stdout.splitlines()[-1])
    assert count > 100
    assert changed == {}
