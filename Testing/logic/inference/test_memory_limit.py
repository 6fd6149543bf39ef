"""Memory limited for real, by the kernel: the ladder steps down and the labels stay."""

import os
import subprocess
import sys

import pytest

RUN = """
import resource, sys
from logic.inference.tiny import model, volume
from DeepSegLogic.util.errors import ResourceError
from DeepSegLogic.segmentation import segment

hungry = model(40, patch_size=(32, 32, 32), spacing=(2.0, 2.0, 2.0))  # logits: 200 MB, twice while they grow
source = volume((48, 200, 200), (2.0, 2.0, 2.0))
segment(volume((16, 16, 16)), hungry)  # what is loaded once
used = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData"))
# This counts no mapped files, as the memory of a machine does not and RLIMIT_AS does.
resource.setrlimit(resource.RLIMIT_DATA, (used + int(sys.argv[1]) * 2**20, resource.RLIM_INFINITY))
try:
    limited = segment(source, hungry, quality="draft")
except ResourceError as error:
    print("error", error.code, error.message)
else:
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    free = segment(source, hungry, quality="draft")
    assert not free.warnings, free.warnings
    assert (free.label_map.array == limited.label_map.array).all()
    assert free.confidence == limited.confidence and free.boundary_margin == limited.boundary_margin
    assert free.plan["run"].endswith("in CPU memory") and limited.plan["run"].endswith("on disk")
    print("same", *limited.warnings)
"""


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_DATA and /proc")


@pytest.fixture
def limited(pytestconfig):
    def run(megabytes):
        root = pytestconfig.rootpath
        paths = os.pathsep.join(map(str, (root, root / "Testing")))
        command = [sys.executable, "-c", RUN, str(megabytes)]
        environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_logits_move_to_disk_and_labels_stay(limited):
    assert limited(140) == "same Memory ran short: logits are kept on disk.\n"


def test_too_little_for_anything_is_said(limited):
    assert limited(5).startswith("error resource.memory Out of memory")
