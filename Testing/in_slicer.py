"""Runs in a real Slicer, started by ``make slicer``: DeepSegTest, then the tests of Testing/extension.

Slicer's exit code says whether all passed. Arguments of pytest are in the environment variable DEEPSEG_PYTEST.
"""

import os
import shlex
import traceback
from pathlib import Path

import slicer

TESTS = Path(__file__).resolve().parent / "extension"


def passed() -> bool:
    """Run everything."""
    try:
        slicer.modules.DeepSegInstance.runTest()
    except Exception:
        traceback.print_exc()
        return False
    print("DeepSegTest passed.", flush=True)
    try:
        import pytest
    except ImportError:
        print("Testing/extension did not run: it needs pytest (PythonSlicer -m pip install pytest pytest-timeout).")
        return True
    chosen = shlex.split(os.environ.get("DEEPSEG_PYTEST", "")) or [str(TESTS)]
    os.chdir(TESTS.parents[1])
    # "sys": Slicer's console is no file that could be redirected
    return pytest.main(["--capture=sys", "-p", "no:cacheprovider", *chosen]) == 0


slicer.util.exit(0 if passed() else 1)
