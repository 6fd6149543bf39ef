"""A drafted report on the page: only where the server's user set up a model; corrected there, and exported."""

import json

import language_models
import pytest

from .conftest import start, stop
from .steps import download, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def model():
    with language_models.Scripted() as server:
        server.text = lambda handler: language_models.say(
            handler, f"{server.table[0]}. There is a <b>mass</b> in the liver. The left lung has 7.5 ml."
        )
        yield server


@pytest.fixture(scope="module")
def server(browser, chest_ct, model, tmp_path_factory):
    """With a language model in the user's settings."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "data" / "DeepSeg").mkdir(parents=True)
    (folder / "data" / "DeepSeg" / "drafting.json").write_text(json.dumps({"url": model.url, "model": "medgemma"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        running = start(chest_ct, folder)
    yield running
    stop(running)


def test_a_draft_is_corrected_on_the_page_and_in_the_report(done, browser, model, tmp_path):
    done.get_by_role("button", name="Draft report").click()
    text = done.get_by_label("Draft of the findings")
    text.wait_for()
    line = model.table[0]
    drafted = f"{line}. ~~There is a <b>mass</b> in the liver.~~ [?] The left lung has ~~7.5 ml~~ [?]."
    assert text.input_value() == drafted
    assert done.get_by_text("nobody has checked or signed it").is_visible()
    assert done.get_by_text("2 of the model's statements").is_visible()
    text.fill(f"{line}. Seen by me, 9.5 ml.")
    done.get_by_text("Not in the table: 9.5 ml.").wait_for()
    assert text.input_value() == f"{line}. Seen by me, 9.5 ml."
    (tmp_path / "report.html").write_bytes(download(done, ["Report (HTML)"]))

    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    shown = page.get_by_role("textbox", name="Draft of the findings")
    assert shown.inner_text().strip() == f"{line}. Seen by me, 9.5 ml."
    assert page.get_by_text("Changed by a person.").is_visible()
    shown.fill("My own words.")  # before it is printed
    assert shown.inner_text() == "My own words."
    page.close()
    wait_until(done, lambda: done.get_by_role("button", name="Draft report").is_enabled())
