"""A network that takes prompts corrects on the page."""

import pytest

from Testing.logic.refinement.prompt_model import EVERYTHING_BRIGHT, LICENCE, TITLE, imported

from .conftest import start, stop
from .steps import take, volume_of, wait_for_volume
from .test_correct import choose, drag, undo_to

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("prompts")


@pytest.fixture(scope="module")
def server(browser, chest_ct, folder, tmp_path_factory):
    """A server of whose models one takes prompts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPSEG_MODELS", str(folder / "store"))
        imported(folder, network=EVERYTHING_BRIGHT)
        running = start(chest_ct, tmp_path_factory.mktemp("web"))
    yield running
    stop(running)


def correct_with(page, title) -> None:
    page.locator(".v-select", has_text="Correction method").click()
    page.get_by_role("option", name=title).click()


def test_a_model_corrects_with_the_same_undo(done):
    before = choose(done, "Left lung")
    correct_with(done, TITLE)
    done.get_by_text(LICENCE).wait_for()
    take(done, "Remove")
    drag(done, (0, 0))
    done.get_by_text(f"Left lung, remove: point, {TITLE} (Left lung −").wait_for()
    wait_for_volume(done, "Left lung", lambda ml: ml < before)
    lost = before - volume_of(done, "Left lung")
    undo_to(done, "Left lung", before)

    correct_with(done, "DeepSeg's solver")
    done.get_by_text(LICENCE).wait_for(state="detached")
    drag(done, (0, 0))
    done.get_by_text("Left lung, remove: point (Left lung −").first.wait_for()
    wait_for_volume(done, "Left lung", lambda ml: before - lost != ml < before)
    undo_to(done, "Left lung", before)


def test_what_fails_or_is_removed_leaves_the_result_and_the_solver(done, folder):
    before = choose(done, "Left lung")
    correct_with(done, TITLE)
    done.get_by_text(LICENCE).wait_for()
    weights = folder / "store" / "prompt_net" / "model.ts"
    weights.write_bytes(weights.read_bytes()[:100])  # not what was trusted
    take(done, "Remove")
    drag(done, (0, 0))
    alert = done.get_by_role("alert").filter(has_text="Whoever runs the server can trust it")
    alert.wait_for()
    assert volume_of(done, "Left lung") == before

    done.get_by_role("tab", name="Segment").click()
    done.get_by_role("button", name="More models").click()
    done.get_by_role("button", name=f"Remove {TITLE}").click()
    done.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    done.get_by_role("button", name=f"Remove {TITLE}").wait_for(state="detached")
    done.get_by_role("button", name="Close").click()
    done.get_by_role("tab", name="Result").click()
    done.get_by_text("is no longer installed").wait_for()
    done.locator(".v-select", has_text="Correction method").wait_for(state="detached")
