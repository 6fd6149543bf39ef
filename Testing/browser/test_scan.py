"""What the scan is, on the page."""

import pytest

from .conftest import visit

pytestmark = pytest.mark.timeout(300)


def test_regions_and_field_of_view_are_shown(browser, server):
    page = visit(browser, server.url, seconds=120)
    page.get_by_text("chest, abdomen").wait_for()
    picture = page.get_by_alt_text("The part of the body that the scan seems to show")
    picture.wait_for()
    assert picture.evaluate("image => image.naturalHeight") == 200
    page.close()
