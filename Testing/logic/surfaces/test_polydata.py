"""Surfaces as VTK's meshes."""

from types import SimpleNamespace

import numpy as np
import pytest

from DeepSegLogic.surfaces import surface

POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float64)
TRIANGLES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)


@pytest.fixture
def short_numbers(monkeypatch):
    """NumPy 1 on Windows, where whole numbers have 32 bits unless told otherwise."""

    def arange(*arguments, dtype=np.int32):
        return np.arange(*arguments, dtype=dtype)

    monkeypatch.setattr(surface, "np", SimpleNamespace(**{**vars(np), "arange": arange}))


def test_a_mesh_has_its_points_and_triangles(short_numbers):
    mesh = surface.polydata(POINTS, TRIANGLES)
    assert [[mesh.GetCell(m).GetPointId(n) for n in range(3)] for m in range(len(TRIANGLES))] == TRIANGLES.tolist()
    assert mesh.GetNumberOfCells() == len(TRIANGLES)
    assert [mesh.GetPoint(n) for n in range(4)] == [tuple(p) for p in POINTS]
