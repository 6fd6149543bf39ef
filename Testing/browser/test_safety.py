"""Who may come in, what may come in, and what is said when something goes."""

import http.client
import os
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from free_ports import free_port

from .conftest import DRAWN, start, stop, visit
from .steps import wait_until

pytestmark = pytest.mark.timeout(200)


def ask(server, path, method="GET", body=None, **headers) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    return connection.getresponse()


def test_nothing_is_asked_of_other_hosts(browser, server):
    page, asked, errors = browser.new_page(), [], []
    page.set_default_timeout(60_000)
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda told: errors.append(told.text) if told.type in ("error", "warning") else None)
    page.goto(server.url)
    page.get_by_text("Research use only").wait_for()
    page.wait_for_timeout(1500)
    own = urlsplit(server.url).netloc
    assert [
        url for url in asked if urlsplit(url).netloc != own and not url.startswith(("blob:http://" + own, "data:"))
    ] == []
    assert errors == []
    page.close()


@pytest.mark.parametrize(
    "path", ["/index.html", "/index.html?token=wrong", "/ws", "/alive", "/deepseg/deepseg.js", "/"]
)
def test_without_the_token_nothing_is_served(server, path):
    answer = ask(server, path)
    assert answer.status == 403
    assert b"token" in answer.read()


def test_pages_of_other_sites_are_refused(server):
    token = urlsplit(server.url).query
    assert ask(server, f"/index.html?{token}").status == 303
    assert ask(server, f"/index.html?{token}", Origin="http://example.org").status == 403
    assert ask(server, f"/upload?{token}", "POST", b"", Origin="http://127.0.0.1:1").status == 403


def test_a_broken_upload_gives_a_sentence_and_leaves_nothing(page, server, tmp_path):
    broken = tmp_path / "broken.nrrd"
    broken.write_bytes(b"NRRD0004\nthis is no image")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open file").click()
    chooser.value.set_files(broken)
    alert = page.get_by_role("alert").filter(has_text="broken.nrrd")
    alert.wait_for()
    assert "Traceback" not in alert.inner_text()
    wait_until(page, lambda: not list(Path(server.temporary).rglob("broken*")))
    page.get_by_text("128×128×34 voxels").wait_for()  # the volume before is still there


def test_an_upload_can_be_cancelled_and_leaves_nothing(page, server, tmp_path):
    (tmp_path / "large.nrrd").write_bytes(bytes(4_000_000))
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
    network = page.context.new_cdp_session(page)
    network.send("Network.emulateNetworkConditions", slow)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open file").click()
    chooser.value.set_files(tmp_path / "large.nrrd")
    page.get_by_role("button", name="Cancel upload").click()
    page.get_by_text("Uploading").wait_for(state="detached")
    network.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
    wait_until(page, lambda: not list(Path(server.temporary).rglob("large*")))
    wait_until(page, page.get_by_role("button", name="Open file").is_enabled)
    assert not page.locator(".ds-run").get_by_role("alert").is_visible()
    assert page.get_by_text("128×128×34 voxels").is_visible()


def test_names_of_uploads_are_no_paths(page, server, tmp_path):
    token = urlsplit(server.url).query
    name = f"../../../../{tmp_path}/evil.nrrd"
    body = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\nhello\r\n--x--\r\n'
    answer = ask(server, f"/upload?{token}", "POST", body.encode(), Content_Type="multipart/form-data; boundary=x")
    assert answer.status == 200
    assert not list(tmp_path.iterdir())
    page.get_by_role("alert").filter(has_text="evil.nrrd").wait_for()


@pytest.mark.parametrize(
    "name, header",
    [
        ("ct.nrrd", "NRRD0004\ntype: short\ndimension: 3\nsizes: 5 4 3\nencoding: raw\ndata file: {}\n\n"),
        ("ct.mhd", "NDims = 3\nDimSize = 5 4 3\nElementType = MET_SHORT\nElementDataFile : {}\n"),
    ],
)
def test_an_upload_cannot_lead_to_files_of_the_server(page, server, tmp_path, name, header):
    (tmp_path / "secret.raw").write_bytes(bytes(range(120)))
    file = {
        "name": name,
        "mimeType": "application/octet-stream",
        "buffer": header.format(tmp_path / "secret.raw").encode(),
    }
    page.request.post(server.url.replace("index.html", "upload"), multipart={"files": file})
    page.get_by_role("alert").filter(has_text=f"{name} leads to other files than itself.").wait_for()


def test_a_dicom_folder_is_opened(page, tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    write_dicom(folder)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="DICOM folder").click()
    chooser.value.set_files(folder)
    page.get_by_text("40×32×12 voxels of 2 × 2 × 4 mm").wait_for()
    page.get_by_text("CT · 40").wait_for()


