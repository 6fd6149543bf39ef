"""Workers that start at once: forks of a process that has loaded what they load, see :mod:`forked`.

For tests that are about something else than a worker's start; their ``conftest.py`` imports the fixture.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import forked
import pytest

from DeepSegLogic.worker import transports

LOADED = (
    *("torch", "scipy.ndimage", "SimpleITK", "DeepSegLogic.worker.handlers", "DeepSegLogic.worker.isolated_reader"),
    *("DeepSegLogic.enhance.before", "DeepSegLogic.inference.volume_run", "DeepSegLogic.inference.chained_run"),
    *("DeepSegLogic.models.backends.nnunet", "DeepSegLogic.models.monai_plan", "DeepSegLogic.results.report"),
    *("DeepSegLogic.surfaces.extract", "DeepSegLogic.surfaces.export", "DeepSegLogic.refinement.solver"),
)
"""What most of them load."""


_STAND_IN = SimpleNamespace(
    Popen=partial(forked.popen, LOADED), PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired
)


@pytest.fixture(scope="module", autouse=True)
def warm_workers():
    """Workers of this process are forks; not in a real Slicer, where they need another Python and its environment."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.platform == "linux" and "SLICER_HOME" not in os.environ:
            patch.setattr(transports, "subprocess", _STAND_IN)
        yield
