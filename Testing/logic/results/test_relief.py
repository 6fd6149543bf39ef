"""The picture from the front: against projections of simple bodies, and bounded whatever the labels are."""

import tracemalloc

import numpy as np
import pytest

from DeepSegLogic.results.relief import relief

BLACK, RED, GREEN = (0, 0, 0), (200, 0, 0), (0, 200, 0)
PALETTE = np.array([BLACK, RED, GREEN], np.uint8)
SIZE = 200


def picture(labels, spacing=(1, 1, 1), background=BLACK):
    return relief(labels, np.array(spacing, float), PALETTE, background, SIZE)


def share(pixels, channel):
    """Which pixels are mainly of one colour."""
    return (pixels[..., channel] > 25) & (pixels[..., channel] > pixels[..., 1 - channel])


def test_right_is_left_and_up_is_up():
    labels = np.zeros((40, 40, 40), np.uint8)  # RAS
    labels[30:38, 10:20, 2:10] = 1  # high, on the patient's left
    labels[2:10, 10:20, 30:38] = 2  # low, on the patient's right
    seen = picture(labels)
    for channel, (row, column) in enumerate([(0.15, 0.85), (0.85, 0.15)]):
        middle = np.argwhere(share(seen, channel)).mean(0) / SIZE
        np.testing.assert_allclose(middle, [row, column], atol=0.05)


def test_what_lies_in_front_hides_what_lies_behind():
    labels = np.zeros((40, 40, 40), np.uint16)
    labels[5:35, 2:10, 5:35] = 1
    labels[15:25, 30:38, 15:25] = 2  # the front is at high J
    seen = picture(labels)
    assert share(seen, 1)[SIZE // 2, SIZE // 2]
    assert share(seen, 0)[SIZE // 2, SIZE // 4]
    assert not share(picture(labels[:, ::-1]), 1).any()


@pytest.mark.parametrize("spacing", [(1, 1, 1), (5, 1, 1), (1, 2, 3)])
def test_outline_is_that_of_the_projection(spacing):
    shape = np.ceil(60 / np.array(spacing)).astype(int)
    places = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij"), -1)
    labels = (((places - 30) ** 2).sum(-1) < 25**2).astype(np.uint8)
    inside = share(picture(labels, spacing), 0)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    assert abs(len(rows) / len(columns) - 1) < 0.12, "a ball is round however thick the slices are"
    projected = labels.any(1)
    height = np.count_nonzero(projected.any(1)) * spacing[0]
    width = np.count_nonzero(projected.any(0)) * spacing[2]
    pixel = max(height, width) / (0.88 * SIZE)
    assert inside.sum() * pixel**2 == pytest.approx(projected.sum() * spacing[0] * spacing[2], rel=0.05)


def test_brightness_follows_lamberts_law():
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[:, :30] = 1
    facing = picture(labels)[80:120, 80:120, 0] / RED[0]
    light = np.array([-0.35, 0.45, 0.82])  # right, up, to the viewer
    assert facing == pytest.approx(0.3 + 0.7 * light[2] / np.linalg.norm(light), abs=0.01)
    slope = np.add.outer(np.arange(60), np.zeros(60)) + 30  # up and back at 45 degrees
    labels = (np.arange(60)[None, :, None] < 90 - slope[:, None]).astype(np.uint8)
    tilted = picture(labels)[80:120, 80:120, 0] / RED[0]
    normal = np.array([0, 1, 1]) / np.sqrt(2)
    assert tilted.mean() == pytest.approx(0.3 + 0.7 * normal @ light / np.linalg.norm(light), abs=0.02)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 30, 30), (30, 1, 30), (30, 30, 1)])
def test_thin_bodies_are_drawn(shape):
    assert share(picture(np.ones(shape, np.uint8)), 0).sum() > 30


def test_nothing_gives_the_background():
    assert (picture(np.zeros((5, 5, 5), np.uint8), background=(1, 2, 3)) == (1, 2, 3)).all()


def test_memory_is_bounded_however_rough_the_labels_are():
    labels = np.random.default_rng(0).integers(0, 119, (100, 128, 128)).astype(np.uint8)
    palette = np.full((119, 3), 200, np.uint8)
    tracemalloc.start()
    relief(labels, np.ones(3), palette, BLACK, SIZE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * labels.nbytes + 20e6