def test_a_second_tab_takes_over_and_the_first_says_so(browser, server):
    context = browser.new_context()
    context.set_default_timeout(60_000)
    first, second = context.new_page(), context.new_page()
    first.goto(server.url)
    first.get_by_text("Research use only").wait_for()
    second.goto(server.url)
    first.get_by_text("DeepSeg is open in another tab").wait_for()
    first.get_by_text("Use it here").click()
    second.get_by_text("DeepSeg is open in another tab").wait_for()
    first.get_by_text("Research use only").wait_for()
    context.close()


def test_the_page_says_when_the_server_is_gone_or_another_and_nothing_is_left(browser, chest_ct, tmp_path):
    port = free_port()
    server = start(chest_ct, tmp_path, "--port", port)
    page = browser.new_page()
    page.goto(server.url)
    page.get_by_text("About").wait_for(timeout=60_000)  # the estimate: the worker runs
    children = psutil.Process(server.process.pid).children(recursive=True)
    assert children
    stop(server)
    page.get_by_text("No connection to DeepSeg").wait_for()
    assert psutil.wait_procs(children, timeout=20)[1] == []
    assert not list(tmp_path.glob("deepseg*"))
    follower = start(chest_ct, tmp_path, "--port", port)
    page.get_by_text("DeepSeg was restarted").wait_for(timeout=60_000)
    page.reload()
    page.get_by_text("Open the link from the terminal").wait_for()
    page.close()
    stop(follower)


@pytest.mark.skipif(os.name == "nt", reason="processes cannot be halted")
def test_a_silent_connection_is_told_until_it_speaks_again(browser, chest_ct, tmp_path):
    server = start(chest_ct, tmp_path)
    page = browser.new_page()
    page.clock.install()
    page.goto(server.url)
    page.get_by_text("128×128×34 voxels").wait_for(timeout=60_000)
    process = psutil.Process(server.process.pid)
    process.suspend()
    page.clock.fast_forward(60_000)
    page.get_by_text("No connection to DeepSeg").wait_for()
    process.resume()
    page.get_by_text("No connection to DeepSeg").wait_for(state="detached")
    page.get_by_role("button", name="Open file").click(trial=True)
    page.close()
    stop(server)


def test_a_tab_that_closes_while_pictures_come_is_no_error_in_the_terminal(browser, chest_ct, tmp_path):
    with (tmp_path / "told").open("w+", encoding="utf-8") as told:
        server = start(chest_ct, tmp_path, stderr=told)
        for _ in range(4):
            page = visit(browser, server.url)
            page.get_by_text("128×128×34 voxels").wait_for()
            page.wait_for_function(DRAWN)
            slider = page.get_by_role("slider", name="Axial slice").first
            slider.focus()
            for _ in range(15):
                slider.press("ArrowRight")
            page.close()
        stop(server)
        told.seek(0)
        assert told.read() == ""


def test_a_server_killed_in_mid_run_is_told_and_its_worker_ends(browser, chest_ct, tmp_path):
    server = start(chest_ct, tmp_path)
    page = browser.new_page()
    page.goto(server.url)
    page.get_by_text("About").wait_for(timeout=60_000)
    page.get_by_role("button", name="Segment", exact=True).click()
    page.get_by_text("Segmenting").wait_for(timeout=60_000)
    children = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    page.get_by_role("alert").filter(has_text="No connection to DeepSeg").wait_for()
    server.process.wait(10)
    server.process.stdout.close()
    assert children
    assert psutil.wait_procs(children, timeout=30)[1] == []
    page.close()
    (left,) = tmp_path.glob("deepseg-*/files")
    (left / "export").mkdir()
    (left / "export" / "liver.stl").write_text("of a patient", "utf-8")
    follower = start(chest_ct, tmp_path)
    assert not left.exists(), "the next server removes what the killed one left"
    stop(follower)


def test_folders_of_servers_that_live_stay(monkeypatch, tmp_path):
    transfers = pytest.importorskip("DeepSegWeb.transfers")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "deepseg-other").mkdir()  # of another machine, so it may be in use
    first = transfers.Transfers()
    assert (first.folder.parent.stat().st_mode & 0o777) == 0o700
    second = transfers.Transfers()
    assert first.folder.is_dir()
    second.close()
    first.close()
    assert [path.name for path in tmp_path.iterdir()] == ["deepseg-other"]


def write_dicom(folder):
    """A CT series as a scanner would number it."""
    array = np.random.default_rng(0).integers(-1000, 400, (12, 32, 40)).astype(np.int16)
    for k, slice_ in enumerate(array):
        image = sitk.GetImageFromArray(slice_[None])
        image.SetSpacing((2, 2, 4))
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"1.2.3.4.{k + 1}",
            "0008|0060": "CT",
            "0020|000d": "1.2.3",
            "0020|000e": "1.2.3.4",
            "0020|0013": str(k + 1),
            "0020|0032": f"0\\0\\{4 * k}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0018|0050": "4",
            "0028|1052": "0",
            "0028|1053": "1",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"slice{k:02}.dcm"))
        writer.Execute(image)
