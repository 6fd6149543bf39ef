"""Enhancing the CT before a run, on the page."""

import pytest

pytestmark = pytest.mark.timeout(300)
pytest.importorskip("monai")
pytest.importorskip("skimage")


def test_the_enhanced_ct_can_be_looked_at_in_place_of_the_ct(page):
    assert not page.get_by_label("Show the enhanced CT in slices").count()
    page.get_by_role("button", name="Draft").click()
    page.get_by_role("combobox", name="Enhance CT first").first.click()
    page.get_by_role("option", name="Thinner slices").click()
    page.get_by_role("button", name="Segment", exact=True).click()
    page.get_by_role("table", name="Structures found").wait_for(timeout=250_000)
    switch = page.get_by_label("Show the enhanced CT in slices")
    switch.wait_for()
    assert not switch.is_checked()
    views = page.locator(".layout-grid-item img")
    before = [view.get_attribute("src") for view in views.all()]
    switch.check()
    page.wait_for_function(
        "(before) => [...document.querySelectorAll('.layout-grid-item img')].some((i, n) => i.src !== before[n])",
        arg=before,
    )
    assert page.get_by_text("128×128×34 voxels").count()  # the input is the CT
