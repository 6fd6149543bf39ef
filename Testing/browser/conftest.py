"""A server with the demonstration CT, and Debian's or Ubuntu's own Chromium to look at it."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache, partial

import forked
import numpy as np
import pytest

from DeepSegLogic import Volume
from DeepSegLogic.io import read_volume, write_volume

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--process-per-site",
]
THREADS = "2"
"""A page computes with as many. Only with as many does another process give the very same voxels."""
WEB = ("DeepSegLogic.cli", "DeepSegWeb.app")

DRAWN = """() => {
  const images = [...document.querySelectorAll('.layout-grid-item img')];
  return images.length === 4 && images.every((i) => Math.abs(i.naturalWidth - i.clientWidth) < 3);
}"""
"""The server draws all views in the size that they have in the page; clicks land elsewhere before."""


@dataclass
class Server:
    """A `deepseg web` that runs: its link, its process, and where it keeps temporary files."""

    url: str
    process: subprocess.Popen
    temporary: str


def start(source, temporary, *options, browser=None, stderr=None) -> Server:
    """Start `deepseg web` and wait for its link; where its start is not looked at, without loading its libraries anew.

    Args:
        source: what it opens, or None.
        temporary: for its temporary files.
        options: more of its command line.
        browser: a program that it opens; none if None.
        stderr: see :class:`subprocess.Popen`.
    """
    command = [sys.executable, "-c", "from DeepSegLogic.cli import run; run()", "web", *map(str, options)]
    command += [str(source)] * (source is not None) + ["--no-browser"] * (browser is None)
    environment = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": THREADS, "BROWSER": str(browser)}
    popen = partial(forked.popen, WEB) if browser is stderr is None else subprocess.Popen
    process = popen(command, stdout=subprocess.PIPE, stderr=stderr, encoding="utf-8", env=environment)
    begin, line = process.stdout.readline(), process.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert begin == "DeepSeg is starting.\n" and found, begin + line
    return Server(found.group(), process, str(temporary))


def stop(server: Server) -> None:
    """Ctrl+C would do the same."""
    server.process.terminate()
    server.process.wait(30)
    server.process.stdout.close()


def write_small(chest_ct, path):
    """A part of 80×80×18 voxels of the chest CT, so that a run takes a second or two."""
    volume = read_volume(chest_ct)
    inner = np.ascontiguousarray(volume.array[8:26, 24:104, 24:104])
    write_volume(Volume(inner, volume.ijk_to_ras, "small", "CT"), path)


@pytest.fixture(scope="package")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra `test`)")
    pytest.importorskip("trame_slicer", reason="needs the extra `web`")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        # Scroll bars take room, as they do for most users.
        options = {"args": FLAGS, "ignore_default_args": ["--hide-scrollbars"]}
        chromium = driver.chromium.launch(executable_path=CHROMIUM, **options)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def server(browser, chest_ct, tmp_path_factory):
    running = start(chest_ct, tmp_path_factory.mktemp("web"))
    yield running
    stop(running)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """A failure tells what the page showed."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.when == "call" and report.failed and page is not None:
        report.sections.append(("Page", page.locator("body").inner_text(timeout=5000)))
    return report


@cache
def window(browser, **options):
    """A browser window for tests; its first, empty tab keeps the process that has compiled the scripts of our page."""
    context = browser.new_context(**options)
    first = context.new_page()
    first.route("http://127.0.0.1/", lambda route: route.fulfill(body=""))
    first.goto("http://127.0.0.1/")
    return context


def visit(browser, url, size=(1280, 720), seconds=60, **options):
    """A new tab with a server's page.

    Args:
        size: of the page.
        seconds: that its elements may take to come.
        options: of :func:`window`.
    """
    page = window(browser, **options).new_page()
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.set_default_timeout(1000 * seconds)
    page.goto(url)
    return page


@contextlib.contextmanager
def shown(browser, server, **options):
    """The page of a server with a volume, see :func:`visit`."""
    page = visit(browser, server.url, **options)
    page.get_by_text("128×128×34 voxels").wait_for(state="attached")  # it may be on the other tab of the drawer
    page.wait_for_function(DRAWN)
    yield page
    page.close()


@pytest.fixture
def page(browser, server):
    with shown(browser, server) as page:
        yield page


def segmented(page):
    """The page with a result; the server keeps it from test to test."""
    table = page.get_by_role("table", name="Structures found")
    if not table.is_visible():
        page.get_by_role("button", name="Segment", exact=True).click()
    table.wait_for(timeout=200_000)
    page.get_by_role("button", name="Segment", exact=True).wait_for()
    return page


@pytest.fixture
def done(page):
    """See :func:`segmented`."""
    return segmented(page)
