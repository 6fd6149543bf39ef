"""Models come in by a file and go again."""

import zipfile
from pathlib import Path

import pytest

from .conftest import start, stop, visit
from .steps import wait_until

pytestmark = pytest.mark.timeout(300)

TINY = Path(__file__).parents[1] / "data" / "nnunet_anisotropic"


@pytest.fixture
def own_page(browser, chest_ct, tmp_path, monkeypatch):
    """A page whose server keeps models in a folder of the test."""
    monkeypatch.setenv("DEEPSEG_MODELS", str(tmp_path / "models"))
    (tmp_path / "tmp").mkdir()
    server = start(chest_ct, tmp_path / "tmp")
    page = visit(browser, server.url)
    page.get_by_text("128×128×34 voxels").wait_for()
    yield page
    page.close()
    stop(server)


def bring(page, file) -> None:
    """Choose a model's file and say yes."""
    page.get_by_role("button", name="More models").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Import from file").click()
    chooser.value.set_files(file)
    question = page.get_by_role("dialog").filter(has_text=f"Import {file.name} (")
    question.get_by_text("Only use models from a source that you know.").wait_for()
    question.get_by_role("button", name="Import").click()


def test_a_model_is_imported_and_removed(own_page, tmp_path):
    page = own_page
    path = tmp_path / "Tiny.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("plans.json", "dataset.json", "fold_0/checkpoint_final.pth"):
            archive.write(TINY / name, f"Dataset900_Tiny/nnUNetTrainer__plans__3d_fullres/{name}")
    bring(page, path)
    page.get_by_text(" is installed.").wait_for()
    page.get_by_text("About").wait_for()  # the estimate for the new model
    folder = next(card.parent for card in (tmp_path / "models").glob("[!.]*/card.json"))
    assert (folder / "fold_0" / "checkpoint_final.pth").read_bytes() == (
        TINY / "fold_0" / "checkpoint_final.pth"
    ).read_bytes()
    wait_until(page, lambda: not list((tmp_path / "tmp").rglob("Tiny*")))  # the upload is deleted

    page.get_by_role("button", name="More models").click()
    page.get_by_role("dialog", name="Models").wait_for()
    page.reload()  # or another tab
    page.get_by_text("128×128×34 voxels").wait_for()
    page.get_by_role("button", name="More models").click()
    models = page.get_by_role("dialog").filter(has_text="Torso CT, demonstration")
    models.get_by_role("textbox", name="Search by name or structure").fill("demonstration")
    remove = models.get_by_role("button", name="Remove")
    remove.wait_for(state="detached")  # what comes with DeepSeg stays
    models.get_by_role("textbox", name="Search by name or structure").fill("")
    remove.click()
    question = page.get_by_role("dialog").filter(has_text="from this machine?")
    question.get_by_role("button", name="Cancel").click()
    question.wait_for(state="hidden")
    assert folder.exists()
    remove.click()
    question.get_by_role("button", name="Remove").click()
    remove.wait_for(state="detached")
    assert not folder.exists()
    models.get_by_role("button", name="Close").click()
    page.get_by_text("Choose a model.").wait_for()


def test_what_is_no_model_is_told(own_page, tmp_path):
    page = own_page
    path = tmp_path / "no model.zip"
    path.write_bytes(b"this is no archive")
    bring(page, path)
    alert = page.get_by_role("alert").filter(has_text="no model.zip")
    alert.wait_for()
    assert str(tmp_path) not in alert.inner_text()
    wait_until(page, page.get_by_role("button", name="Segment", exact=True).is_enabled)


def test_the_model_that_finds_the_region_is_offered_too(own_page):
    page = own_page
    page.get_by_role("button", name="More models").click()
    models = page.get_by_role("dialog", name="Models")
    models.get_by_role("textbox", name="Search by name or structure").fill("liver vessels")
    models.get_by_role("button", name="Install Liver vessels").first.click()
    question = page.get_by_role("dialog").filter(has_text="needs another model:")
    question.get_by_text("Whole body, 117 structures, 6 mm (version 2) will be downloaded").wait_for()
    question.get_by_role("button", name="Cancel").click()
