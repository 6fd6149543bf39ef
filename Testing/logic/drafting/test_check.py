"""What a language model wrote against the table: numbers in every way they are written, and invented findings."""

import itertools
import random
import re

import pytest

from DeepSegLogic.data.terminology import known_titles
from DeepSegLogic.drafting.check import checked, not_in
from DeepSegLogic.drafting.numbers import numbers_in
from DeepSegLogic.drafting.table import Table

LINES = (
    "Liver: volume 1503.4 ml, mean 54 HU",
    "Spleen: volume at least 210.2 ml (cut by the field of view), mean 48 HU",
    "Left lung: volume 1879.5 ml, mean -835 HU",
    "Left kidney: volume 150.3 ml, mean 32 HU",
    "Right kidney: volume 160.1 ml, mean 33 HU",
    "Structure 1: volume 12.3 ml",
    "Structure 1, since the earlier scan: 15.7 ml → 12.3 ml, -21.7 %",
    "Spleen, since the earlier scan: 200.0 ml → 210.2 ml, +5.1 %",
    "Left kidney, since the earlier scan: 150.0 ml → 150.3 ml, +0.2 %, within the uncertainty of ±4.1 ml",
    "Structure 1 – Portal vein and splenic vein: 12.8 mm",
    "Liver, remnant: 800 ml (53.2 %)",
    "To check: Spleen has two large pieces, of 100.0 ml and 90.0 ml.",
)
NAMES = ("Liver", "Spleen", "Left lung", "Left kidney", "Right kidney", "Portal vein and splenic vein")
TABLE = Table(LINES, {name: name for name in NAMES} | {"Structure 1": "Metastasis"})


@pytest.mark.parametrize(
    "text",
    [
        "The liver measures 1503.4 ml with a mean density of 54 HU.",
        "Liver volume: 1,503.4 mL. It has 54 Hounsfield units.",
        "The liver has about 1.5 liters.",
        "Liver and spleen are 1503 and 210 ml, respectively.",
        "The left and right kidneys measure 150 and 160 ml.",
        "The left lung has −835 HU and minus 835 HU.",
        "A volume of 150.3 cc for the left kidney.",
        "The spleen has at least 210.2 ml, and two large pieces of 100 and 90 ml.",
        "The spleen grew by 5.1 %, from 200.0 to 210.2 cm³.",
        "The left kidney is stable: 150.0 to 150.3 ml, within the uncertainty of 4.1 ml.",
        "1. Liver: 1503 ml\n2) Spleen: 210.2 ml\n- Left kidney: 150 ml",
        "The remnant of the liver has 800 ml, 53.2 percent.",
    ],
)
def test_what_the_table_has_stays(text):
    found = checked(text, TABLE)
    assert (found.text, found.struck) == (text, ()) and found.says_something


@pytest.mark.parametrize(
    "text, struck",
    [
        ("The liver has 1530.4 ml.", ["1530.4 ml"]),
        ("Liver 210.2 ml. Spleen 1503.4 ml.", ["210.2 ml", "1503.4 ml"]),  # each of the other
        ("Liver and spleen: 210 and 1503 ml.", ["210", "1503 ml"]),
        ("The liver has 1503.4 mm.", ["1503.4 mm"]),  # another unit
        ("The liver has 1503.4.", ["1503.4"]),  # none
        ("The left lung has 835 HU.", ["835 HU"]),
        ("The liver has 54 HU and −54 HU.", ["−54 HU"]),
        ("The liver has 2 liters.", ["2 liters"]),  # rounded too far
        ("The liver has 1503.5 ml.", ["1503.5 ml"]),
        ("The liver has one thousand five hundred and three ml.", ["one thousand five hundred and three ml"]),
        ("The liver has 1.5034e3 ml.", ["1.5034e3 ml"]),
        ("The liver has 1½ liters, ½ liter and 10⁶ ml.", ["1", "½ liters", "½ liter", "10", "⁶ ml"]),
        ("The liver has ١٥٠٣ ml or １６００ ml.", ["１６００ ml"]),
        ("The liver was scanned on 12 March 2024.", ["12", "2024"]),
        ("The liver has three segments.", ["three"]),
        ("The spleen grew by 5.2 %.", ["5.2 %"]),
        ("It has 1503.4 ml.", ["1503.4 ml"]),  # what?
        ("The kidney on the left has 1503.4 ml.", ["1503.4 ml"]),
    ],
)
def test_wrong_numbers_are_struck_out(text, struck):
    found = checked(text, TABLE)
    assert list(found.struck) == struck
    for one in struck:
        assert f"~~{one}~~ [?]" in found.text
    assert re.sub(r"~~| \[\?\]", "", found.text) == text


