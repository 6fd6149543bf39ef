"""The catalogue against its schema and against the published facts; the search against what users ask."""

import json
from pathlib import Path

import jsonschema
import pytest

from DeepSegLogic.models.card import ModelCard
from DeepSegLogic.models.catalogue import catalogue, in_catalogue, search
from DeepSegLogic.models.store import Store
from DeepSegLogic.resources import resource_path


def found(words):
    return {match.card.id for match in search(words, catalogue()) if not match.missing}


def test_it_follows_its_schema():
    data = json.loads(resource_path("Models", "catalogue.json").read_text("utf-8"))
    schema = json.loads(resource_path("Models", "catalogue.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(data)
    assert resource_path("Models", "catalogue.json").stat().st_size < 400_000


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
        spacing = task["spacing_mm"]
        if spacing is not None:
            expected = [spacing] * 3 if isinstance(spacing, float) else spacing
            assert card.spacing == pytest.approx(expected, abs=1e-4)
    for part, weights in zip(in_catalogue("total").parts, tasks["total"]["weights"], strict=True):
        assert list(part.structures) == list(weights["labels"].values())


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
        ("L6", {"total_v3", "total_v3_fast", "total_v3_fastest"}),
        ("tooth", {"teeth", "craniofacial_structures"}),
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
