"""Numbers and states in words."""

import math

from DeepSegLogic.evaluation.scoring import Score
from DeepSegLogic.followup.change import Change
from DeepSegLogic.session.texts import changes_text, comparison_text


def test_a_comparison_tells_the_essential_first():
    """The changes are certain or not by their kind; the largest are those in percent, and what is new or gone."""

    def change(title, kind, percent):
        told = dict.fromkeys(Change.__dataclass_fields__)
        return Change(**{**told, "title": title, "lesion": 0, "kind": kind, "change_percent": percent})

    changes = [
        change("Liver", "changed", 3.0),
        change("Spleen", "unclear", 90.0),
        change("Aorta", "changed", -12.04),
        change("Liver lesion", "new", None),
        change("Heart", "changed", 5.0),
    ]
    assert changes_text(changes, "92 days between the scans.") == (
        "4 of 5 changes exceed the uncertainty. 92 days between the scans. "
        "Largest: Liver lesion (only in the follow-up), Aorta −12.0 %, Heart +5.0 %."
    )
    assert changes_text(changes[1:2], "") == "0 of 1 changes exceed the uncertainty."

    scores = [
        Score("", title, title, {"dice": dice})
        for title, dice in (("A", 0.9), ("B", 0.5), ("C", math.nan), ("D", 0.7), ("E", 0.8))
    ]
    expected = "Mean Dice 0.725; structures: 4. Lowest: B 0.500, D 0.700, E 0.800."
    assert comparison_text(scores) == expected
    assert comparison_text(scores[:2]) == "Mean Dice 0.700; structures: 2."
