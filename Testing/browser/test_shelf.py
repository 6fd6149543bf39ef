"""The page reaches what is below the folder that was allowed, and nothing else."""

import shutil

import pytest
import SimpleITK as sitk

from DeepSegLogic.util.errors import InputError

from .conftest import start, stop, visit
from .test_safety import write_dicom

shelf = pytest.importorskip("DeepSegWeb.shelf")

pytestmark = pytest.mark.timeout(200)


@pytest.fixture
def folder(tmp_path, chest_ct):
    """Some volumes, a DICOM series, and links that lead out, beside a volume that is not to be reached."""
    root = tmp_path / "shared"
    (root / "patients" / "series").mkdir(parents=True)
    shutil.copy(chest_ct, root / "patients" / "chest.nrrd")
    write_dicom(root / "patients" / "series")
    (root / "notes.txt").write_text("no volume", "utf-8")
    (root / ".hidden.nrrd").write_text("", "utf-8")
    outside = tmp_path / "outside"
    outside.mkdir()
    sitk.WriteImage(sitk.Image(6, 5, 4, sitk.sitkInt16) + 3, str(outside / "secret.nrrd"))
    (root / "link.nrrd").symlink_to(outside / "secret.nrrd")
    (root / "way out").symlink_to(outside)
    (root / "circle").symlink_to("circle")
    (root / "inside.nrrd").symlink_to(root / "patients" / "chest.nrrd")
    return root


def test_only_what_is_inside_is_listed(folder):
    looked = shelf.Shelf(folder).look("")
    assert looked == {
        "path": "", "up": None, "name": "shared", "folders": ["patients"], "files": ["inside.nrrd"], "series": False
    }  # fmt: skip
    below = shelf.Shelf(folder).look("patients")
    assert (below["path"], below["folders"], below["files"]) == ("patients", ["series"], ["chest.nrrd"])
    series = shelf.Shelf(folder).look("patients/series")
    assert series["series"] and not series["files"]
    assert shelf.Shelf(folder).look(series["up"]) == below
    assert shelf.Shelf(folder).look(below["up"]) == looked


@pytest.mark.parametrize(
    "path",
    ["../outside/secret.nrrd", "/etc/passwd", "link.nrrd", "way out/secret.nrrd", "patients/../../outside/secret.nrrd",
     "way out", "..", "../shared2", "a\0b", "circle", "no such.nrrd", "x" * 5000, {"a": 1}],
)  # fmt: skip
def test_what_is_outside_does_not_exist(folder, path):
    with pytest.raises(InputError, match="There is no "):
        shelf.Shelf(folder).find(path)
    with pytest.raises(InputError, match="There is no "):
        shelf.Shelf(folder).look(path)


def test_files_that_lead_outside_are_refused(folder):
    outside = folder.parent / "outside"
    shutil.copy(next((folder / "patients" / "series").iterdir()), outside / "slice.dcm")
    (folder / "patients" / "series" / "more.dcm").symlink_to(outside / "slice.dcm")
    with pytest.raises(InputError, match="links that lead out"):
        shelf.Shelf(folder).find("patients/series")
    shutil.copy(outside / "slice.dcm", folder / "patients" / "slice.nrrd")
    with pytest.raises(InputError, match="is not a volume"):
        shelf.Shelf(folder).find("patients/slice.nrrd")
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\nencoding: raw\ndata file: ../outside/secret.nrrd\n\n"
    (folder / "header.nhdr").write_text(header, "utf-8")
    with pytest.raises(InputError, match="leads to other files"):
        shelf.Shelf(folder).find("header.nhdr")


def test_the_page_opens_what_is_inside_and_only_that(browser, chest_ct, folder, tmp_path):
    (tmp_path / "tmp").mkdir()
    server = start(chest_ct, tmp_path / "tmp", "--volumes", folder)
    page = visit(browser, server.url)
    page.get_by_text("128×128×34 voxels").wait_for()
    page.get_by_role("button", name="Open on server").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("patients").click()
    dialog.get_by_text("series").click()
    dialog.get_by_role("button", name="Open this DICOM folder").click()
    page.get_by_text("40×32×12 voxels").wait_for()
    dialog.wait_for(state="detached")
    # whatever the page shows, a browser can ask for more
    for trigger, name in (("browse", "../outside"), ("take", "../outside/secret.nrrd")):
        page.evaluate("([trigger, name]) => window.trame.trigger(trigger, [name])", [trigger, name])
        page.get_by_role("alert").filter(has_text=f"There is no {name} in the folder.").wait_for()
    assert page.get_by_text("40×32×12 voxels").is_visible()
    page.close()
    stop(server)


def test_without_a_folder_nothing_is_listed(page):
    assert page.get_by_role("button", name="Open on server").count() == 0
    page.evaluate("window.trame.trigger('browse', ['.'])")
    page.get_by_role("alert").filter(has_text="The page may not open files of the server.").wait_for()
