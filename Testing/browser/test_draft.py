"""A drafted report on the page: offered where the server's user set up a model, corrected, exported with the report."""

import json

import language_models
import pytest

from .conftest import start, stop, visit, write_small
from .steps import download, unzip, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def model():
    with language_models.Scripted() as model:
        yield model


@pytest.fixture
def page(browser, chest_ct, tmp_path, monkeypatch, model):
    """A page with a small CT, of a user who set up a language model."""
    write_small(chest_ct, tmp_path / "small.nii.gz")
    settings = tmp_path / "user" / "DeepSeg" / "drafting.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"url": model.url, "model": "scripted", "other_host": False, "pictures": False}))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    running = start(tmp_path / "small.nii.gz", tmp_path)
    page = visit(browser, running.url, size=(1280, 900))
    page.get_by_text("80×80×18 voxels").wait_for()
    yield page
    page.close()
    stop(running)


def test_a_report_is_drafted_corrected_and_exported(page, model):
    page.get_by_role("button", name="Segment", exact=True).click()
    page.get_by_role("table", name="Structures found").wait_for(timeout=200_000)

    def lung():
        return next(line for line in model.table if line.startswith("Left lung: volume "))

    model.text = lambda handler: language_models.say(handler, f"{lung()}. The left lung has 7.5 ml.")
    page.get_by_role("button", name="Draft report").click()
    words = page.get_by_role("textbox", name="Draft of the findings")
    wait_until(page, lambda: words.input_value() == f"{lung()}. The left lung has ~~7.5 ml~~ [?].")
    page.get_by_text("nobody has checked or signed it").wait_for()
    words.fill(f"{lung()}. Seen by a reader. No 9.5 ml.")
    page.get_by_text("Not in the table: 9.5 ml").wait_for()
    assert words.input_value() == f"{lung()}. Seen by a reader. No 9.5 ml.", "a person's words stay as typed"
    report = download(page, ["Report"])
    report = report if report.startswith(b"<") else unzip(report).read("report.html")
    assert "Seen by a reader. No 9.5 ml." in report.decode()
