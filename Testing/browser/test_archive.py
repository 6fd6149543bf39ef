"""The page and a real archive (Orthanc): a series comes in, its result goes back and comes in again."""

import numpy as np
import orthanc
import pydicom
import pytest
from pydicom.uid import generate_uid

from DeepSegLogic import LabelMap, read_label_map, read_volume, write_dicom_seg
from DeepSegLogic.io.dicom.archive_settings import ArchiveSettings
from DeepSegLogic.io.dicom.web_archive import Archive

from .conftest import start, stop, visit
from .steps import wait_for_volume

pytest.importorskip("dicomweb_client", reason='needs dicomweb-client (pip install -e ".[archive]")')
pytest.importorskip("highdicom", reason='needs highdicom (pip install -e ".[dicom]")')
pytestmark = pytest.mark.timeout(300)


def write_coarse(given, folder, patient="4711"):
    """Every fourth voxel in each slice of a real series, with the IDs that its anonymiser removed."""
    folder.mkdir()
    study, series = generate_uid(), generate_uid()
    for path in given.iterdir():
        slice_ = pydicom.dcmread(path)
        slice_.PatientID, slice_.PatientName = patient, "Case^Test"
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID, slice_.StudyDate = study, series, "20240102"
        pixels = slice_.pixel_array[::4, ::4]
        slice_.decompress()
        slice_.PixelData, (slice_.Rows, slice_.Columns) = pixels.tobytes(), pixels.shape
        slice_.PixelSpacing = [4 * float(mm) for mm in slice_.PixelSpacing]
        slice_.save_as(folder / f"{slice_.SOPInstanceUID}.dcm", enforce_file_format=True)
    return folder


def coarse_labels(given, series):
    """The reference labels of the series, on the grid of :func:`write_coarse`."""
    fine, grid = read_label_map(given / "labels.nii.gz"), read_volume(series)
    step = np.linalg.inv(fine.ijk_to_ras) @ grid.ijk_to_ras
    index = [np.rint(step[a, 3] + step[a, a] * np.arange(n)).astype(int) for a, n in enumerate(grid.shape_ijk)]
    return LabelMap(fine.array[np.ix_(*index[::-1])], grid.ijk_to_ras, fine.structures)


@pytest.fixture(scope="module")
def pacs(shared_data, tmp_path_factory):
    """The archive's settings, the folder of its CT, and the labels of which it has a SEG."""
    folder, given = tmp_path_factory.mktemp("pacs"), shared_data / "abdomen_ct_dicom"
    series = write_coarse(given / "series", folder / "ct")
    labels = coarse_labels(given, series)
    write_dicom_seg(labels, folder / "reference.dcm", source=series)
    with orthanc.running(folder) as url:
        settings = ArchiveSettings(url, user=orthanc.USER, password=orthanc.PASSWORD)
        Archive(settings).send([*series.iterdir(), folder / "reference.dcm"])
        yield settings, series, labels


@pytest.fixture
def opened(browser, pacs, tmp_path, monkeypatch):
    for name in ("url", "user", "password"):
        monkeypatch.setenv(f"DEEPSEG_PACS_{name.upper()}", getattr(pacs[0], name))
    server = start(None, tmp_path, "--archive")
    page = visit(browser, server.url)
    yield page
    page.close()
    stop(server)
    assert not list(tmp_path.glob("deepseg*"))


def find(page, patient):
    page.get_by_role("button", name="Open from archive").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Patient ID").fill(patient)
    dialog.get_by_role("button", name="Find").click()
    return dialog


def test_a_series_comes_its_result_goes_and_comes_again(opened, pacs):
    page, (settings, _, labels) = opened, pacs
    dialog = find(page, "nobody")
    dialog.get_by_text("No series found.").wait_for()
    dialog.get_by_role("button", name="Close").click()

    dialog = find(page, "4711")
    dialog.get_by_role("listitem").filter(has_text="SEG · DeepSeg").wait_for()
    assert "Case" not in dialog.inner_text(), "names of patients are not shown"
    dialog.get_by_text("2024-01-02 · 20 images").click()
    page.get_by_text("128×128×20 voxels").wait_for()

    find(page, "4711").get_by_role("listitem").filter(has_text="SEG · DeepSeg").click()
    page.get_by_role("table", name="Structures found").wait_for()
    for structure in labels.structures:
        known = np.count_nonzero(labels.mask(structure.name)) * labels.voxel_ml
        wait_for_volume(page, structure.title, lambda ml, known=known: ml == pytest.approx(known, abs=0.06))

    page.get_by_role("button", name="Export").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Send to archive", disabled=True).wait_for()  # no DICOM format is ticked
    for label in ("DICOM SEG", "RTSTRUCT", "DICOM SR"):
        dialog.get_by_label(label).check()
    dialog.get_by_role("button", name="Send to archive").click()
    page.get_by_text("Files sent to the archive: 3.").wait_for(state="attached")
    archive = Archive(settings)
    kinds = [one.modality for one in archive.find(patient="4711")]
    assert sorted(kinds) == ["CT", "RTSTRUCT", "SEG", "SEG", "SR"]


def test_what_fails_leaves_what_was_there(opened):
    page = opened
    find(page, "4711").get_by_text("20 images").click()
    page.get_by_text("128×128×20 voxels").wait_for()
    page.evaluate("window.trame.trigger('fetch', ['1.2.3'])")
    page.get_by_role("alert").filter(has_text="This series was not found.").wait_for()
    assert page.get_by_text("128×128×20 voxels").is_visible()


def test_without_permission_the_page_reaches_no_archive(page):
    assert page.get_by_role("button", name="Open from archive").count() == 0
    for trigger, values in (("find", ["4711", ""]), ("fetch", ["1.2"]), ("send", [["sr"]])):
        page.evaluate("([trigger, values]) => window.trame.trigger(trigger, values)", [trigger, values])
        page.get_by_role("alert").filter(has_text="The page may not use an archive.").wait_for()
