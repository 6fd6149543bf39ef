"""What scripts give by mistake: the error names the argument and says what to give."""

import inspect
import re
from pathlib import Path
from pydoc import locate

import numpy as np
import pytest
import SimpleITK as sitk

from DeepSegLogic import (
    Box,
    LabelMap,
    Lasso,
    Organ,
    Plane,
    Point,
    Result,
    Scribble,
    Structure,
    SurfaceSet,
    Volume,
    evaluate,
    make_surfaces,
    measure,
    read_label_map,
    read_time_point,
    read_volume,
    refine,
    segment,
    write_surfaces,
)
from DeepSegLogic.util.errors import UsageError

VOXELS = np.zeros((4, 5, 6), np.int16)
CT = Volume(VOXELS, np.diag([2.0, 2.0, 3.0, 1.0]))
ORGANS = LabelMap(VOXELS.astype(np.uint8), CT.ijk_to_ras, [Structure(1, "liver", "Liver")])
BLOCK = LabelMap(np.ones((4, 5, 6), np.uint8), CT.ijk_to_ras, ORGANS.structures)
LIVER = Organ(BLOCK, "liver")

SLIPS = {
    "array": (lambda: segment(VOXELS, "ct_demo"), r"volume of segment .* numpy's ndarray\. Give Volume\(array"),
    "image of another package": (lambda: measure(ORGANS, sitk.Image(4, 4, 4, sitk.sitkInt16)), r"SimpleITK's Image"),
    "labels as array": (lambda: make_surfaces(VOXELS), r"Give LabelMap\(array, ijk_to_ras, structures\)"),
    "other order": (lambda: measure(CT, ORGANS), r"label_map of measure is a LabelMap, not a Volume\. .* order"),
    "a whole result": (lambda: measure(Result(ORGANS, {}), CT), r"not a Result\. Give its label_map"),
    "surfaces": (lambda: write_surfaces(SurfaceSet([], "none"), "out", ["stl"]), r"not a SurfaceSet\. Check"),
    "value and name": (lambda: LabelMap(ORGANS.array, np.eye(4), [Structure("liver", 1)]), r"value='liver'"),
    "one value twice": (
        lambda: LabelMap(ORGANS.array, np.eye(4), [Structure(5, "liver"), Structure(5, "spleen")]),
        r"have the value 5: liver and spleen\. Give each",
    ),
    "one name": (lambda: make_surfaces(ORGANS, "liver"), r"Give \['liver'\]"),
    "one name to score": (lambda: evaluate(ORGANS, ORGANS, structures="liver"), r"Give \['liver'\]"),
    "one locked name": (lambda: refine(ORGANS, [], volume=CT, locked="liver"), r"Give \['liver'\]"),
    "one prompt": (lambda: refine(ORGANS, Point("liver", True, (0, 0, 0))), r"prompts of refine are a list, .* Point"),
    "number of a device": (lambda: segment(CT, "ct_demo", device=0), r"'0' is not a device\. Choose auto"),
    "list of voxels": (lambda: Volume(VOXELS.tolist(), np.eye(4)), r"numpy array, not list\. Convert it"),
    "sequence": (lambda: Volume(VOXELS[None], np.eye(4)), r"three axes, \(K, J, I\), but this one has 4: 1×4×5×6"),
    "slice": (lambda: LabelMap(ORGANS.array[0], np.eye(4)), r"but this one has 2: 5×6"),
    "complex": (lambda: Volume(VOXELS.astype(complex), np.eye(4)), r"numbers, not complex128"),
    "spacing": (lambda: Volume(VOXELS, (0.8, 0.8, 5)), r"numpy\.diag\(\[0\.8, 0\.8, 5, 1\]\)"),
    "directions": (lambda: Volume(VOXELS, np.eye(3)), r"4×4 matrix\. It maps \(I, J, K, 1\) to RAS"),
    "no matrix": (lambda: Volume(VOXELS, "RAS"), r"4×4 matrix"),
    "probabilities": (lambda: LabelMap(VOXELS / 2, np.eye(4)), r"whole numbers .*not float64\. Round"),
    "negative labels": (lambda: LabelMap(VOXELS - 1, np.eye(4)), r"not int16 with negative values"),
    "nothing": (
        lambda: make_surfaces(None),
        r"label_map of make_surfaces is a LabelMap, not None\. Give read_label_map",
    ),
    "number": (lambda: measure(ORGANS, 3), r"volume of measure is a Volume, not int"),
    "label maps": (lambda: make_surfaces([ORGANS]), r"is a LabelMap, not list"),
    "background": (
        lambda: LabelMap(ORGANS.array, np.eye(4), [Structure(0, "air")]),
        r"structure air has the value 0, but 0 is the background",
    ),
    "click in a slice": (lambda: Point("liver", True, (10, 20)), r"position of a point is \(10, 20\), not three"),
    "stroke in a slice": (lambda: Scribble("liver", True, ((1, 2, 3), (4, 5))), r"scribble is \(4, 5\)"),
    "corner": (lambda: Box("liver", True, ((1, 2, 3), (4, 5, float("nan")))), r"box is \(4, 5, nan\)"),
    "one place of a curve": (lambda: Lasso("liver", True, (1, 2, 3)), r"lasso is 1, not three"),
    "box of a corner": (
        lambda: Box("liver", True, ((1, 2, 3),)),
        r"box needs two corners, not \(\(1, 2, 3\),\)\. Give",
    ),
    "stroke of nothing": (lambda: Scribble("liver", True, ()), r"scribble needs positions, not \(\)"),
    "no curve": (lambda: Lasso("liver", True, None), r"lasso needs positions, not None"),
    "no prompts": (lambda: refine(ORGANS, None), r"prompts of refine are a list, not None\. Give"),
    "no reference": (lambda: evaluate(ORGANS, None), r"One path is wanted, not a NoneType"),
    "references": (lambda: evaluate("a.nii", ["b.nii"]), r"One path is wanted, not a list"),
    "prompt as JSON": (
        lambda: refine(ORGANS, [{"structure": "liver", "ras": [0, 0, 0]}]),
        r"prompts of refine are prompts, but a dict is among them\. Give Point",
    ),
    "file of prompts": (lambda: refine(ORGANS, {"prompts": []}), r"a dict is among them"),
    "slices": (lambda: read_volume(["1.dcm", "2.dcm"]), r"not a list\. .* DICOM series is given by its folder"),
    "time points": (lambda: read_time_point(["a.nii", "b.nii"]), r"One path is wanted, not a list"),
    "files": (lambda: read_label_map(("a.nii", "b.nii")), r"One path is wanted, not a tuple"),
    "one plane": (lambda: LIVER.cut(Plane((0, 0, 0), (1, 0, 0))), r"cuts of cut are a list, not a single Plane"),
    "one plane to divide": (lambda: LIVER.divided(Plane((0, 0, 0), (1, 0, 0))), r"cuts of divided are a list"),
    "names": (lambda: LabelMap(ORGANS.array, np.eye(4), {1: "liver"}), r"but 1 is in it\. Give \[Structure"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told(slip):
    call, told = SLIPS[slip]
    with pytest.raises(UsageError, match=told):
        call()


def test_a_matrix_of_numbers_is_taken_and_an_array_kept():
    as_list = Volume(VOXELS, np.diag([2, 2, 3, 1]).tolist())
    assert as_list == CT and as_list.ijk_to_ras.dtype == np.float64
    assert Volume(VOXELS, CT.ijk_to_ras).ijk_to_ras is CT.ijk_to_ras


def test_a_device_of_torch_is_its_name():
    import torch

    from DeepSegLogic.inference.device import choose_device

    assert choose_device(torch.device("cpu")) == torch.device("cpu")


def test_every_documented_function_looks_at_what_it_is_given():
    """Those that read files themselves need not: their annotations allow paths."""
    documented = re.findall(r"^::: (\S+)$", (Path(__file__).parents[3] / "docs" / "api.md").read_text("utf-8"), re.M)
    functions = [one for one in map(locate, documented) if inspect.isfunction(one)]
    takers = [
        one
        for one in functions
        if any(
            re.fullmatch(r"(Volume|LabelMap|TimePoint)( \| None)?", str(told))
            for name, told in one.__annotations__.items()
            if name != "return"
        )
    ]
    assert len(takers) > 15
    assert [one.__qualname__ for one in takers if not hasattr(one, "__wrapped__")] == []
