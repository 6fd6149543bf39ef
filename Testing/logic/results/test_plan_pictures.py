"""Pictures of a plan: the scale, what hides what, where a distance is, and the files."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from DeepSegLogic import Structure, UsageError, write_label_map
from DeepSegLogic.cli import main
from DeepSegLogic.planning import Plan, evaluate_plan, write_plan
from DeepSegLogic.planning.looks import LESION_COLOR, PRESETS, VIEWS, look_of, role_of
from DeepSegLogic.results.plan_labels import _LINE
from DeepSegLogic.results.plan_pictures import picture, plan_scene, turntable
from DeepSegLogic.results.rendering import BACKGROUND, Frame, render, rendered

from ..planning.scenes import ball, cylinder, scene

SIZE = 240, 180
CUT = {"type": "plane", "origin": [22, 22, 22], "normal": [1, 0, 0]}
ENTRIES = {
    "distances": [{"one": "liver_tumor", "other": "portal_vein"}],
    "margins": [{"structure": "liver_tumor", "mm": 3}],
    "resections": [{"organ": "liver", "cuts": [CUT]}],
    "distance_maps": [{"one": "liver_tumor", "other": "portal_vein"}],
}


@pytest.fixture(scope="module")
def organs():
    shapes = {"liver": ball((0, 0, 0), 18), "portal_vein": cylinder(4, 21), "liver_tumor": ball((11, 0, 0), 4)}
    return scene(np.diag([1.0, 1.0, 1.5, 1.0]), shapes, 22)[0]


@pytest.fixture(scope="module")
def done(organs):
    return evaluate_plan(Plan(ENTRIES), organs)


def colors(image):
    return np.asarray(image).astype(int)


def shown(image):
    """Where something is drawn."""
    return np.abs(colors(image) - BACKGROUND).max(2) > 6


def test_one_window_draws_each_picture_once_and_as_a_window_of_its_own_would(done, monkeypatch):
    from vtkmodules import vtkRenderingCore

    windows, drawings, make = [], [], vtkRenderingCore.vtkRenderWindow

    def made():
        windows.append(make())
        windows[-1].AddObserver("StartEvent", lambda *_: drawings.append(1))
        return windows[-1]

    monkeypatch.setattr(vtkRenderingCore, "vtkRenderWindow", made)
    drawn = plan_scene(done).drawn
    frames = [Frame.around([d.mesh for d in drawn], view, SIZE) for view in VIEWS.values()]
    together = list(rendered(drawn, frames))
    assert (len(windows), len(drawings)) == (1, len(frames))
    for image, frame in zip(together, frames, strict=True):
        np.testing.assert_array_equal(colors(image), colors(render(drawn, frame)))


def test_a_ball_is_as_large_as_its_scale_says_from_everywhere(organs):
    alone = evaluate_plan(Plan({}), organs)
    drawn = plan_scene(alone, "remnant").drawn[:1]  # the liver, 18 mm about its middle
    for view in VIEWS.values():
        frame = Frame.around([d.mesh for d in drawn], view, SIZE)
        rows, columns = np.nonzero(shown(render(drawn, frame)))
        for pixels in (rows, columns):
            assert (np.ptp(pixels) + 1) * frame.mm_per_pixel == pytest.approx(36, abs=2.5)
        np.testing.assert_allclose(frame.axes @ frame.axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(frame.axes) == pytest.approx(1)  # no mirror


def test_views_show_the_side_that_they_say(done):
    """Pixels of a place that lies to the patient's right, in front and towards the head."""
    place = {name: Frame.around([], view, SIZE).pixels(np.array([[0.1, 0.2, 0.3]]))[0] for name, view in VIEWS.items()}
    x, y = SIZE[0] / 2, SIZE[1] / 2
    assert place["front"][0] < x and place["front"][1] < y  # the right on the left, the head up
    assert place["right"][0] > x and place["left"][0] < x and place["right"][1] < y  # the front
    assert place["below"][0] < x and place["below"][1] < y  # as an axial slice
    assert place["surgeon"][0] < x  # the head on the left


