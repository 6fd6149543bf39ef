"""What the scan is, on the page."""

import pytest

pytestmark = pytest.mark.timeout(300)


def test_regions_and_field_of_view_are_shown(browser, server):
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(120_000)
    page.goto(server.url)
    page.get_by_text("chest, abdomen").wait_for()
    picture = page.get_by_alt_text("The part of the body that the scan seems to show")
    picture.wait_for()
    assert picture.evaluate("image => image.naturalHeight") == 200
    page.close()
