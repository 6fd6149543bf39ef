"""The table of structures agrees with the published facts, and reads well."""

import csv
import json

from DeepSegLogic.data.terminology import standard_structures, structure_for


def test_codes_equal_the_published_ones(shared_data):
    with (shared_data / "totalsegmentator_snomed.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            structure = structure_for(row["Structure"], 1)
            if structure.name == "gluteus_minimus":  # published with the code of gluteus medius
                assert structure.type == structure_for("gluteus_minimus_left", 1).type
                continue
            for kind, code in (("Type", structure.type), ("Category", structure.category)):
                facts = [
                    row[f"SegmentedProperty{kind}CodeSequence.{part}"]
                    for part in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")
                ]
                assert [code.scheme, code.value, code.meaning] == facts, structure.name
            side = row["SegmentedPropertyTypeModifierCodeSequence.CodeMeaning"]
            assert (structure.modifier.meaning if structure.modifier else "") == side


def test_standard_values_equal_the_published_ones(shared_data):
    facts = json.loads((shared_data / "totalsegmentator_total_labels.json").read_text("utf-8"))
    assert {s.value: s.name for s in standard_structures()} == {int(v): n for v, n in facts.items()}


def test_titles_and_sides_are_for_people():
    kidney = structure_for("kidney_left", 3)
    assert (kidney.title, kidney.laterality, kidney.modifier.meaning) == ("Left kidney", "left", "Left")
    assert structure_for("rib_right_7", 1).title == "Right rib 7"
    assert structure_for("vertebrae_L3", 1).title == "L3 vertebra"


def test_colours_and_names_are_distinct():
    structures = standard_structures()
    assert len({s.color for s in structures}) == len(structures)
    assert len({s.title for s in structures}) == len(structures)


def test_unknown_names_get_a_stable_colour_and_a_title():
    first, second = structure_for("bile_duct_left", 7), structure_for("bile_duct_left", 8)
    assert first.color == second.color
    assert (first.title, first.laterality) == ("Bile duct left", "left")
