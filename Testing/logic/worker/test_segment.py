"""The bundled model on the real chest CT, through a real worker."""

import numpy as np
import pytest

from DeepSegLogic import read_volume, segment
from DeepSegLogic.errors import Cancelled, ModelError, UsageError
from DeepSegLogic.worker import WorkerClient

from .conftest import is_end, leftovers, run_until


@pytest.fixture(scope="module")
def volume(chest_ct):
    return read_volume(chest_ct)


@pytest.fixture(scope="module")
def request_(volume, demo_model):
    return {"volume": volume, "model": str(demo_model), "device": "cpu", "quality": "fast"}


@pytest.fixture(scope="module")
def client():
    with WorkerClient() as client:
        yield client
    assert client.state == "stopped"


def test_the_worker_gives_what_segment_gives(client, request_):
    expected = segment(**request_)
    result = client.call("segment", **request_)
    assert type(result) is type(expected)
    np.testing.assert_array_equal(result.label_map.array, expected.label_map.array)
    np.testing.assert_array_equal(result.label_map.ijk_to_ras, expected.label_map.ijk_to_ras)
    assert result.label_map.structures == expected.label_map.structures
    assert result.confidence == expected.confidence and result.confidence
    assert result.warnings == expected.warnings
    assert result.provenance == expected.provenance
    assert result.timings.keys() == expected.timings.keys()


def test_the_second_segment_skips_start_and_load(client, request_):
    client.call("segment", **request_)
    worker = client.hello["pid"]
    job = client.submit("segment", **request_)
    events = run_until(client, lambda e: is_end(e) and e.job == job, seconds=120)
    assert events[-1].kind == "result"
    assert "load model" not in [e.stage for e in events]
    assert client.hello["pid"] == worker and client.call("ping")["model"]


def test_probabilities_cross(client, request_):
    top = client.call("segment", keep_probabilities=True, **request_).probabilities
    assert top.labels.shape == top.values.shape and top.values.dtype == np.uint8
    assert top.values.max() > 200


def test_estimate_needs_no_voxels_and_warms_up(new_client, request_):
    client, volume = new_client(), request_["volume"]
    told = client.call(
        "estimate", shape=volume.shape, ijk_to_ras=volume.ijk_to_ras, model=request_["model"], device="cpu"
    )
    assert told["windows"] > 0 and told["seconds"] > 0 and told["ram_bytes"] > volume.array.nbytes
    assert told["device"] == "cpu" and client.call("ping")["model"]


def test_cancel_in_each_stage(client, request_):
    job = client.submit("segment", **request_)
    stages = {e.stage for e in run_until(client, lambda e: is_end(e) and e.job == job, seconds=120)} - {""}
    assert stages
    for stage in stages:
        job = client.submit("segment", **request_)
        run_until(client, lambda e, stage=stage: e.stage == stage, seconds=120)
        client.cancel(job)
        end = run_until(client, lambda e, job=job: is_end(e) and e.job == job, seconds=120)[-1]
        assert isinstance(end.error, Cancelled) or (stage, end.kind) == (list(stages)[-1], "result")
    assert leftovers(client._connection.link.share) == []


def test_errors_of_the_engine_arrive_as_they_are(client, request_):
    with pytest.raises(UsageError, match="livr"):
        client.call("segment", structures=["livr"], **request_)
    with pytest.raises(ModelError) as caught:
        client.call("segment", **{**request_, "model": "no_such_model"})
    assert caught.value.code == "model.unknown" and caught.value.remedy
