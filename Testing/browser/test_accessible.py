"""The page can be used without a mouse and with a screen reader: by Chromium's own accessibility tree and by styles."""

import pytest

from .steps import settled, wait_until

pytestmark = pytest.mark.timeout(300)

NEED_NAMES = {"button", "checkbox", "combobox", "dialog", "heading", "image", "link", "progressbar", "slider",
              "tab", "table", "textbox"}  # fmt: skip

CONTRAST = """() => {
  const moves = (a) => a.playState === 'running' && a.effect.getTiming().iterations === 1;
  if (document.getAnimations().some(moves)) return null;
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return [...n.slice(0, 3), n[3] ?? 1]; };
  const over = (top, below) => below.map((b, i) => (i < 3 ? top[i] * top[3] + b * (1 - top[3]) : 1));
  const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const dialog = [...document.querySelectorAll('[role=dialog]')].at(-1);
  const poor = [];
  for (const element of (dialog ?? document).querySelectorAll('*')) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const style = getComputedStyle(element), edged = element.matches('input') && parseFloat(style.borderTopWidth) > 0;
    if (!(own || edged || element.matches('.mdi'))) continue;
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (element.closest('[disabled], [aria-disabled=true], .v-input--disabled, .d-sr-only, .v-btn--disabled')) continue;
    const chain = [];
    for (let e = element; e; e = e.parentElement) chain.unshift(e);
    let ground = [0, 0, 0, 1], opacity = 1;
    for (const e of chain) {
      ground = over(parse(getComputedStyle(e).backgroundColor), ground);
      const layer = e.querySelector(':scope > :is(.v-alert__underlay, .v-chip__underlay, .v-btn__underlay)');
      if (layer) {
        const style = getComputedStyle(layer), color = parse(style.backgroundColor);
        ground = over([...color.slice(0, 3), color[3] * style.opacity], ground);
      }
      opacity *= Number(getComputedStyle(e).opacity);
    }
    const color = parse(edged ? style.borderTopColor : style.color);
    const shown = over([...color.slice(0, 3), color[3] * opacity], ground);
    const [a, b] = [light(shown), light(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const name = element.textContent.trim().slice(0, 40) || element.ariaLabel || element.className;
    if (ratio < (own ? 4.5 : 3)) poor.push(`${name}: ${ratio.toFixed(2)}`);
  }
  return { poor };
}"""
"""Texts whose contrast with what is behind them is below 4.5, icons and edges of fields below 3 (WCAG 2.2, AA); null
while something moves: what fades in is pale for a moment."""


def poor_contrasts(page) -> list[str]:
    return page.wait_for_function(CONTRAST).json_value()["poor"]


def check(page) -> None:
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    told = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
    assert len(told) > 30
    assert [role for role, name in told if role in NEED_NAMES and not name.strip()] == []
    assert poor_contrasts(page) == []


BAR = """(controls) => controls.map((control) => {
  const box = control.getBoundingClientRect(), texts = document.createRange();
  texts.selectNodeContents(control.querySelector(".v-chip__content") ?? control);
  const right = control.matches(".v-chip") ? texts.getBoundingClientRect().right : box.right;
  return [control.ariaLabel || control.innerText, box.left, right - box.right > 1 ? Infinity : box.right];
})"""
"""Name, left and right edge of each control, read in one step: controls come and go with the window's width. A chip
whose text does not fit into it has no right edge."""


SEEN = """() => {
  const element = document.activeElement, outlined = [];
  for (let e = element; e && outlined.length < 4; e = e.parentElement) outlined.push(getComputedStyle(e));
  const width = (style) => (style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth));
  return element === document.body || outlined.some((style) => width(style) >= 2)
    || element.closest(".v-field--focused") !== null;
}"""
"""Whether what has the focus, or what stands for it, has an outline."""


def settled_bar(page) -> list[tuple[str, float, float]]:
    """The bar's visible controls as `BAR` reads them, once they stay as they are."""
    shown = page.locator(".v-app-bar :is(button, .v-chip):visible")
    return [tuple(control) for control in settled(page, lambda: shown.evaluate_all(BAR))]


def cut_off(controls, width: int) -> list[str]:
    return [name for name, left, right in controls if left < 0 or right > width]


def focused(page) -> str:
    return page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText")


