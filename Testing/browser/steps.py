"""What a user does on the page, and reads there."""

import io
import operator
import zipfile

CELLS = """(table) => [...table.tBodies].flatMap((body) => [...body.rows])
  .map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"""


def cells(table) -> list[list[str]]:
    """The texts of a table's body, read in one step: the page may be about to show other rows."""
    return table.evaluate(CELLS)


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
    """Until something holds that the page's own elements do not tell; as patient as `visit` is with these."""
    for _ in range(600):
        if true():
            return
        page.wait_for_timeout(100)
    assert true()


def probe(page, view, x, y) -> str:
    """What a view tells of a place of the page that the mouse goes to: the grey value, the structure, the place."""
    answered(page)  # of where the mouse was before
    told = page.locator(".layout-grid-item").nth(view).locator(".ds-probe")
    before = told.all_inner_texts()
    page.mouse.move(x, y)
    wait_until(page, lambda: told.all_inner_texts() not in ([], before))
    return told.inner_text()


def grey(told) -> float:
    """The grey value in what a view tells."""
    return float(told.partition(" HU")[0].replace("−", "-"))


ANSWERED = """async () => {
  const session = window.trame.client.getConnection().getSession();
  if (window.mouseTold === undefined) {
    window.mouseTold = 0;
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = function (message) {
      window.mouseTold += new TextDecoder("latin1").decode(message).includes("trame.rca.event");
      return send.call(this, message);
    };
  }
  let before;
  do {
    before = window.mouseTold;
    for (let turn = 0; turn < 2; turn++) await session.call("trame.force.push", []);
    await new Promise((later) => setTimeout(later, 50));
  } while (window.mouseTold !== before);
}"""
"""Asks for nothing, twice: the server answers in turn, and what waits for an answer is told before the second one.

What the mouse does waits in a queue, whose next part is told 10 ms after the last one is answered. So ask again until
none was told meanwhile."""


LATE = """([late, ms]) => {
  const { send } = WebSocket.prototype;
  WebSocket.prototype.send = function (message) {
    const name = new TextDecoder("latin1").decode(message);
    setTimeout(() => send.call(this, message), name.includes(late) ? ms : 0);
  };
}"""
"""What trame tells by one name comes late, as on a busy connection; what the page tells by others does not."""

BEGUN = """() => {
  window.begun = false;
  const look = () => (window.begun ||= document.querySelector("[aria-label=Progress]") !== null);
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
}"""
"""From now on, notes whether the progress bar was there: it may be for a moment only."""


MOVING = """async () => {
  for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
  return document.getAnimations().some((animation) => animation instanceof CSSTransition);
}"""
"""Whether parts of the page are on their way to other places, two frames from now: a new size is known then."""


def resize(page, width, height) -> None:
    """Give the page another size; returns when all has its new place."""
    page.set_viewport_size({"width": width, "height": height})
    wait_until(page, lambda: not page.evaluate(MOVING))


def answered(page) -> None:
    """Until the server has taken what the page told it."""
    page.evaluate(ANSWERED)


def settled(page, read, same=operator.eq):
    """What `read` gives once it no longer changes, half a second after the server has taken what it was told."""
    readings = [read()]

    def still() -> bool:
        answered(page)
        page.wait_for_timeout(500)
        answered(page)  # it may be at work
        readings.append(read())
        return same(*readings[-2:])

    wait_until(page, still)
    return readings[-1]


def choose_formats(page, formats):
    """Open the dialog of exports, and tick these formats and no other; returns the button that downloads them."""
    page.get_by_role("button", name="Export").click()
    dialog = page.get_by_role("dialog", name="Export")
    button = dialog.get_by_role("button", name="Download")
    button.wait_for()  # the boxes are there, too
    for box in dialog.get_by_role("checkbox").all():
        box.uncheck()
    for label in formats:
        dialog.get_by_label(label, exact=label == "STL").check()
    return button


def download(page, formats) -> bytes:
    button = choose_formats(page, formats)
    with page.expect_download() as waiting:
        button.click()
    return waiting.value.path().read_bytes()


def unzip(content) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(content))
