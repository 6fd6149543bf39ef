"""Runs on a server, chosen on the page: a real server process with the real model, on the loopback address."""

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("fastapi", reason="needs the extra server")

from running_server import Running

from DeepSegLogic.remote.known import WHAT_LEAVES, KnownServers

from .conftest import THREADS, start, stop, visit, write_small
from .steps import BEGUN, download, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", THREADS)
    running = Running(tmp_path, "DeepSegLogic.service.handlers")
    yield running
    running.stop()


@pytest.fixture
def open_page(browser, chest_ct, tmp_path, monkeypatch):
    """Opens a page with a small CT, for a user with a list of servers."""
    write_small(chest_ct, tmp_path / "small.nii.gz")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    opened = []

    def open_it():
        running = start(tmp_path / "small.nii.gz", tmp_path)
        page = visit(browser, running.url)
        opened.append((page, running))
        page.get_by_text("80×80×18 voxels").wait_for()
        return page

    yield open_it
    for page, running in opened:
        page.close()
        stop(running)


def save(tmp_path, server):
    KnownServers(tmp_path / "user" / "DeepSeg" / "servers.json").save(server.url, server.fingerprint)


def choose(page, title):
    """Choose a computer in the list."""
    page.get_by_role("combobox", name="Run on").first.click()
    page.get_by_role("option", name=title, exact=True).click()


def wait_for_place(page, title) -> None:
    """Until the list shows a computer as the one that runs."""
    page.locator(".v-select", has_text="Run on").filter(has_text=title).wait_for()


def segmented(page, tmp_path) -> np.ndarray:
    """Run, and export; the labels."""
    page.evaluate(BEGUN)
    page.get_by_role("button", name="Segment", exact=True).click()
    page.wait_for_function("window.begun")
    page.get_by_role("button", name="Segment", exact=True).wait_for(timeout=200_000)
    page.get_by_role("table", name="Structures found").wait_for()
    page.get_by_role("tab", name="Segment").click()
    path = tmp_path / "labels.nii.gz"
    path.write_bytes(download(page, ["NIfTI"]))
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_the_same_voxels_from_the_server_and_a_refusal(open_page, server, tmp_path, monkeypatch):
    save(tmp_path, server)
    monkeypatch.setenv("DEEPSEG_TOKEN", server.tokens["anna"])
    page = open_page()
    page.get_by_role("button", name="Draft").click()
    here = segmented(page, tmp_path)

    def kept():
        return list((server.folder / "server").rglob("header.json"))

    choose(page, server.url)
    question = page.get_by_role("dialog").filter(has_text=f"Run on {server.url}?")
    question.filter(has_text=WHAT_LEAVES.format(url=server.url)).wait_for()
    question.get_by_role("button", name="Cancel").click()
    question.wait_for(state="hidden")
    wait_for_place(page, "The page's computer")
    assert not kept()

    choose(page, server.url)
    question.get_by_role("button", name="Run there").click()
    wait_for_place(page, server.url)
    assert not kept(), "nothing is sent before a run"
    there = segmented(page, tmp_path)
    assert kept()
    np.testing.assert_array_equal(there, here)
    assert here.any()

    choose(page, "The page's computer")
    wait_for_place(page, "The page's computer")
    server.stop()
    choose(page, server.url)  # it is asked once
    page.get_by_text("cannot be reached").wait_for()
    wait_for_place(page, "The page's computer")
    wait_until(page, page.get_by_role("button", name="Segment", exact=True).is_enabled)


def test_a_damaged_list_and_no_token(open_page, server, tmp_path, monkeypatch):
    monkeypatch.delenv("DEEPSEG_TOKEN", raising=False)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    path = tmp_path / "user" / "DeepSeg" / "servers.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    page = open_page()
    note = page.get_by_text("servers.json is damaged. Delete it")
    assert note.inner_text().startswith("servers.json"), "paths of the server are not the browser's business"
    assert page.get_by_role("combobox", name="Run on").count() == 0
    path.unlink()
    save(tmp_path, server)
    page = open_page()
    choose(page, server.url)
    page.get_by_role("button", name="Run there").click()
    alert = page.get_by_role("alert").filter(has_text="There is no token for")
    alert.get_by_text("Whoever runs the page can give it there").wait_for()
    wait_for_place(page, "The page's computer")
