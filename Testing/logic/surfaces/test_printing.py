"""Surfaces for printing: one shell each, judged by trimesh."""

import numpy as np
import trimesh

from DeepSegLogic.labels import LabelMap
from DeepSegLogic.surfaces import write_surfaces
from DeepSegLogic.surfaces.printing import for_printing
from DeepSegLogic.terminology import structure_for


def hollow_box_with_a_crumb():
    array = np.zeros((40, 40, 40), np.uint8)
    array[5:25, 5:25, 5:25] = 1
    array[10:20, 10:20, 10:20] = 0  # a cavity
    array[12:14, 12:14, 12:14] = 2  # with something else in it, smaller than a crumb but all there is of it
    array[32:35, 32:35, 32:35] = 1  # a crumb of 0.027 ml
    return LabelMap(array, np.eye(4), [structure_for("s1", 1), structure_for("s2", 2)])


def test_shells_and_crumbs(tmp_path):
    labels = hollow_box_with_a_crumb()
    for printable, bodies in ((False, 3), (True, 2)):  # the cavity's wall counts as a body; s2 leaves one
        write_surfaces(labels, tmp_path, ["stl"], printable=printable, smoothing="none")
        mesh = trimesh.load_mesh(tmp_path / "s1.stl")
        assert mesh.is_watertight and mesh.body_count == bodies
    assert abs(mesh.volume - (20**3 - 2**3)) < 1  # the cavity is filled around s2
    assert trimesh.load_mesh(tmp_path / "s2.stl").is_watertight


def test_the_label_map_given_stays_as_it_is():
    labels = hollow_box_with_a_crumb()
    before = labels.array.copy()
    for_printing(labels)
    assert np.array_equal(labels.array, before)
