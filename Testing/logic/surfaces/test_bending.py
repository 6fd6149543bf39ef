"""The weights of bending, against those of libigl."""

import numpy as np
import pytest

from DeepSegLogic.surfaces.bending import bend_less, mean_of_neighbours


@pytest.fixture
def rhombs():
    """Corners of faces, and places (3, V): the shorter diagonals of the faces leave triangles without obtuse angles."""
    i, j = np.meshgrid(np.arange(9), np.arange(7), indexing="ij")
    number = (i * 7 + j).astype(np.int32)
    places = np.stack([i + 0.5 * j, 0.87 * j, 0.05 * i * j]).reshape(3, -1)
    places = places + np.random.default_rng(0).uniform(-0.1, 0.1, places.shape)
    # from the first corner to the third is the shorter diagonal
    corners = number[1:, :-1], number[1:, 1:], number[:-1, 1:], number[:-1, :-1]
    return np.stack(corners, -1).reshape(-1, 4), places.astype(np.float32)


def test_the_weights_are_libigls(rhombs):
    igl = pytest.importorskip("igl")
    quads, places = rhombs
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int64)
    theirs = igl.cotmatrix(places.T.astype(np.float64), triangles).toarray()
    np.fill_diagonal(theirs, 0)
    assert (theirs >= 0).all()
    means = mean_of_neighbours(quads, places).toarray()
    np.testing.assert_allclose(means, theirs / theirs.sum(1, keepdims=True), atol=1e-4)


def test_means_of_a_triangle_without_area_are_finite(rhombs):
    quads, places = rhombs
    places[:, quads[5]] = places[:, quads[5, :1]]
    means = mean_of_neighbours(quads, places)
    assert np.isfinite(means.data).all() and (means.data > 0).all()
    np.testing.assert_allclose(means.sum(1), 1, atol=1e-5)


def test_a_plane_stays_and_a_dent_goes_except_where_the_box_ends(rhombs):
    quads, places = rhombs
    places[2] = 0.3 * places[0] - 0.2 * places[1]
    low, high = (np.where(np.isin(np.arange(63), [0, 6, 56, 62]), places, places + side) for side in (-0.4, 0.4))
    plane = bend_less(quads, places, low, high)
    inside = np.isin(np.arange(63), np.arange(63).reshape(9, 7)[2:-2, 2:-2])
    np.testing.assert_allclose((plane[2] - 0.3 * plane[0] + 0.2 * plane[1])[inside], 0, atol=0.02)
    dented = places.copy()
    dented[2, 31] -= 0.3
    after = bend_less(quads, dented, low, high)
    assert abs((after[2] - 0.3 * after[0] + 0.2 * after[1])[31]) < 0.1
    high[:, 31] = dented[:, 31]
    after = bend_less(quads, dented, low, high)
    assert (after <= high + 1e-6).all() and (after >= low - 1e-6).all()
