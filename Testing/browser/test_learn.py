"""A model learns from corrections on the page, with a small model."""

import contextlib
from types import SimpleNamespace

import pytest

from DeepSegLogic.adaptation.cases import CorrectedCases
from DeepSegLogic.adaptation.fine_tune import adapt
from DeepSegLogic.io import write_volume
from DeepSegLogic.io.patients import patient_key
from DeepSegLogic.models.find import find_model
from DeepSegLogic.models.import_export import import_model

from ..logic.adaptation.conftest import trained  # noqa: F401  # a fixture
from ..logic.training import phantom
from .conftest import start, stop, visit
from .steps import cells, wait_until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def page(browser, trained, tmp_path, monkeypatch):  # noqa: F811
    """At a page with a result of the model `lab`."""
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("DEEPSEG_CORRECTIONS", str(tmp_path / "corrections"))
    import_model(trained)
    write_volume(phantom.case(10)[0], tmp_path / "patient.nii.gz")
    server = start(tmp_path / "patient.nii.gz", tmp_path)
    page = visit(browser, server.url, seconds=120)
    page.get_by_text("32×28×24 voxels").wait_for()
    page.get_by_role("combobox", name="Model").first.click()
    page.get_by_role("option", name="lab", exact=True).click()
    wait_until(page, lambda: page.get_by_role("button", name="Segment", exact=True).is_enabled())
    page.get_by_role("button", name="Segment", exact=True).click()
    page.locator("table").wait_for()
    yield page
    page.close()
    stop(server)


def test_a_correction_is_collected_learnt_accepted_and_taken_back(page):
    cases = CorrectedCases("lab")
    collect = page.get_by_role("button", name="Collect result", exact=True)
    collect.click()
    question = page.get_by_role("dialog", name="Collect result")
    question.get_by_text("It is a patient's image.").wait_for()
    assert "/" not in question.inner_text(), "paths of the server are not the browser's business"
    question.get_by_role("button", name="Cancel").click()
    question.wait_for(state="hidden")
    wait_until(page, lambda: collect.evaluate("(button) => button === document.activeElement"))
    assert not cases.all()
    page.get_by_label("Patient", exact=True).fill("P 7")
    collect.click()
    question.get_by_role("button", name="Collect", exact=True).click()
    page.get_by_text("patient: Liver").wait_for()
    assert [(case.name, case.patient) for case in cases.all()] == [("patient", patient_key("P 7"))]
    assert page.get_by_label("Patient", exact=True).input_value() == "P 7"

    page.get_by_role("button", name="Learn", exact=True).click()
    page.get_by_text("Learning").first.wait_for()
    page.get_by_role("button", name="Cancel", exact=True).click()
    wait_until(page, collect.is_enabled)
    adapt("lab", steps=1, device="cpu")  # in less than a minute
    collect.click()
    question.get_by_role("button", name="Collect", exact=True).click()
    table = page.get_by_role("table", name="Dice before and after")
    table.get_by_text("Learnt from").wait_for()
    assert len(cells(table)[0]) == 4
    page.get_by_role("button", name="Accept", exact=True).click()
    table.wait_for(state="detached")
    wait_until(page, page.get_by_role("button", name="Go back", exact=True).is_enabled)
    assert find_model("lab_adapted").version == "1"
    page.get_by_role("button", name="Go back", exact=True).click()
    wait_until(page, page.get_by_role("button", name="Go back", exact=True).is_disabled)

    page.get_by_role("button", name="Delete patient").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("patient: Liver").wait_for(state="detached")
    assert not cases.all()


@pytest.mark.parametrize(("field", "minutes"), [("", 10), (None, 10), (0, 10), (-3, 1), (25.0, 25), (1e6, 1440)])
def test_an_empty_field_learns_for_as_long_as_the_last_time(field, minutes):
    """Without a browser."""
    learning = pytest.importorskip("DeepSegWeb.learning", reason="needs the extra `web`")
    adaptation = SimpleNamespace(minutes=10, learn=lambda: None)
    work = SimpleNamespace(session=SimpleNamespace(adaptation=adaptation))
    learning.Learning(SimpleNamespace(), work, contextlib.nullcontext).learn(field)
    assert adaptation.minutes == minutes
