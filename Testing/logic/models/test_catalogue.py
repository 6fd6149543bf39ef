"""The catalogue against its schema and against the published facts; the search against what users ask."""

import json
from pathlib import Path

import jsonschema
import pytest

from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.models.card import ModelCard
from DeepSegLogic.models.catalogue import catalogue, in_catalogue, search
from DeepSegLogic.models.find import chain, find_model
from DeepSegLogic.models.store import Store
from DeepSegLogic.util.errors import ModelError
from DeepSegLogic.util.resources import resource_path

DATA = Path(__file__).parents[2] / "data"


def found(words):
    return {match.card.id for match in search(words, catalogue()) if not match.missing}


def test_it_follows_its_schema():
    data = json.loads(resource_path("Models", "catalogue.json").read_text("utf-8"))
    schema = json.loads(resource_path("Models", "catalogue.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(data)
    assert resource_path("Models", "catalogue.json").stat().st_size < 400_000


def test_its_cards_are_valid_as_any_cards_are_although_no_program_checks_them():
    data = json.loads(resource_path("Models", "catalogue.json").read_text("utf-8"))
    assert tuple(ModelCard.from_json(entry) for entry in data["models"]) == catalogue()


def test_ids_and_archive_names_are_unique_where_they_must_be():
    ids = [card.id for card in catalogue()]
    assert len(set(ids)) == len(ids)
    for card in catalogue():
        names = [Store(Path()).archive_path(part).name for part in card.parts]
        assert len(set(names)) == len(names)
        assert len({part.name for part in card.parts}) == len(card.parts)


def test_parts_mark_each_structure_once():
    for card in catalogue():
        if len(card.parts) > 1:
            assert sorted(s for part in card.parts for s in part.structures) == sorted(card.structures)


def test_it_has_every_open_task_as_published(shared_data):
    tasks = json.loads((shared_data / "totalsegmentator_open_tasks.json").read_text("utf-8"))
    for name, task in tasks.items():
        card = in_catalogue(name)
        assert card.structures == [task["labels"][str(v)] for v in range(1, len(task["labels"]) + 1)]
        assert [part.url for part in card.parts] == [w["url"] for w in task["weights"]]
        assert (list(card.crop.structures) if card.crop else None) == task["crop"]
        spacing = task["spacing_mm"]
        if spacing is not None:
            expected = [spacing] * 3 if isinstance(spacing, float) else spacing
            assert card.spacing == pytest.approx(expected, abs=1e-4)
    for part, weights in zip(in_catalogue("total").parts, tasks["total"]["weights"], strict=True):
        assert list(part.structures) == list(weights["labels"].values())


def test_labels_are_in_the_publishers_order():
    """By the codes and sides that MOOSE and CADS publish for each label."""
    published = json.loads((DATA / "published_labels.json").read_text("utf-8"))
    del published["_sources"]
    for model_id, labels in published.items():
        structures = [structure_for(name, 1) for name in in_catalogue(model_id).structures]
        assert len(structures) == len(labels)
        for structure, (code, meaning, side) in zip(structures, labels, strict=True):
            assert structure.type.value == code or structure.type.meaning == meaning, (model_id, structure.name)
            assert side == (structure.modifier.meaning if structure.modifier else "")


FAMILIES = {"moose": "CC-BY-4.0", "cads": "CC-BY-SA-4.0", "dental": "CC-BY-4.0", "mrsegmentator": "Apache-2.0"}


@pytest.mark.parametrize(("family", "licence"), FAMILIES.items())
def test_each_family_has_its_licence_and_only_structures_of_the_table(family, licence):
    cards = [card for card in catalogue() if card.id.partition("_")[0] == family]
    assert cards and {card.licence for card in cards} == {licence}
    assert all(structure_for(name, 1).body_system for card in cards for name in card.structures)


def test_regions_are_found_by_the_models_that_totalsegmentator_uses():
    """Version 2.18, ``python_api.py``: its 6 mm network, on MR and where it says robust the 3 mm one; 20 mm around,
    whatever the task says, unless it names the model."""
    crops = {card.id: card.crop for card in catalogue() if card.crop}
    assert len(crops) == 21
    others = {
        "lung_vessels": "total_fast",
        "liver_lesions": "total_fast",
        "liver_lesions_mr": "total_mr_fast",
        "liver_segments_mr": "total_mr_fast",
        "abdominal_muscles": "body_fast",
        "teeth": "craniofacial_structures",
    }
    for name, crop in crops.items():
        assert crop.model == others.get(name, "total_fastest")
        assert crop.margin_mm == (10 if name == "teeth" else 20)
        assert set(crop.structures) <= set(in_catalogue(crop.model).structures)
    assert [card.id for card in chain(in_catalogue("teeth"))] == ["teeth", "craniofacial_structures", "total_fastest"]


def test_the_licence_that_forbids_commercial_use_is_said(shared_data):
    assert [card.id for card in catalogue() if "NC" in card.licence] == ["brain_aneurysm"]


def test_a_search_finds_every_model_that_has_the_structure():
    assert found("portal vein") == {c.id for c in catalogue() if any("portal_vein" in s for s in c.structures)}
    assert len(found("portal vein")) >= 10
    assert found("Portal-Vein ") == found("portal vein") == found("which models show the portal veins?")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("liver tumour", {"liver_vessels", "liver_lesions", "liver_lesions_mr"}),
        ("hepatic lesions", {"liver_vessels", "liver_lesions", "liver_lesions_mr"}),
        ("pancreas and tumor", {"monai_pancreas_ct"}),
        ("L6", {"total_v3", "total_v3_fast", "total_v3_fastest", "moose_vertebrae"}),
        ("tooth", {"teeth", "craniofacial_structures", "dental_segmentator"}),
        ("external ear", {"moose_face"}),
        ("organs at risk", {"cads_risk_organs", "cads_head_neck"}),
        ("skin", {"body", "body_fast"}),
        ("pancreas of children", {"monai_pediatric_abdomen_ct"}),
        ("liver segments MRI", {"liver_segments_mr"}),
        ("IVC", {c.id for c in catalogue() if "inferior_vena_cava" in c.structures}),
    ],
)
def test_questions_that_users_ask(words, expected):
    assert found(words) == expected


def test_nearest_models_are_given_with_what_they_lack():
    matches = search("kidney and tumour", catalogue())
    assert matches and all(len(match.missing) == 1 for match in matches)
    assert {"kidney", "tumour"} == {match.missing[0] for match in matches}
    assert search("xyzzy", catalogue()) == [] and search("the", catalogue()) == []


def test_the_structures_found_are_named():
    first = search("left kidney", [ModelCard("m", "M", structures=["kidney_right", "kidney_left"])])[0]
    assert first.structures == ["kidney_left"]


def test_a_mistyped_model_is_suggested():
    with pytest.raises(ModelError) as caught:
        find_model("total_fst")
    assert caught.value.remedy.startswith("Did you mean total_fast")
    with pytest.raises(ModelError) as caught:
        find_model("zzzzz")
    assert "Did you mean" not in caught.value.remedy
