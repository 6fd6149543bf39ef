"""The planning page of a report."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from DeepSegLogic import InputError, LabelMap, Organ, Plane, Volume
from DeepSegLogic.planning import Plan, evaluate_plan, read_plan
from DeepSegLogic.results.folder import export_result
from DeepSegLogic.results.report.plan import STALE, plan_section

from ..planning.scenes import ball, cylinder, scene

CUT = {"type": "plane", "origin": [22, 22, 22], "normal": [1, 0, 0]}
ENTRIES = {"distances": [{"one": "tumor", "other": "vein"}], "resections": [{"organ": "liver", "cuts": [CUT]}]}


@pytest.fixture(scope="module")
def organs():
    shapes = {"liver": ball((0, 0, 0), 18), "vein": cylinder(3, 20), "tumor": ball((10, 0, 0), 4)}
    return scene(np.diag([1.0, 1.0, 1.5, 1.0]), shapes, 24)[0]


def pictures(html):
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"), int) for content in found]


def hues(picture):
    """Colors at full brightness, of pixels that are no background."""
    lit = picture[picture.max(-1) > 60]
    return lit / lit.max(-1, keepdims=True)


def test_the_page_has_the_numbers_the_parts_and_what_was_assumed(organs):
    html = plan_section(Plan(ENTRIES, "<b>Right</b>"), organs)
    cut = Organ(organs, "liver").cut([Plane((22, 22, 22), (1, 0, 0))])
    assert f"{cut.remnant_ml:.0f} ml ({cut.remnant_percent:.1f} %)" in html
    assert all(f"{part.ml:.0f} ml ({part.percent:.1f} %)" in html for part in cut.parts)
    assert "Plan: &lt;b&gt;Right&lt;/b&gt;" in html and "<b>" not in html
    assert "Volumes count whole voxels" in html and STALE not in html
    views = pictures(html)
    assert len(views) == 3
    divided = Organ(organs, "liver").divided([Plane((22, 22, 22), (1, 0, 0))])
    wanted = {s.name: np.array(s.color) / max(s.color) for s in divided.structures if "part" in s.name}
    seen = [{n for n, c in wanted.items() if (np.abs(hues(v) - c).max(-1) < 0.03).mean() > 0.1} for v in views]
    # part 1 is the patient's right half: alone from the right; both from the front and from below
    assert seen == [{"liver_part_1", "liver_part_2"}, {"liver_part_1"}, {"liver_part_1", "liver_part_2"}]
    front = views[0]
    right_half = np.abs(front / np.maximum(front.max(-1, keepdims=True), 1) - wanted["liver_part_1"]).max(-1) < 0.03
    assert np.argwhere(right_half)[:, 1].mean() < front.shape[1] / 2  # the patient's right is on the left


def test_numbers_that_no_longer_hold_are_marked(organs):
    plan = evaluate_plan(Plan(ENTRIES), organs).plan
    changed = LabelMap(
        np.where(organs.array == 3, 1, organs.array).astype(np.uint8), organs.ijk_to_ras, organs.structures
    )
    html = plan_section(plan.checked(changed), changed)
    assert STALE in html and f"{plan.numbers['distances'][0]['distance_mm']:.1f} mm" in html
    assert plan_section(Plan(), organs) == ""


def test_an_export_with_a_plan_has_both_files(organs, tmp_path):
    volume = Volume(np.zeros(organs.array.shape, np.int16), organs.ijk_to_ras, "phantom")
    plan = evaluate_plan(Plan(ENTRIES), organs).plan
    facts = {"model": {"id": "phantom"}}
    written = export_result(tmp_path / "out", organs, volume, ["html", "plan"], provenance=facts, plan=plan.as_json())
    assert {path.name for path in written} == {"report.html", "plan.json"}
    assert read_plan(tmp_path / "out" / "plan.json") == plan
    html = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert 'class="plan"' in html and "Tumor – Vein" in html
    with pytest.raises(InputError, match="The plan is not a plan"):
        export_result(tmp_path / "bad", organs, volume, ["plan"], provenance=facts, plan={"format": "deepseg.plan"})
    assert not (tmp_path / "bad" / "plan.json").exists()
