"""Opinions on the same volume, against counts by hand and scipy."""

import csv

import numpy as np
import pytest
from scipy.stats import mode

from DeepSegLogic.data.label_map import LabelMap, Structure
from DeepSegLogic.review.disagreement import (
    disagreement_map,
    disagreements,
    voted,
    with_structure,
    write_disagreements,
)
from DeepSegLogic.util.errors import InputError, UsageError

NAMES = ("liver", "spleen", "aorta")
GRID = np.diag([2.0, 2.0, 2.5, 1.0])  # 0.01 ml


def opinion(array, names=NAMES) -> LabelMap:
    return LabelMap(np.asarray(array, np.uint8), GRID, [Structure(n, s, s.title()) for n, s in enumerate(names, 1)])


def random_opinions(count, seed=0):
    rng = np.random.default_rng(seed)
    return [opinion(rng.integers(0, 4, (6, 7, 8))) for _ in range(count)]


def test_the_rows_count_voxels():
    one, other = np.zeros((2, 10, 10, 10), np.uint8)
    one[2:6, 2:6, 2:6], other[2:6, 2:6, 2:8] = 1, 1
    one[8, 8, 8] = other[8, 8, 8] = 2
    rows = disagreements([opinion(one), opinion(other)])
    assert [row.name for row in rows] == ["liver", "spleen", "aorta"]  # the largest difference first, then the absent
    liver, spleen, aorta = rows
    assert liver.volumes_ml == pytest.approx((0.64, 0.96)) and liver.differing_ml == pytest.approx(0.32)
    assert liver.dice == pytest.approx(2 * 64 / (64 + 96)) and liver.differs
    r, a, s = liver.at
    assert one[tuple(np.rint([s / 2.5, a / 2, r / 2]).astype(int))] == 0  # where only the other one has it
    assert other[tuple(np.rint([s / 2.5, a / 2, r / 2]).astype(int))] == 1
    assert spleen.dice == 1 and spleen.at is None and not spleen.differs
    assert aorta.dice is None and aorta.volumes_ml == (0, 0) and not aorta.differs


def test_several_opinions_count_in_pairs():
    opinions = random_opinions(4)
    row = next(r for r in disagreements(opinions) if r.name == "spleen")
    masks = [o.array == 2 for o in opinions]
    dice = [2 * (a & b).sum() / (a.sum() + b.sum()) for n, a in enumerate(masks) for b in masks[:n]]
    assert row.dice == pytest.approx(np.mean(dice))
    assert row.differing_ml == pytest.approx(0.01 * (np.any(masks, 0) & ~np.all(masks, 0)).sum())


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_map_and_the_vote_are_those_of_the_mode(count):
    opinions = random_opinions(count, count)
    arrays = np.stack([o.array for o in opinions])
    counts = mode(arrays, axis=0).count
    np.testing.assert_array_equal(disagreement_map(opinions), np.rint(255 * (1 - counts / count)))
    best = voted(opinions).array
    assert (np.sum(arrays == best, 0) == counts).all()
    tied = np.sum(arrays == arrays[0], 0) == counts
    np.testing.assert_array_equal(best[tied], arrays[0][tied])  # the earliest decides


def test_structures_go_by_their_names():
    first = opinion(np.full((3, 3, 3), 1))
    second = opinion(np.full((3, 3, 3), 2), ("spleen", "liver"))
    assert not disagreement_map([first, second]).any()
    assert {row.name: row.dice for row in disagreements([first, second])} == {"liver": 1.0, "spleen": None}
    assert [s.name for s in voted([first, second]).structures] == ["liver", "spleen"]


def test_a_structure_can_be_taken_from_one():
    one, other = opinion(np.zeros((4, 4, 4))), opinion(np.zeros((4, 4, 4)))
    one.array[0], one.array[1] = 1, 2
    other.array[1], other.array[2] = 1, 2
    np.testing.assert_array_equal(voted([one, other], {"Liver": 1}).array[:, 0, 0], [0, 1, 0, 0])
    np.testing.assert_array_equal(voted([one, other], {"spleen": 1, "liver": 0}).array[:, 0, 0], [1, 0, 2, 0])
    np.testing.assert_array_equal(with_structure(one, other, "liver").array[:, 0, 0], [0, 1, 0, 0])
    np.testing.assert_array_equal(one.array[:, 0, 0], [1, 2, 0, 0])  # it stays as it was


def test_what_cannot_be_compared_is_told():
    one = opinion(np.zeros((4, 4, 4)))
    with pytest.raises(InputError, match="no structure in common: one has liver"):
        disagreements([one, opinion(np.zeros((4, 4, 4)), ("brain",))])
    with pytest.raises(InputError, match="not on the same grid"):
        disagreements([one, opinion(np.zeros((4, 4, 5)))])
    with pytest.raises(InputError, match="only one"):
        disagreements([one])
    with pytest.raises(UsageError, match="no opinion 3"):
        voted([one, one], {"liver": 2})
    with pytest.raises(UsageError, match="brain"):
        voted([one, one], {"brain": 0})


def test_the_table_is_written(tmp_path):
    write_disagreements(disagreements(random_opinions(2)), ["first", "second"], tmp_path / "rows.csv")
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text("utf-8-sig").splitlines()))
    assert {row["name"] for row in rows} == set(NAMES) and all(float(row["first_ml"]) > 0 for row in rows)
