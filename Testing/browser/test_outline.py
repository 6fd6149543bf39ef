"""The outline of what a prompt would change: what is drawn again for it, and when it goes. Without a browser."""

import asyncio
import importlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.data.volume import Volume
from DeepSegLogic.refinement import Point

from .test_scene import FACTS, State, _run

pytestmark = pytest.mark.timeout(100)

MISSING = Point("liver", True, (10.0, 10.0, 14.0))


@pytest.fixture
def scene():
    """A scene with half of an organ as the result."""
    pytest.importorskip("trame_slicer", reason="needs the extra `web`")
    scene = importlib.import_module("DeepSegWeb.scene").PageScene()
    organ = np.zeros((24, 24, 24), bool)
    organ[4:20, 4:20, 4:20] = True
    ct = np.where(organ, 60, -90) + np.random.default_rng(0).normal(0, 10, organ.shape)
    scene.show_volume(Volume(ct.astype(np.int16), np.eye(4), "ct", "CT"))
    organ[12:] = False
    scene.work.adopt(LabelMap(organ.astype(np.uint8), np.eye(4), [structure_for("liver", 1)]), FACTS)
    yield scene
    scene.work.session.close()


@pytest.mark.parametrize(
    ("modality", "shift", "told"), [("CT", 0, "7 HU"), (None, 0, "7 HU"), ("MR", 0, "7"), (None, 1100, "1107")]
)
def test_only_grey_values_of_a_ct_are_told_in_hu(scene, modality, shift, told):
    """Soft tissue and air; an MR without a header has no negative values."""
    greys = np.random.default_rng(0).normal(40, 20, (24, 24, 24)).astype(np.int16)
    greys[:, :, 12:], greys[3, 0, 3] = -1000, 7
    scene.show_volume(Volume(greys + np.int16(shift), np.eye(4), "scan", modality))
    probe = importlib.import_module("DeepSegWeb.probe").Probe(State(), scene)
    assert probe._told([3.0, -0.2, 3.0]) == {"value": told, "place": "R 3.0 P 0.2 S 3.0 mm"}
    assert probe._told([3.0, -2.0, 3.0]) == {}, "outside"


@pytest.fixture
def drawn(scene):
    """The names of the views that were drawn, as often as they were."""
    drawn = []
    attentive = importlib.import_module("DeepSegWeb.views")._Attentive
    from trame_slicer.views import SliceView, ThreeDView

    kept = []
    for name in ("Red", "Green", "Yellow", "ThreeD"):
        kind = ThreeDView if name == "ThreeD" else SliceView
        view = kind(scene=scene.app.scene, app_logic=scene.app.app_logic, name=name)
        adapter = SimpleNamespace(schedule_render=lambda name=name: drawn.append(name))
        view.set_scheduled_render(attentive(scene.attention, adapter))
        kept.append(view)
    drawn.clear()
    yield drawn
    for view in kept:
        view.finalize()


@pytest.mark.parametrize("hand", ["Red", "Green", "Yellow"])
def test_an_outline_is_drawn_where_the_hand_is_then_in_the_other_slices_and_never_in_3d(scene, drawn, hand):
    """The clock goes as the test says."""
    corrections, rest = scene.work.corrections, importlib.import_module("DeepSegWeb.attention").REST_S
    scene.attention.hand = hand

    async def turn():
        loop = asyncio.get_running_loop()
        now = loop.time()
        loop.time = lambda: now

        async def wait(seconds):
            nonlocal now
            now += seconds
            for _ in range(2):  # what is due then, and what that asks for
                await asyncio.sleep(0)

        corrections.preview(MISSING, 1.0)
        for notch in range(10):
            corrections.previewAt(2.0 ** (notch / 4))
            await wait(0.9 * rest)
        assert set(drawn) == {hand}
        drawn.clear()
        await wait(2 * rest)
        assert sorted(drawn) == sorted({"Red", "Green", "Yellow"} - {hand})
        drawn.clear()
        corrections.endPreview()
        assert set(drawn) == {hand}
        corrections.prompt(MISSING)
        assert set(drawn) == {"Red", "Green", "Yellow", "ThreeD"}
        drawn.clear()
        await wait(2 * rest)
        assert drawn == [], "what was drawn meanwhile"

    _run(turn())


def test_views_are_drawn_without_multisampling(scene):
    """In a software renderer, it doubles what a notch of the wheel costs."""
    from trame_slicer.views import SliceView, ThreeDView

    made = importlib.import_module("DeepSegWeb.views")._made
    for kind, name in ((SliceView, "Red"), (ThreeDView, "ThreeD")):
        view = made(kind, scene=scene.app.scene, app_logic=scene.app.app_logic, name=name)
        assert view.render_window().GetMultiSamples() == 0
        view.finalize()


