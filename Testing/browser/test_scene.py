"""What the scene behind the page keeps."""

import asyncio
import importlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dicom_series
import numpy as np
import pytest

from DeepSegLogic.data.label_map import LabelMap
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.io import read_volume

pytestmark = pytest.mark.timeout(100)

FACTS = {"model": {"id": "m", "version": "1"}, "settings": {"quality": "fast"}, "versions": {"deepseg": "0"}}


def test_a_result_that_was_replaced_leaves_memory(chest_ct):
    pytest.importorskip("trame_slicer", reason="needs the extra `web`")
    scene = pytest.importorskip("DeepSegWeb.scene").PageScene()
    volume = read_volume(chest_ct)
    label_map = LabelMap((volume.array > 200).astype(np.uint8), volume.ijk_to_ras, [structure_for("sacrum", 1)])
    results = []
    for _ in range(2):
        scene.show_volume(volume)
        scene.work.adopt(label_map, FACTS)
        scene.edit_result()
        results.append(scene.work.resultNode)
    assert results[1].GetReferenceCount() > 1
    assert results[0].GetReferenceCount() == 1, "only this test holds it"
    scene.work.session.close()


class State(dict):
    """As trame's, for one user."""

    __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def _run(coroutine) -> None:
    """In a thread of its own: Playwright keeps an event loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result()


def test_an_uploaded_series_stays_until_another_volume_is_shown(chest_ct, tmp_path):
    pytest.importorskip("trame_slicer", reason="needs the extra `web`")
    scene, said, scratch = pytest.importorskip("DeepSegWeb.scene").PageScene(), [], tmp_path / "scratch"
    opening = importlib.import_module("DeepSegWeb.opening")
    scratch.mkdir()
    state = State(rendering="", reading="")
    page = opening.Opening(state, scene, said.append, scratch, None)
    shutil.copytree(dicom_series.write_series(tmp_path / "ct"), tmp_path / "upload" / "CT")
    _run(page.receive(tmp_path / "upload" / "CT"))
    source = Path(scene.work.session.choices.volume.source)
    assert said == [] and source.is_relative_to(scratch) and len(list(source.iterdir())) == 12
    volume = scene.work.session.choices.volume
    scene.work.adopt(dicom_series.organs(volume.ijk_to_ras), FACTS)
    scene.save(tmp_path / "saved")
    assert not any(b"scratch" in path.read_bytes() for path in (tmp_path / "saved").rglob("*.mrml"))
    assert scene.work.session.outcome.why_no_dicom == ""

    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.nrrd").write_bytes(b"NRRD0004\n")
    _run(page.receive(tmp_path / "broken" / "a.nrrd"))
    assert len(said) == 1 and source.exists()  # what is shown stays
    shutil.copy(chest_ct, tmp_path / "upload")
    _run(page.receive(tmp_path / "upload" / chest_ct.name))
    assert not list(scratch.iterdir()) and scene.work.session.choices.volume.source == ""
    scene.work.session.close()


def test_the_worker_prepares_itself_while_a_volume_is_read(chest_ct, tmp_path, monkeypatch):
    pytest.importorskip("trame_slicer", reason="needs the extra `web`")
    scene, said = pytest.importorskip("DeepSegWeb.scene").PageScene(), []
    opening = importlib.import_module("DeepSegWeb.opening")
    read, asked, before = opening.read_scene_or_volume, [], []
    monkeypatch.setattr(scene.work.session.jobs, "submit", lambda request, *_, **__: asked.append(request))
    monkeypatch.setattr(opening, "read_scene_or_volume", lambda *a: before.extend(asked) or read(*a))
    page = opening.Opening(State(rendering="", reading=""), scene, said.append, tmp_path, None)
    _run(page.open(chest_ct))
    assert (said, before, asked) == ([], ["prepare"], ["prepare", "classify", "estimate"])
    scene.work.session.close()
