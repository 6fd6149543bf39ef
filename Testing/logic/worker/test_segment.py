"""The bundled model on the real chest CT, through a real worker."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from DeepSegLogic import LabelMap, Structure, read_label_map, read_volume, segment
from DeepSegLogic.classify import Scan
from DeepSegLogic.data.terminology import structure_for
from DeepSegLogic.surfaces import make_surfaces
from DeepSegLogic.util.errors import Cancelled, ModelError, UsageError
from DeepSegLogic.worker import WorkerClient
from DeepSegLogic.worker.handlers import results as handlers
from DeepSegLogic.worker.handlers import running

from .conftest import is_end, leftovers, run_until


@pytest.fixture(scope="module")
def volume(chest_ct):
    return read_volume(chest_ct)


@pytest.fixture(scope="module")
def request_(volume, demo_model):
    return {"volume": volume, "model": str(demo_model), "device": "cpu", "quality": "fast"}


@pytest.fixture(scope="module")
def client():
    with WorkerClient(grace=120) as client:
        yield client
    assert client.state == "stopped"


@pytest.fixture(scope="module")
def two_runs(client, request_):
    """The events of a first run, with probabilities, and of a second one; the pid of each."""

    def run(**options):
        job = client.submit("segment", **request_, **options)
        events = run_until(client, lambda e: is_end(e) and e.job == job, seconds=300)
        assert events[-1].kind == "result", events[-1].traceback
        return events, client.hello["pid"]

    client.close()  # whatever ran before, nothing is warm
    return run(keep_probabilities=True), run()


def stages_of(events):
    return list(dict.fromkeys(e.stage for e in events if e.stage))


def test_the_worker_gives_what_segment_gives(two_runs, request_):
    (first, _), (second, _) = two_runs
    expected = segment(**request_, keep_probabilities=True)
    result = first[-1].value
    assert type(result) is type(expected)
    np.testing.assert_array_equal(result.label_map.array, expected.label_map.array)
    np.testing.assert_array_equal(result.label_map.ijk_to_ras, expected.label_map.ijk_to_ras)
    assert result.label_map.structures == expected.label_map.structures
    assert result.confidence == expected.confidence and result.confidence
    assert result.boundary_margin == expected.boundary_margin and result.boundary_margin
    assert result.plan.keys() == expected.plan.keys() and result.plan["run"] == expected.plan["run"]
    assert result.warnings == expected.warnings
    assert result.provenance == expected.provenance
    assert result.timings.keys() == expected.timings.keys()
    np.testing.assert_array_equal(result.probabilities.labels, expected.probabilities.labels)
    np.testing.assert_array_equal(result.probabilities.values, expected.probabilities.values)
    np.testing.assert_array_equal(second[-1].value.label_map.array, expected.label_map.array)


def test_the_second_segment_skips_start_and_load(client, two_runs):
    (first, first_pid), (second, second_pid) = two_runs
    assert "load model" in stages_of(first) and "load model" not in stages_of(second)
    assert "inference" in stages_of(second) and first_pid == second_pid
    assert client.call("ping")["model"]


def test_estimate_needs_no_voxels_and_warms_up(new_client, request_):
    client, volume = new_client(), request_["volume"]
    told = client.call(
        "estimate", shape=volume.shape_kji, ijk_to_ras=volume.ijk_to_ras, model=request_["model"], device="cpu"
    )
    assert told["windows"] > 0 and told["seconds"] > 0 and told["ram_bytes"] > volume.array.nbytes
    assert told["device"] == "cpu" and client.call("ping")["model"]


@pytest.mark.skipif(not hasattr(psutil.Process, "memory_maps"), reason="the system does not tell what is loaded")
def test_torch_can_be_loaded_before_there_is_a_volume(new_client):
    def loaded():
        return any("torch" in Path(part.path).name for part in psutil.Process(client.hello["pid"]).memory_maps())

    client = new_client()
    client.call("ping")
    before = loaded()
    client.call("prepare")
    assert (before, loaded()) == (False, True)


def test_cancel_in_each_stage(client, two_runs, request_):
    stages = stages_of(two_runs[1][0])
    for stage in stages:
        job = client.submit("segment", **request_)
        run_until(client, lambda e, job=job, stage=stage: (e.job, e.stage) == (job, stage), seconds=300)
        client.cancel(job)
        end = run_until(client, lambda e, job=job: is_end(e) and e.job == job, seconds=300)[-1]
        assert isinstance(end.error, Cancelled) or (stage, end.kind) == (stages[-1], "result")
    assert leftovers(client._connection.link.share) == []


def test_surfaces_cross(client, chest_segmentation):
    label_map = read_label_map(chest_segmentation)
    expected = make_surfaces(label_map)
    surfaces = client.call("surfaces", label_map=label_map)
    assert len(surfaces) == len(expected) > 0
    for one, other in zip(surfaces, expected, strict=True):
        assert one.structure == other.structure
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.triangles, other.triangles)


class WarmJob:
    """Stands for the worker's side of a job."""

    def __init__(self, warm):
        self.warm, self.made = warm, 0

    def progress(self, stage, fraction, message=""):
        self.made += stage == "surfaces" and fraction == 1

    def cancel(self):
        return False


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.array.__setitem__((0, 0, 0), 1 - m.array[0, 0, 0]),
        lambda m: m.ijk_to_ras.__setitem__((0, 3), m.ijk_to_ras[0, 3] + 1),
        lambda m: m.structures.pop(),
    ],
)
def test_surfaces_are_made_again_only_if_something_changed(chest_segmentation, tmp_path, change):
    label_map, warm = read_label_map(chest_segmentation), {}

    def ask(**options):
        job = WarmJob(warm)
        return handlers.surfaces(job, label_map=label_map, **options), job.made

    first, made = ask()
    again, made_again = ask()
    assert (made, made_again) == (1, 0)
    assert again == first == make_surfaces(label_map)
    assert ask(smoothing="none")[1] == 1
    assert ask()[1] == 1  # only the last ones are kept
    change(label_map)
    after, made = ask()
    assert made == 1
    assert after == make_surfaces(label_map)


