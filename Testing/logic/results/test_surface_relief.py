"""Surfaces from the front: against projections of simple bodies, and the same view as that of the voxels."""

import numpy as np
import pytest
from scipy import ndimage

from DeepSegLogic import LabelMap, Structure, Volume, make_surfaces
from DeepSegLogic.data.boxes import box_of
from DeepSegLogic.results.preview import write_preview
from DeepSegLogic.results.relief import AMBIENT, LIGHT, pixel_mm, relief
from DeepSegLogic.results.surface_relief import surface_relief

BLACK, RED, GREEN = (0, 0, 0), (200, 0, 0), (0, 200, 0)
SIZE = 200


def made(array, matrix=None):
    names = [Structure(value, f"body_{value}", f"Body {value}", color) for value, color in ((1, RED), (2, GREEN))]
    return LabelMap(array, np.eye(4) if matrix is None else matrix, names)


def picture(label_map):
    box = box_of(label_map.array)
    return surface_relief(make_surfaces(label_map), box, label_map.ijk_to_ras, BLACK, SIZE)


def ball(shape, spacing, radius):
    places = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij"), -1)
    middle = (np.array(shape) - 1) * spacing / 2
    return (((places - middle) ** 2).sum(-1) < radius**2).astype(np.uint8)


def middles(mask):
    """Of each connected part: that of all would move with their sizes, too."""
    parts, count = ndimage.label(mask)
    return ndimage.center_of_mass(mask, parts, range(1, count + 1))


@pytest.mark.parametrize("turned", [False, True])
def test_it_shows_what_the_voxels_show(turned):
    array = np.zeros((40, 30, 50), np.uint8)
    array[25:38, 10:20, 3:12], array[3:12, 2:28, 30:47], array[4:8, 20:29, 33:40] = 1, 2, 1
    matrix = np.diag([1.0, 2.0, 1.5, 1.0])
    if turned:
        matrix[:3, :3] = np.array([[0.98, 0.2, 0], [-0.2, 0.98, 0], [0, 0, 1]]) @ matrix[:3, :3]
        matrix[:3, 3] = 40, -300, 7
    label_map = made(array, matrix)
    smooth = picture(label_map) > 25
    palette = np.array([BLACK, RED, GREEN], np.uint8)
    rough = relief(array, np.array([1.5, 2.0, 1.0]), palette, BLACK, SIZE) > 25
    for channel in (0, 1):
        a, b = smooth[..., channel], rough[..., channel]  # the voxels' edges are blurred
        assert 2 * np.count_nonzero(a & b) / (a.sum() + b.sum()) > 0.9
        np.testing.assert_allclose(middles(a), middles(b), atol=1)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (5, 1, 1)])
def test_a_ball_is_lit_by_lamberts_law(spacing):
    spacing = np.array(spacing, float)
    array = ball(np.ceil(64 / spacing).astype(int), spacing, 28)
    label_map = made(array, np.diag([*spacing[::-1], 1.0]))
    seen = picture(label_map)[..., 0] / RED[0]
    box = box_of(array)
    pixel = pixel_mm([part.stop - part.start for part in box], spacing, SIZE)
    x, y = np.meshgrid(*[(np.arange(SIZE) - (SIZE - 1) / 2) * pixel] * 2)
    inside = x**2 + y**2 < 24**2
    normals = np.stack([x, -y, np.sqrt(np.maximum(28**2 - x**2 - y**2, 0))], -1) / 28
    wanted = AMBIENT + (1 - AMBIENT) * np.maximum(normals @ LIGHT / np.linalg.norm(LIGHT), 0)
    assert np.abs(seen - wanted)[inside].mean() < 0.03
    assert (seen[inside] > 0.9 * AMBIENT).all(), "no holes"
    assert not seen[x**2 + y**2 > 31**2].any()


def test_the_preview_shows_surfaces_where_there_are_some(tmp_path):
    array = np.zeros((24, 24, 24), np.uint8)
    label_map = made(array)
    volume = Volume(np.zeros(array.shape, np.int16), np.eye(4))
    write_preview(volume, label_map, tmp_path / "empty.png", surfaces=make_surfaces(label_map))
    label_map = made(ball(array.shape, np.ones(3), 9))
    written = []
    for name, surfaces in (("voxels", None), ("surfaces", make_surfaces(label_map))):
        write_preview(volume, label_map, tmp_path / name, surfaces=surfaces)
        written.append((tmp_path / name).read_bytes())
    assert written[0] != written[1]


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1, 1, 5), (3, 1, 1)])
@pytest.mark.parametrize("edge", range(1, 7))
def test_what_bulges_out_of_its_box_is_whole_in_the_picture(edge, spacing):
    """A cube of a few voxels keeps its volume as a ball that is wider than the cube."""
    array = np.zeros((12, 12, 12), np.uint8)
    array[4 : 4 + edge, 4 : 4 + edge, 4 : 4 + edge] = 1
    shown = picture(made(array, np.diag([*spacing, 1.0]))).any(-1)
    assert shown.any() and not any(rim.any() for rim in (shown[0], shown[-1], shown[:, 0], shown[:, -1]))


def test_what_bulges_out_of_its_box_hides_what_lies_behind():
    array = np.zeros((12, 30, 12), np.uint8)
    array[:, 20:24], array[:, 14:18] = 1, 2
    box = slice(0, 12), slice(0, 8), slice(0, 12)
    shown = surface_relief(make_surfaces(made(array)), box, np.eye(4), BLACK, SIZE)
    assert shown[..., 0].any()
    assert not shown[..., 1].any()
