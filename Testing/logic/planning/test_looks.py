"""Labels in a column."""

import numpy as np

from DeepSegLogic.planning.looks import spread


def test_labels_in_a_column_never_cover_each_other_and_stay_where_they_can():
    rng = np.random.default_rng(1)
    for _ in range(500):
        sizes = rng.uniform(5, 40, rng.integers(0, 8))
        wanted = np.sort(rng.uniform(-50, 450, len(sizes)))
        found = spread(wanted, sizes, 0, 400)
        assert (np.diff(found) >= (sizes[1:] + sizes[:-1]) / 2 - 1e-9).all()
        assert len(found) == len(sizes) and (found + sizes / 2 <= 400 + 1e-9).all()
        assert (found - sizes / 2 >= -1e-9).all()  # there is room for all of them
        if len(sizes) == 1:
            assert found[0] == np.clip(wanted[0], sizes[0] / 2, 400 - sizes[0] / 2)
    free = np.array([20.0, 90.0, 300.0])
    np.testing.assert_array_equal(spread(free, [30, 30, 30], 0, 400), free)
