"""What a user does on the page, and reads there."""

import io
import zipfile


def volume_of(page, title) -> float:
    row = page.locator("tr", has=page.get_by_role("button", name=title, exact=True))
    return float(row.locator("td").nth(2).inner_text().removeprefix("≥ "))


def take(page, tool) -> None:
    """Press a tool's button, unless it is pressed; it is as soon as the server has taken the tool."""
    button = page.get_by_role("button", name=tool, exact=True)
    if button.get_attribute("aria-pressed") != "true":
        button.click()
    page.get_by_role("button", name=tool, exact=True, pressed=True).wait_for()


def wait_for_volume(page, title, wanted) -> None:
    """Until a structure's volume in the table is as wanted; measures come a moment after a correction."""
    wait_until(page, lambda: wanted(volume_of(page, title)))


def wait_until(page, true) -> None:
    """Until something holds that the page's own elements do not tell."""
    for _ in range(300):
        if true():
            return
        page.wait_for_timeout(100)
    assert true()


def download(page, formats) -> bytes:
    page.get_by_role("button", name="Export").click()
    dialog = page.get_by_role("dialog")
    for box in dialog.get_by_role("checkbox").all():
        box.uncheck()
    for label in formats:
        dialog.get_by_label(label, exact=label == "STL").check()
    with page.expect_download() as waiting:
        dialog.get_by_role("button", name="Download").click()
    return waiting.value.path().read_bytes()


def unzip(content) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(content))