@pytest.mark.parametrize(
    "sentence",
    [
        "There is a mass in the liver.",
        "No pleural effusion.",
        "The pancreas is unremarkable.",
        "The pancreas has 80 ml.",
        "The liver is enlarged.",
        "The liver is normal.",
        "A fracture of the L2 vertebra.",
        "The liver increased.",
        "The spleen decreased by 5.1 %.",
        "Structure 1 increased by 21.7 %.",
        "The liver is stable.",
        "Recommend a biopsy of the liver.",
        "The kidneys have cysts.",
    ],
)
def test_invented_findings_are_struck_out(sentence):
    found = checked(f"The left lung has 1879.5 ml. {sentence}", TABLE)
    told = sentence.replace("Structure 1", "Metastasis")
    assert found.text == f"The left lung has 1879.5 ml. ~~{told}~~ [?]"


def test_nothing_about_the_result_is_no_draft():
    for text in ("I'm sorry, but I can't help with that.", "", "Hello!", "~~~~", "The liver is normal."):
        assert not checked(text, TABLE).says_something


def test_a_model_cannot_strike_out_or_mark_by_itself():
    assert (
        checked("~~The liver has 54 HU.~~ [?] Spleen: ~~48 HU~~ [?]", TABLE).text
        == "The liver has 54 HU.  Spleen: 48 HU "
    )


def test_structures_get_their_own_titles_back():
    assert checked("structure 1 has 12.3 ml.", TABLE).text == "Metastasis has 12.3 ml."
    odd = Table(TABLE.lines, {**TABLE.titles, "Structure 1": "~~A\n<b>[?]"})
    assert checked("Structure 1 has 12.3 ml. Structure 12 has 12.3 ml.", odd).text.startswith(
        "A <b> has 12.3 ml. Structure ~~12~~"
    )


def test_what_a_person_writes_is_listed_not_struck_out():
    text = "Metastasis has 12.3 ml, ~~99 ml~~ [?] and 13 mm. The gallbladder has a stone."
    assert not_in(text, TABLE) == ("13 mm", "The gallbladder has a stone.")
    assert (
        not_in("The metastasis has 12.3 ml.", Table(TABLE.lines, {**TABLE.titles, "Structure 1": "metastasis"})) == ()
    )


def test_every_wrong_number_of_thousands_of_texts_is_struck_out():
    """Written in the ways that people write numbers; no other number of the table is taken for it."""
    chance = random.Random(7)
    volumes = {"Liver": 1503.4, "Spleen": 210.2, "Left lung": 1879.5, "Left kidney": 150.3, "Right kidney": 160.1}
    ways = (lambda v: f"{v:.1f} ml", lambda v: f"{v:,.1f} mL", lambda v: f"{v:.1f} cm³", lambda v: f"{v / 1000:.4f} L")
    frames = ("The {} measures {}.", "{}: {}", "There are {1} of {0}.", "The volume of the {} is approximately {}.")
    right = wrong = 0
    for (name, volume), way, frame in itertools.product(volumes.items(), ways, frames):
        assert not checked(frame.format(name, way(volume)), TABLE).struck
        right += 1
        for _ in range(30):
            other = round(chance.choice([volume * chance.uniform(0.3, 3), *volumes.values()]), 1)
            if any(
                abs(other - n.value) < 0.11
                for line in LINES
                if line.startswith(name)
                for n in numbers_in(line)
                if n.value
            ):
                continue
            assert checked(frame.format(name, way(other)), TABLE).struck == (way(other),), (name, way(other))
            wrong += 1
    assert right == 80 and wrong > 1800


def test_each_structure_of_the_terminology_is_found_and_each_other_one_is_foreign():
    titles = set(known_titles().values())
    table = Table(("Liver: volume 5.0 ml",), {"Liver": "Liver"})
    for title in titles - {"Liver"}:
        assert checked(f"The {title} has 5.0 ml.", table).struck, title
        own = Table((f"{title}: volume 5.0 ml",), {title: title})
        assert not checked(f"The {title} has 5.0 ml.", own).struck, title
