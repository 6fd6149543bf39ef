"""Codes, titles and TG-263 names of every structure in the catalogue, against what others publish."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from DeepSegLogic.data.terminology import TISSUE, standard_structures, structure_for, tg263_name
from DeepSegLogic.models.catalogue import catalogue
from DeepSegLogic.util.resources import resource_path

DATA = Path(__file__).parents[2] / "data"
TABLE = {
    row["name"]: row
    for row in csv.DictReader(resource_path("Terminology", "structures.csv").read_text("utf-8").splitlines())
}
NAMES = sorted({name for card in catalogue() for name in card.structures} | {s.name for s in standard_structures()})
UNSPECIFIC = {"85756007": TISSUE.meaning}
TG263_OTHER = {  # where TG-263 names less, or SNOMED CT has a code for the whole
    "VB_": "vertebral bodies, of which the models show the whole vertebrae",
    "Lung_": "a lobe, of which our code says which",
    "Bone_Pelvic": "the half of the pelvis",
    **dict.fromkeys(("Atrium_", "Ventricle_", "V_Venacava_"), "our code says the side"),
    **dict.fromkeys(("A_Carotid_", "A_Subclavian_", "V_Pulmonary", "A_Brachiocephls"), "the published code differs"),
    **dict.fromkeys(("Ear_Externals", "Spc_Bowel", "Larynx_SG", "Lips"), "the published code is wider or narrower"),
}
SIDES_MIXED_UP = ("optic_nerve_right", "iliac_vena_left", "iliac_vena_right")  # where they are published


def words(meaning):
    """What a name means, without what SNOMED CT and DICOM word in different ways."""
    meaning = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", re.sub(r"\(.*?\)|,.*", "", meaning)).lower()
    for old, new in {"mandibular": "mandible", "cochlear": "cochlea", "medulla": "medullary"}.items():
        meaning = meaning.replace(old, new)
    same = {"structure", "of", "the", "bone", "muscle", "skeletal", "permanent"}
    return set(re.findall(r"[a-z0-9]+", meaning)) - same


@pytest.fixture(scope="session")
def published(shared_data):
    """Code: the names that others give it."""
    from pydicom.sr._concepts_dict import concepts

    names = {}
    for keyword, codes in concepts["SCT"].items():
        for code, (meaning, _) in codes.items():
            names.setdefault(code, set()).update((keyword, meaning))
    with (shared_data / "totalsegmentator_snomed.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for key, code in row.items():
                if key.endswith(".CodeValue") and code:
                    names.setdefault(code, set()).add(row[key.replace("CodeValue", "CodeMeaning")])
    labels = json.loads((DATA / "published_labels.json").read_text("utf-8"))
    del labels["_sources"]
    for code, meaning, _ in (label for group in labels.values() for label in group):
        names.setdefault(code, set()).add(meaning)
    for code, meaning in json.loads((DATA / "published_codes.json").read_text("utf-8"))["snomed"].items():
        names.setdefault(code, set()).add(meaning)
    return names


def test_every_structure_of_the_catalogue_has_an_entry():
    assert len(NAMES) == 434
    for name in NAMES:
        structure = structure_for(name, 1)
        assert name in TABLE and structure.category and structure.type and structure.body_system, name
        assert structure.type.value not in UNSPECIFIC, name
        assert structure.title[0].isupper() or structure.title[0].isdigit(), name
        assert len(structure.title) <= 64 and "_" not in structure.title, name  # a DICOM text of type LO
        side = next((s for s in ("left", "right") if s in name.split("_")), None)
        chamber = name.startswith("lung_middle") or structure.type.value == "72481006"
        assert structure.laterality == side or chamber, name
        assert side is None or side in structure.title.lower(), name


def test_every_code_is_published_with_this_meaning(published):
    for row in TABLE.values():
        for kind in ("category", "type", "modifier", "region"):
            code, meaning = row[f"{kind}_code"], row[f"{kind}_meaning"]
            assert bool(code) == bool(meaning) == (row[f"{kind}_scheme"] == "SCT")
            if code:
                assert code in published, (row["name"], code)
                near = [name for name in published[code] if name == meaning or words(name) == words(meaning)]
                assert near, (row["name"], meaning, published[code])


def test_regions_equal_the_published_ones(shared_data):
    with (shared_data / "totalsegmentator_snomed.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            structure = structure_for(row["Structure"], 1)
            region, side = (row[f"Anatomic{part}Sequence.CodeValue"] for part in ("Region", "RegionModifier"))
            assert (structure.region.value if structure.region else "") == region, structure.name
            assert (structure.region_modifier.value if structure.region_modifier else "") == side, structure.name


def test_colours_and_titles_differ_within_a_model():
    for card in catalogue():
        structures = [structure_for(name, 1) for name in card.structures]
        assert len({s.color for s in structures}) == len({s.title for s in structures}) == len(structures), card.id


def test_tg263_names_are_those_of_the_report():
    names = json.loads((DATA / "published_codes.json").read_text("utf-8"))["tg263"]
    used = {name: row for name, row in TABLE.items() if row["tg263"]}
    assert len(used) > 200
    for name, row in used.items():
        tg263, structure = row["tg263"], structure_for(name, 1)
        assert tg263_name(name) == tg263 and len(tg263) <= 16
        code, side = names[tg263]
        if not tg263.startswith(tuple(TG263_OTHER)):
            assert code == structure.type.value, (name, tg263)
        if re.search(r"_[LR]$", tg263) and tg263 != "VB_L":
            assert {"L": "left", "R": "right"}[tg263[-1]] == structure.laterality, name
        if side and name not in SIDES_MIXED_UP:
            assert side == structure.laterality, name
    assert tg263_name("gluteus_maximus_left") == tg263_name("something_new") == ""
    for card in catalogue():
        twice = [n for n, count in Counter(filter(None, map(tg263_name, card.structures))).items() if count > 1]
        assert not twice, card.id