def test_an_export_writes_the_surfaces_that_are_shown(chest_segmentation, volume, tmp_path):
    label_map, warm = read_label_map(chest_segmentation), {}
    handlers.surfaces(WarmJob(warm), label_map=label_map)
    places = {}
    for name, kept in (("kept", warm), ("fresh", {})):
        job = WarmJob(kept)
        place = {"folder": str(tmp_path / name), "formats": ["stl"], "confidence": {}, "boundary_margin": {}}
        files = handlers.export(job, label_map=label_map, volume=volume, **place)
        assert job.made == (name == "fresh")
        places[name] = {Path(file).name: Path(file).read_bytes() for file in files}
    assert places["kept"] == places["fresh"]
    job = WarmJob(warm)
    handlers.export(job, label_map=label_map, volume=volume, **place | {"formats": ["ply"]}, printable=True)
    assert job.made == 1


def test_a_comparison_names_some_of_what_was_not_compared():
    """And nothing else in its sentences is shortened, as a name that looks like the list."""

    def label_map(names):
        array = np.zeros((2, 2, 20), np.uint8)
        array[0, 0, : 1 + len(names)] = range(1 + len(names))
        return LabelMap(array, np.eye(4), [Structure(n, name, name) for n, name in enumerate(names, 1)])

    own = ["x1", "x2", "x3", "x4", "x5"]
    titles = [structure_for(name, 1).title for name in own]
    odd = ", ".join(titles)
    told = handlers.evaluate(WarmJob({}), label_map=label_map(["liver", *own]), reference=label_map(["liver", odd]))
    assert told["notes"] == [
        f"Structures only in the prediction, not scored: {', '.join(titles[:3])} and 2 more.",
        f"Structures only in the reference, not scored: {structure_for(odd, 1).title}.",
    ]


def test_errors_of_the_engine_arrive_as_they_are(client, request_):
    with pytest.raises(UsageError, match="livr"):
        client.call("segment", structures=["livr"], **request_)
    with pytest.raises(ModelError) as caught:
        client.call("segment", **{**request_, "model": "no_such_model"})
    assert caught.value.code == "model.unknown" and caught.value.remedy


def test_reviews_of_a_volume_look_at_what_it_shows_once(volume, monkeypatch):
    """Also if it was asked before; another volume, as one with other voxels in the same place, is looked at anew."""
    looked = []

    def what_is(volume):
        looked.append(volume.array.mean())
        return Scan("CT")

    monkeypatch.setattr("DeepSegLogic.classify.what_is", what_is)
    label_map = LabelMap(np.zeros(volume.shape_kji, np.uint8), volume.ijk_to_ras, [])
    job, other = WarmJob({}), replace(volume, array=volume.array + np.int16(1))
    for asked, times in ((volume, 1), (replace(volume), 1), (other, 2), (other, 2), (volume, 3)):
        for _ in range(2):
            assert handlers.review(job, label_map=label_map, confidence={}, volume=asked) == []
        assert running.classify(job, volume=asked) == Scan("CT")
        assert len(looked) == times
    changed = replace(volume, array=volume.array.copy())
    running.classify(job, volume=changed)
    changed.array += np.int16(1)  # in place, as a block of shared memory that is used again
    running.classify(job, volume=changed)
    assert len(looked) == 4
