"""Why and how sure, on the page: an overlay, a second opinion, and a structure taken from it."""

import pytest

from .steps import volume_of, wait_until

pytestmark = pytest.mark.timeout(600)


def test_explain_ask_and_take(done):
    done.get_by_role("button", name="Left lung", exact=True).click()
    done.get_by_role("button", name="Explain", exact=True).click()
    done.get_by_text("Probability of lung_left there").wait_for(timeout=240_000)
    done.get_by_label("Overlay: Why lung_left").wait_for()
    done.get_by_role("button", name="Ask", exact=True).click()
    table = done.get_by_role("table", name="Where the second opinion differs")
    table.wait_for(timeout=480_000)
    rows = [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]
    assert rows and all(0 <= float(dice) < 0.999 for _, dice, *_ in rows)
    name = "Left lung" if any(row[0] == "Left lung" for row in rows) else rows[0][0]
    before = volume_of(done, name)
    done.get_by_role("button", name=f"Take {name}", exact=True).click()
    done.get_by_text("Taken over; undo it in Correct.").wait_for()
    wait_until(done, lambda: volume_of(done, name) != before)