def test_before_and_during_a_run(page):
    assert page.get_by_role("heading", level=1, name="DeepSeg").is_visible()
    check(page)
    page.get_by_role("button", name="More models").click()
    page.get_by_role("dialog", name="Models").get_by_role("button", name="Install").first.wait_for()
    check(page)
    page.get_by_role("button", name="Install").first.click()
    question = page.get_by_role("dialog", name="will be downloaded from")
    question.wait_for()
    check(page)
    page.keyboard.press("Escape")
    question.wait_for(state="hidden")
    page.get_by_role("dialog", name="Models").press("Escape")
    page.get_by_role("dialog", name="Models").wait_for(state="hidden")
    for dark in (".ds-note", ".mdi"):
        tag = page.add_style_tag(content=f"{dark} {{ color: #4b5660 !important }}")
        assert poor_contrasts(page), "the check sees what is too dark"
        tag.evaluate("(style) => style.remove()")


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_or_at_400_percent(page, width):
    """Nothing is cut off and nothing scrolls sideways (WCAG 2.2, reflow); the drawer lies over the views."""
    panel, views = page.locator(".v-navigation-drawer"), page.locator(".layout-grid-item")

    def wait_until_open(wanted: bool) -> None:
        wait_until(page, lambda: panel.bounding_box()["x"] == (0 if wanted else pytest.approx(-330, abs=70)))
        # what is hidden takes no focus
        wait_until(page, lambda: (panel.get_attribute("inert") is None) == wanted)

    page.set_viewport_size({"width": width, "height": 640})
    wait_until_open(False)
    wait_until(page, lambda: abs(views.first.bounding_box()["width"] - width / 2) < 4)
    page.get_by_role("button", name="Panel").click()
    wait_until_open(True)
    check(page)
    assert cut_off(settled_bar(page), width) == []
    assert abs(views.first.bounding_box()["width"] - width / 2) < 4
    assert page.evaluate("document.scrollingElement.scrollWidth") == width
    page.mouse.click(width - 4, 400)  # beside the drawer
    wait_until_open(False)
    page.set_viewport_size({"width": 1280, "height": 720})
    wait_until_open(True)


@pytest.mark.parametrize("everything", [False, True])
def test_the_bar_is_whole_at_every_width(page, everything):
    """Also with what opens files of the server and of an archive."""
    show = "(on) => ['has_shelf', 'has_archive'].forEach((name) => window.trame.state.set(name, on))"
    page.evaluate(show, everything)
    for width in (320, 600, 690, 710, 790, 850, 870, 1001, 1024, 1080, 1250, 1280, 1319, 1321):
        page.set_viewport_size({"width": width, "height": 720})
        controls = settled_bar(page)
        assert len(controls) > 6
        assert cut_off(controls, width) == [], width
    page.evaluate(show, False)


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fills_the_window(page, width):
    """Only its parts scroll: a scroll bar of the page would take room and move nothing."""
    page.set_viewport_size({"width": width, "height": 720})
    settled_bar(page)
    assert page.evaluate("document.documentElement.clientWidth") == width


def test_with_a_result(page):
    page.get_by_role("button", name="Fast", exact=True).click()
    page.get_by_role("button", name="Segment", exact=True).click()
    page.get_by_label("Progress").wait_for()
    check(page)
    page.locator("tbody tr").first.wait_for(timeout=200_000)
    page.locator("tbody tr button").first.click()
    page.get_by_role("button", name="Erase", exact=True).wait_for()
    check(page)
    page.get_by_role("button", name="Export").click()
    page.get_by_role("dialog", name="Export").get_by_role("button", name="Download").wait_for()
    check(page)
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Export").wait_for(state="hidden")


def test_the_keyboard_goes_from_the_bar_through_the_drawer_to_the_views(page):
    page.get_by_role("button", name="Open file").focus()
    order = [focused(page)]
    while order[-1] != "Sagittal slice" and len(order) < 150:
        page.keyboard.press("Tab")
        order.append(focused(page))
    stops = ["Open file", "DICOM folder", "Window: Bone", "Segment", "Axial view", "Axial slice", "Sagittal view"]
    places = [order.index(stop) for stop in stops]
    assert places == sorted(places), order


def test_each_stop_of_the_keyboard_is_seen(page):
    """By an outline, or by the frame of its field."""
    page.get_by_role("button", name="Panel").focus()
    unseen = set()
    for _ in range(150):
        page.keyboard.press("Tab")
        if page.evaluate(SEEN) is False:
            unseen.add(focused(page))
        if focused(page) == "Sagittal slice":
            break
    assert unseen == set()


def test_a_dialog_that_closes_gives_the_focus_back(page):
    page.get_by_role("tab", name="Segment").click()
    more = page.get_by_role("button", name="More models")
    more.focus()
    page.keyboard.press("Enter")
    models = page.get_by_role("dialog", name="Models")
    install = models.get_by_role("button", name="Install").first
    install.focus()
    page.keyboard.press("Enter")
    question = page.get_by_role("dialog", name="will be downloaded from")
    question.wait_for()
    page.keyboard.press("Escape")
    question.wait_for(state="hidden")
    wait_until(page, lambda: install.evaluate("(button) => button === document.activeElement"))
    page.keyboard.press("Escape")
    models.wait_for(state="hidden")
    wait_until(page, lambda: focused(page) == "More models")


def test_the_buttons_of_a_dialog_are_seen_in_a_low_window(page):
    """As at 150 % on a small screen: what is above them scrolls."""
    page.set_viewport_size({"width": 853, "height": 533})
    page.evaluate("window.trame.state.set('exporting', true)")
    button = page.get_by_role("dialog", name="Export").get_by_role("button", name="Download")
    button.wait_for()
    box = settled(page, button.bounding_box)
    assert box["y"] + box["height"] <= 533
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1280, "height": 720})
