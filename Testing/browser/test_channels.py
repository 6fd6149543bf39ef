"""A model that sees several images: each gets a volume, uploaded or from the server's folder."""

import shutil
from pathlib import Path

import pytest

from DeepSegLogic.models.import_export import import_model

from .conftest import start, stop, visit
from .steps import wait_until

pytestmark = pytest.mark.timeout(200)
KINDS = Path(__file__).parents[1] / "data" / "nnunet_kinds"


@pytest.fixture
def page(browser, tmp_path, monkeypatch):
    """At a page whose model sees three images; the first one is open."""
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "models"))
    import_model(KINDS / "channels", changes={"id": "three_images", "title": "Three images"})
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("image", "image_2"):
        shutil.copy(KINDS / f"{name}.nii.gz", folder)
    server = start(folder / "image.nii.gz", tmp_path, "--volumes", folder)
    page = visit(browser, server.url)
    page.get_by_text("40×44×28 voxels").wait_for()
    yield page
    page.close()
    stop(server)


def test_a_run_starts_once_each_channel_has_its_volume(page):
    assert not page.get_by_role("button", name="PET: open file").count()
    page.get_by_role("combobox", name="Model").first.click()
    page.get_by_role("option", name="Three images").click()
    page.get_by_text("Choose a volume for PET.").wait_for()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="PET: open file").click()
    chooser.value.set_files(KINDS / "image_1.nii.gz")
    page.get_by_text("PET: image_1").wait_for()
    page.get_by_text("Choose a volume for T1.").wait_for()
    assert page.get_by_text("40×44×28 voxels").is_visible()  # the input stays
    page.get_by_role("button", name="T1: open on server").click()
    page.get_by_text("image_2.nii.gz").click()
    page.get_by_text("T1: image_2").wait_for()
    page.get_by_role("button", name="Segment", exact=True).click()
    page.locator("table").wait_for(timeout=100_000)
    wait_until(page, lambda: page.locator("tbody tr").count() == 3)
