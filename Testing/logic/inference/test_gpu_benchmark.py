"""The benchmark for GPUs runs where torch, numpy and scipy are all there is."""

import subprocess
import sys

import pytest
import torch

BARE = """
import runpy, sys

class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(name)

FORBIDDEN = set(sys.argv.pop(1).split())
sys.meta_path.insert(0, Bare())
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
FORBIDDEN = (
    "SimpleITK monai slicerio vtk vtkmodules typer rich pydicom nibabel psutil platformdirs requests skimage lxml "
    "trimesh pyfqmr PIL jsonschema nnunetv2"
)


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU to run on")
        ),
    ],
)
def test_it_runs_on_a_bare_machine(pytestconfig, device):
    program = (pytestconfig.rootpath / "Testing" / "benchmarks" / "inference_gpu.py").as_posix()
    command = [sys.executable, "-c", BARE, FORBIDDEN, program, "--device", device, "--small"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=600)
    assert done.returncode == 0, done.stderr
    tables = done.stdout.split("\n\n")[2:]
    rows = [[line.strip("| ").split(" | ") for line in table.splitlines()[2:]] for table in tables]
    assert [len(table) for table in rows] == [4, 16 if device == "cpu" else 52]
    volumes, windows = rows
    assert all(len(row) == 14 for row in volumes), volumes
    for row in windows:
        assert float(row[5]) > 0, row
        assert float(row[8].removesuffix(" %")) > 95, row
    assert float(windows[0][7]) < 1e-5  # full precision is what the others are compared with, but for rounding
