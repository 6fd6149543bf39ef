"""prompts.json: what is read, and what is refused with a reason."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from DeepSegLogic.data.affine import ijk_to_ras_points
from DeepSegLogic.refinement import Box, Lasso, Point, Scribble, read_prompts
from DeepSegLogic.refinement.rasterise import seeds_of
from DeepSegLogic.util.errors import InputError


def entry(**changes):
    return {"structure": "liver", "type": "point", "positive": True, "ras": [1, 2, 3], **changes}


def write(folder, content):
    path = folder / "prompts.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_the_example_in_the_docs_is_valid(tmp_path):
    text = (Path(__file__).parents[3] / "docs" / "refine.md").read_text("utf-8")
    (tmp_path / "prompts.json").write_text(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1], "utf-8")
    file = read_prompts(tmp_path / "prompts.json")
    assert [p.kind for p in file.prompts] == ["point", "scribble", "box", "lasso"]
    assert not {p.structure for p in file.prompts} & set(file.locked)


def test_all_kinds_of_prompts_are_read(tmp_path):
    corners = [[0, 0, 0], [4, 5, 6.5]]
    found = read_prompts(
        write(
            tmp_path,
            {
                "prompts": [
                    entry(),
                    entry(positive=False),
                    entry(type="scribble", ras=corners, radius_mm=3),
                    entry(type="scribble", ras=corners),
                    entry(type="box", ras=corners),
                    entry(type="lasso", ras=[*corners, [1, 0, 0]], positive=False),
                ],
                "locked": ["spleen"],
                "add": ["lesion"],
            },
        )
    )
    a, b = (0.0, 0.0, 0.0), (4.0, 5.0, 6.5)
    assert found.prompts == [
        Point("liver", True, (1.0, 2.0, 3.0)),
        Point("liver", False, (1.0, 2.0, 3.0)),
        Scribble("liver", True, (a, b), 3.0),
        Scribble("liver", True, (a, b), 2.0),
        Box("liver", True, (a, b)),
        Lasso("liver", False, (a, b, (1.0, 0.0, 0.0))),
    ]
    assert found.locked == ["spleen"] and found.add == ("lesion",)
    assert read_prompts(write(tmp_path, {"prompts": [entry()]})).locked is None
    assert read_prompts(write(tmp_path, {"prompts": [entry()], "locked": []})).locked == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ("[]", "at the top"),
        ({"prompts": []}, "prompts"),
        ({"prompts": [entry(), entry(ras=[1, 2])]}, "prompt 2"),
        ({"prompts": [entry(ras=["a", 2, 3])]}, "prompt 1"),
        ({"prompts": [entry(type="circle")]}, "circle"),
        ({"prompts": [entry(radius_mm=3)]}, "radius_mm"),
        ({"prompts": [{"type": "point", "ras": [1, 2, 3]}]}, "structure"),
        ({"prompts": [entry(positive="yes")]}, "yes"),
        ({"prompts": [entry(type="scribble", ras=[[1, 2, 3]], radius_mm=0)]}, "radius_mm"),
        ({"prompts": [entry(type="box", ras=[[1, 2, 3]])]}, "prompt 1"),
        ('{"prompts": [{"structure": "liver", "type": "point", "ras": [1, 2, NaN]}]}', "finite"),
        ({"prompts": [entry()], "lock": []}, "lock"),
    ],
)
def test_bad_files_are_refused_with_the_place(tmp_path, content, says):
    with pytest.raises(InputError) as caught:
        read_prompts(write(tmp_path, content))
    assert says in caught.value.message and "prompts.json" in caught.value.message and caught.value.remedy


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        read_prompts(tmp_path / "none.json")


SHAPE = (20, 24, 28)


def voxels(prompt, matrix):
    seeds = seeds_of(prompt, SHAPE, matrix, 1)
    mask = np.zeros(SHAPE, bool)
    mask[seeds.box] = seeds.mask
    return mask


def places(matrix):
    kji = np.argwhere(np.ones(SHAPE, bool))
    return ijk_to_ras_points(kji[:, ::-1], matrix)


def test_a_scribble_is_all_that_is_near_its_line(phantom):
    matrix = phantom.matrix()
    a, b, c = (np.array(phantom.ras(*kji)) for kji in ((4, 5, 6), (12, 18, 9), (12, 18, 22)))
    mask = voxels(Scribble("liver", True, (tuple(a), tuple(b), tuple(c)), 4.0), matrix)
    line = np.concatenate([np.linspace(p, q, 400) for p, q in ((a, b), (b, c))])
    apart = np.min(np.linalg.norm(places(matrix)[:, None] - line[None, ::4], axis=2), axis=1).reshape(SHAPE)
    assert mask[apart < 3.95].all() and not mask[apart > 4.05].any()


def test_a_thin_scribble_leaves_no_gap(phantom):
    from scipy.ndimage import label

    ends = phantom.ras(2, 3, 4), phantom.ras(17, 20, 25)
    mask = voxels(Scribble("liver", True, ends, 0.01), phantom.matrix())
    assert mask[2, 3, 4] and mask[17, 20, 25] and label(mask, np.ones((3, 3, 3)))[1] == 1


def test_a_box_holds_the_centres_inside_it(phantom):
    matrix = phantom.matrix()
    middle = np.array(phantom.ras(10, 12, 14))
    low, high = middle - (6, 8, 9), middle + np.array((7, 5, 9))
    mask = voxels(Box("liver", False, (tuple(low), tuple(high))), matrix)
    inside = ((places(matrix) >= low) & (places(matrix) <= high)).all(1).reshape(SHAPE)
    np.testing.assert_array_equal(mask, inside)


def test_a_lasso_on_a_slice_is_the_polygon_there(phantom):
    from skimage.draw import polygon2mask

    corners = np.array([[3.2, 4.1], [3.4, 20.3], [15.7, 22.2], [9.1, 12.4], [20.3, 5.2]])  # concave, (j, i)
    curve = tuple(phantom.ras(7, *c) for c in corners)
    mask = voxels(Lasso("liver", True, curve), phantom.matrix())
    np.testing.assert_array_equal(mask[7], polygon2mask(SHAPE[1:], corners))
    assert not np.delete(mask, 7, 0).any()