def test_what_the_plan_is_about_is_named_first(done):
    others = [Structure(100 + n, f"organ_{n}", f"Organ {n}") for n in range(30)]
    array = done.label_map.array.copy()
    array[0, 0, : len(others)] = [s.value for s in others]
    crowded = replace(done.label_map, array=array, structures=[*others, *done.label_map.structures], layers=[])
    named = [caption.text for caption in plan_scene(replace(done, label_map=crowded)).captions]
    assert {"Liver, part 1", "Liver, part 2", "Liver_tumor", "Portal_vein"} <= set(named[:-30])
    assert named[-30:] == [s.title for s in others]


def test_what_is_opaque_hides_and_what_is_translucent_shows_through(done):
    through, solid = (colors(picture(plan_scene(done, preset), VIEWS["front"], SIZE)) for preset in ("plan", "solid"))
    frame = Frame.around([d.mesh for d in plan_scene(done, "plan").drawn], VIEWS["front"], SIZE)
    left, top = frame.pixels(np.array([[33.0, 22.0, 24.0]]))[0].astype(int)  # the tumor, within the liver
    assert np.abs(through[top, left] - solid[top, left]).max() > 40
    assert (
        shown(picture(plan_scene(done, "remnant"), VIEWS["front"], SIZE)).sum()
        < shown(Image.fromarray(solid.astype(np.uint8))).sum()
    )


def test_the_distance_is_drawn_where_it_is(done):
    plan = plan_scene(done, "plan")
    image = picture(plan, VIEWS["front"], SIZE, 2)
    assert image.size == (480, 360)
    frame = Frame.around([d.mesh for d in plan.drawn], VIEWS["front"], image.size)
    for x, y in frame.pixels(np.array(done.plan.numbers["distances"][0]["points_ras"])).astype(int):
        assert tuple(image.getpixel((int(x), int(y)))) == _LINE
    assert [m.text for m in plan.measured] == [f"{done.plan.numbers['distances'][0]['distance_mm']:.1f} mm"]
    assert {c.text for c in plan.captions} >= {"Liver, part 1", "Portal_vein", "Liver_tumor"}


def test_a_turntable_goes_around(done, monkeypatch):
    monkeypatch.setattr("DeepSegLogic.results.plan_pictures._FRAMES", 6)
    frames = turntable(plan_scene(done, "plan"), (96, 72))
    first, *others = (shown(frame) for frame in frames)
    assert len(frames) == 6 and all(0.2 < one.mean() / first.mean() < 5 for one in others)
    assert (np.abs(colors(frames[0]) - colors(frames[3])).max(2) > 20).any()


def test_roles_and_looks(done):
    structures = {s.name: s for s in done.label_map.structures}
    assert role_of(structures["liver_tumor"]) == "lesion" and role_of(structures["portal_vein"]) == "vessel"
    assert look_of(structures["liver_tumor"], "plan").color == LESION_COLOR
    part = structures["liver_part_1"]
    assert look_of(part, "plan", {"liver_part_1"}).opacity == PRESETS["plan"].removed < look_of(part, "plan").opacity
    assert all(0 <= look_of(s, p).opacity <= 1 for s in structures.values() for p in PRESETS)
    with pytest.raises(UsageError, match="no preset 'pretty'"):
        plan_scene(done, "pretty")


def test_the_command_writes_pictures(organs, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("DeepSegLogic.results.plan_pictures._FRAMES", 3)
    monkeypatch.setattr("DeepSegLogic.results.plan_pictures.SIZE", (96, 72))
    write_label_map(organs, tmp_path / "organs.seg.nrrd")
    write_plan(Plan({"distances": ENTRIES["distances"]}), tmp_path / "plan.json")
    command = ["plan", str(tmp_path / "organs.seg.nrrd"), "--plan", str(tmp_path / "plan.json"), "--pictures"]
    assert main([*command, "-o", str(tmp_path / "out"), "--preset", "vessels"]) == 0
    written = sorted(path.name for path in (tmp_path / "out" / "pictures").iterdir())
    assert written == ["below.png", "front.png", "left.png", "right.png", "surgeon.png", "turntable.gif"]
    assert Image.open(tmp_path / "out" / "pictures" / "front.png").size == (192, 144)
    assert Image.open(tmp_path / "out" / "pictures" / "turntable.gif").n_frames == 3
    assert main([*command, "-o", str(tmp_path / "other"), "--preset", "pretty"]) == 2
    assert "no preset" in capfd.readouterr().err and not (tmp_path / "other").exists()