@pytest.fixture
def correcting(scene):
    state = State(
        tool="add",
        shape="stroke",
        current="liver",
        reach=0.0,
        told="",
        limited=False,
        low=0,
        high=1,
        brush=9,
        outlined={},
        visible=[],
    )
    correcting = importlib.import_module("DeepSegWeb.correcting").Correcting(state, scene)
    correcting.editing = SimpleNamespace(drop=lambda: None, use=lambda *_, **__: None)
    return correcting


def test_what_a_page_was_drawing_goes_with_it(scene, correcting):
    scene.work.corrections.preview(MISSING, 1.0)
    correcting.state.told = "+1 ml. Turn the wheel to change more or less, release to apply."
    correcting.drop()  # as when the page is loaded again
    assert not scene.work.corrections.previewing
    assert scene.app.scene.GetFirstNodeByName("DeepSegProposal") is None
    assert correcting.state.told == "Click or draw a stroke where the structure is missing."
    assert correcting.state.tool == "add", "which stays in the hand"


def test_a_step_ends_the_outline_of_the_labels_before(scene):
    corrections = scene.work.corrections
    corrections.prompt(MISSING, 0.5)
    corrections.undo()
    corrections.preview(MISSING, 1.0)
    corrections.redo()
    assert not corrections.previewing
    assert scene.app.scene.GetFirstNodeByName("DeepSegProposal") is None


def test_what_is_drawn_on_and_changes_nothing_any_more_says_so_in_place_of_what_was_outlined(scene, correcting):
    correcting.state.update(tool="remove", shape="lasso", current="liver")
    correcting._attention.hand = "Red"
    ras_to_view = np.eye(4)
    ras_to_view[2, 3] = -8  # in the middle of the liver
    correcting._sketch = np.array([(10.0, 10.0)]), ras_to_view
    correcting._outline()
    assert correcting.state.outlined == {"view": "Red", "text": correcting.state.told.partition(". Turn")[0]}
    correcting._sketch = np.array([(10.3, 10.3), (10.4, 10.3), (10.4, 10.4)]), ras_to_view  # between voxels
    correcting._outline()
    assert not scene.work.corrections.previewing
    assert "nothing was corrected" in correcting.state.told
    assert correcting.state.outlined == {"view": "Red", "text": correcting.state.told}


def test_a_click_beside_all_islands_says_so(correcting):
    correcting.state.tool = "piece"
    correcting._edit(lambda _correction: None)
    assert correcting.state.told == "Nothing changed: the current structure is not here."
    correcting.state.tool = "paint"
    correcting._edit(lambda _correction: None)
    assert correcting.state.told == "Nothing changed: the result already agrees with it."


def test_warnings_of_a_result_stay_when_the_next_task_has_none(scene):
    binding, showing = (importlib.import_module(f"DeepSegWeb.{name}") for name in ("binding", "showing"))
    correcting = SimpleNamespace(begin=lambda: None, tell_run=lambda: None)
    state = State(binding.initial(), no_dicom="")
    shown = showing.Showing(state, scene, correcting, say=lambda error: None)
    result = scene.work.session.outcome.result
    shown.show_result(replace(result, warnings=["This CT is outside what the model was trained on."]))
    shown.show_run(replace(scene.work.session.jobs.run, task="plan", warnings=[]))
    assert state.run["warnings"] == []
    assert state.result_warnings == ["This CT is outside what the model was trained on."]
    shown.show_result(None)
    assert state.result_warnings == []


def test_the_camera_turns_to_a_new_result_and_stays_when_all_corrections_are_undone(scene, monkeypatch):
    binding, showing = (importlib.import_module(f"DeepSegWeb.{name}") for name in ("binding", "showing"))
    correcting = SimpleNamespace(begin=lambda: None, tell_run=lambda: None)
    shown = showing.Showing(State(binding.initial(), no_dicom=""), scene, correcting, say=lambda error: None)
    looked = []
    monkeypatch.setattr(scene, "look_at_surfaces", lambda: looked.append(True))
    for results in (1, 2):
        shown.show_result(scene.work.session.outcome.result)
        shown.show_surfaces(None)
        scene.work.corrections.prompt(MISSING, 0.5)
        shown.show_surfaces(None)
        scene.work.corrections.undo()
        shown.show_surfaces(None)
        assert len(looked) == results
