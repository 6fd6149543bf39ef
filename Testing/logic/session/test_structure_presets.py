"""Structures by body system, by words and by preset, against anatomy."""

import csv

import pytest

from DeepSegLogic.data.terminology import standard_structures
from DeepSegLogic.session import PRESETS, groups_of, preset_names, search_structures
from DeepSegLogic.util.resources import resource_path

NAMES = [s.name for s in standard_structures()]


def test_groups_hold_every_structure_once():
    groups = groups_of(NAMES)
    members = [s.name for g in groups for s in g.structures]
    assert sorted(members) == sorted(NAMES)
    by_title = {g.title: {s.name for s in g.structures} for g in groups}
    assert {"liver", "stomach", "colon"} <= by_title["Digestive"]
    assert {"aorta", "inferior_vena_cava"} <= by_title["Vessels"]
    assert groups_of(["something_new"])[0].structures[0].title == "Something new"


def test_presets_choose_what_they_say():
    spine = preset_names("Spine", NAMES)
    assert len([n for n in spine if n.startswith("vertebrae_")]) == 25  # 7 + 12 + 5, and S1
    assert {"sacrum", "spinal_cord"} <= set(spine) and "aorta" not in spine
    bones = set(preset_names("Bones", NAMES))
    assert sum(n.startswith("rib_") for n in bones) == 24
    assert not bones & {"liver", "spinal_cord", "gluteus_maximus_left", "costal_cartilages"}
    assert {"liver", "portal_vein_and_splenic_vein", "gallbladder"} <= set(preset_names("Liver surgery", NAMES))
    assert "kidney_left" in preset_names("Abdominal organs", NAMES)
    assert {"iliac_vena_left", "portal_vein_and_splenic_vein", "brachiocephalic_trunk"} <= set(
        preset_names("Vessels", NAMES)
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_find_something_in_every_naming(preset):
    with resource_path("Terminology", "structures.csv").open(encoding="utf-8") as file:
        every = [row["name"] for row in csv.DictReader(file)]
    assert set(preset_names(preset, NAMES)) <= set(preset_names(preset, every))
    assert preset_names(preset, NAMES)


def test_search():
    structures = standard_structures()
    assert [s.name for s in search_structures("left kid", structures)] == ["kidney_left", "kidney_cyst_left"]
    assert len(search_structures("", structures)) == 117
