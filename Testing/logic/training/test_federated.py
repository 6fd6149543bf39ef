"""Training at several sites over gRPC: a server and its sites, one that dies, and some that are hostile."""

import csv
import dataclasses
import os
import pickle
import re
import subprocess
import sys
import threading
import types
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from DeepSegLogic.models import find_model, load_model
from DeepSegLogic.training.checks import check_cases
from DeepSegLogic.training.dataset import find_cases
from DeepSegLogic.training.federated.exchange import Layout
from DeepSegLogic.training.federated.flower import TOKEN_VARIABLE, Link, require_flower
from DeepSegLogic.training.federated.privacy import Privacy
from DeepSegLogic.training.optimization import Options
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.training.recipe import Recipe
from DeepSegLogic.util.errors import Cancelled, DeepSegError, InputError, ResourceError

from .ends import Thread, free_address, wait_for
from .phantom import write_raw

pytest.importorskip("monai")
if find_spec("flwr") is None:
    pytest.skip("needs Flower (make federated)", allow_module_level=True)
require_flower()  # before gRPC is loaded, which it tells to leave forks alone
common, client = pytest.importorskip("flwr.common"), pytest.importorskip("flwr.client")
averaging, server, site, state = (
    pytest.importorskip(f"DeepSegLogic.training.federated.{name}") for name in ("averaging", "server", "site", "state")
)
SHAPE = (16, 24, 24)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folders = [write_raw(tmp_path_factory.mktemp("data") / f"raw{n}", 1 + n, shape=SHAPE) for n in range(2)]
    return [check_cases(find_cases(folder), "CT") for folder in folders]


def holds_no_model(output):
    return not output.exists() or not list(output.rglob("*"))


def holds_nothing(output):
    """Whether a site has neither a model nor sent anything."""
    return holds_no_model(output) and not (output.with_name(f"{output.name}.training") / site.LEDGER).exists()


def recipe(report):
    plan = plan_training(report, width=8, spacing=(4, 4, 4), patch=(16, 16, 16), batch=1)
    return Recipe(report, plan, Options(rate=1e-3))


class Recorded(site.Site):
    """A site that remembers what it received and sent."""

    log: ClassVar[list] = []

    def fit(self, ins):
        answer = super().fit(ins)  # Flower empties it
        sent = common.Parameters(list(answer.parameters.tensors), answer.parameters.tensor_type)
        self.log.append((dict(ins.config), list(ins.parameters.tensors), dataclasses.replace(answer, parameters=sent)))
        return answer


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr(Recorded, "log", [])
    monkeypatch.setattr(site, "Site", Recorded)
    return Recorded.log


def test_the_server_averages_and_a_site_that_dies_does_not_stop_the_others(reports, tmp_path, recorded):
    link, rule = Link(free_address()), recipe(reports[0])
    terms = state.Terms(rounds=2, sites=3, steps=2, proximal=0.01)
    serving = Thread(server.serve, rule, tmp_path / "server", link, terms)
    wait_for(link.address)
    leaving = subprocess.Popen([sys.executable, str(Path(__file__).with_name("leaving_site.py")), link.address])
    sites = [
        Thread(site.take_part, report, tmp_path / f"site{n}", link, privacy=Privacy(0.5, 0.0) if n else None, seed=n)
        for n, report in enumerate(reports)
    ]
    done = serving.get()
    sent = [one.get() for one in sites]
    assert leaving.wait(60) == -9
    assert done.warnings == ["Round 1: 1 of 3 sites did not answer."]
    assert [(one.number, one.sites, one.cases) for one in done.rounds] == [(1, 2, 3), (2, 2, 3)]
    assert sent == ["2 rounds sent, no bound (a round without noise)"] * 2

    layout = Layout.of(rule.network([(1, 2)])[0])
    for number, expected in ((1, next(entry[1] for entry in recorded if entry[0]["number"] == 2)), (2, None)):
        answers = [answer for config, _, answer in recorded if config["number"] == number]
        weights = [layout.unpack(a.parameters.tensors, a.parameters.tensor_type) for a in answers]
        shares = np.array([answer.num_examples for answer in answers]) / 3
        mean = {n: sum(float(s) * w[n] for s, w in zip(shares, weights, strict=True)) for n in layout.shapes}
        got = done.weights if expected is None else layout.unpack(expected, layout.kind)
        for name in layout.shapes:
            torch.testing.assert_close(got[name], mean[name], rtol=1e-5, atol=1e-6)
    for config, before, answer in recorded:
        first = layout.unpack(before, layout.kind)
        after = layout.unpack(answer.parameters.tensors, layout.kind)
        length = torch.stack([(after[n] - first[n]).square().sum() for n in first]).sum().sqrt()
        assert config["proximal"] == 0.01 and float(length) > 0
        if answer.num_examples == 2:  # the site that clips
            assert float(length) <= 0.5 * 1.001 and not answer.metrics
        else:
            assert np.isfinite(answer.metrics["loss"])
    assert recorded[0][0]["rate"] > recorded[-1][0]["rate"]

    models = [load_model(find_model(tmp_path / name)).networks[0] for name in ("server", "site0", "site1")]
    for name, tensor in models[0].state_dict().items():
        torch.testing.assert_close(tensor.float(), done.weights[name], rtol=1e-2, atol=1e-3)  # half precision
        assert all(torch.equal(other.state_dict()[name], tensor) for other in models[1:])
    card = find_model(tmp_path / "server")
    assert card.provenance["federated"]["rounds"][0]["sites"] == 2 and "images" not in card.provenance
    with (tmp_path / "server.training" / state.ROUNDS).open() as file:
        assert [row["number"] for row in csv.DictReader(file)] == ["1", "2"]


class Hostile(client.Client):
    """Answers with what the test gives it."""

    def __init__(self, tensors, kind="", count=1):
        self.answer = common.Parameters(tensors, kind), count

    def fit(self, ins):
        parameters, count = self.answer
        parameters.tensor_type = parameters.tensor_type or ins.parameters.tensor_type
        if callable(parameters.tensors):
            parameters.tensors = parameters.tensors(ins.parameters.tensors)
        return common.FitRes(common.Status(common.Code.OK, ""), parameters, count, {"loss": float("inf")})


def bad(tensors):
    return [np.full(len(tensors[0]) // 4, np.nan, "<f4").tobytes(), *tensors[1:]]


class Executed:
    def __reduce__(self):
        return os._exit, (77,)


def test_hostile_sites_change_nothing(reports, tmp_path, monkeypatch):
    """Of a round with sites that send NaN, pickles, other shapes, too much, too many cases or huge numbers, one site's
    weights stay; who does not know the token is turned away."""
    link = Link(free_address(), token="a long secret")
    rule, terms = recipe(reports[0]), state.Terms(rounds=1, sites=7, steps=1)
    serving = Thread(server.serve, rule, tmp_path / "server", link, terms)
    monkeypatch.setattr(
        Hostile,
        "get_properties",
        lambda self, ins: common.GetPropertiesRes(
            common.Status(common.Code.OK, ""), {"proof": link.proof(ins.config["nonce"])}
        ),
        raising=False,
    )
    wait_for(link.address)
    asked = threading.Event()

    class Stranger(site.Site):
        def get_properties(self, ins):
            asked.set()
            return super().get_properties(ins)

    with monkeypatch.context() as changed:
        changed.setattr(site, "Site", Stranger)
        stranger = Thread(site.take_part, reports[1], tmp_path / "stranger", Link(link.address, token="a guess"))
        assert asked.wait(60)
    for hostile in (
        Hostile(bad),
        Hostile([pickle.dumps(Executed())], "numpy.ndarray"),
        Hostile(lambda tensors: [tensors[0][:-4], *tensors[1:]]),
        Hostile(lambda tensors: [*tensors[:-1], bytes(2**26)]),
        Hostile(lambda tensors: tensors, count=10**9),
        Hostile(lambda tensors: [np.full(len(one) // 4, 3e38, "<f4").tobytes() for one in tensors]),
    ):
        Thread(client.start_client, server_address=link.address, client=hostile, insecure=True)
    honest = Thread(site.take_part, reports[1], tmp_path / "honest", link)
    done = serving.get()
    honest.get()
    assert [(one.sites, one.cases) for one in done.rounds] == [(1, 2)]
    said = " ".join(done.warnings)
    for words in ("not finite", "another network", "another size", "1000000000 cases", "1 of 7 sites did not answer"):
        assert words in said
    assert re.search(r"site \d at 127\.0\.0\.1 was left out \(its update has a length of \d\.\d+e\+40", said)
    assert all(torch.isfinite(tensor).all() and tensor.abs().max() < 10 for tensor in done.weights.values())
    assert "does not know the token was turned away" in said
    with pytest.raises(ResourceError, match="it has another token"):
        stranger.get()
    assert holds_nothing(tmp_path / "stranger")


def test_a_site_that_goes_too_far_is_named_and_the_others_are_averaged(reports):
    rule = recipe(reports[0])
    torch.manual_seed(0)
    network = rule.network([(1, 2)])[0]
    layout = Layout.of(network)
    first = {name: network.state_dict()[name].clone() for name in layout.shapes}
    held = state.State(first)
    made = averaging.Averaging(
        rule, Link("127.0.0.1:1"), state.Terms(rounds=3), layout, held, lambda _: 0.5, list, lambda *_: None, bool
    )
    sites = [types.SimpleNamespace(cid=str(n), address=f"10.0.0.{n}") for n in range(3)]
    assert all(made._may(None, one) for one in sites)

    def answers(*steps):
        for one, step, count in zip(sites, steps, (1, 2, 9), strict=True):
            moved = {name: tensor + step for name, tensor in first.items()}
            parameters = common.Parameters(layout.pack(moved), layout.kind)
            yield one, common.FitRes(common.Status(common.Code.OK, ""), parameters, count, {})

    made.aggregate_fit(1, list(answers(0.01, 0.04, 1e30)), [])
    for name, tensor in held.weights.items():
        torch.testing.assert_close(tensor, first[name] + 0.03)
    (warning,) = held.warnings
    assert warning.startswith("Round 1: site 3 at 10.0.0.2 was left out (its update has a length of ")


def test_a_stopped_server_goes_on_and_tls_protects_the_way(reports, tmp_path):
    service = pytest.importorskip("DeepSegLogic.service.certificate")
    certificate, key = service.own_certificate(tmp_path / "tls")
    address = free_address().replace("127.0.0.1", "localhost")
    link, rule, terms = Link(address, certificate, key), recipe(reports[0]), state.Terms(rounds=2, sites=1, steps=1)
    calls: list[str] = []

    def after_a_round():
        return any("round 1 of 2, 1 site," in words for words in calls)

    def told(stage, fraction, words):
        calls.append(words)

    taking = Thread(site.take_part, reports[1], tmp_path / "site", Link(address, certificate))
    plain = Thread(site.take_part, reports[1], tmp_path / "plain", Link(address))
    other, waits = service.own_certificate(tmp_path / "other")[0], []
    told_of = {"progress": lambda *told: waits.append(told[2])}
    wary = Thread(site.take_part, reports[1], tmp_path / "wary", Link(address, other), **told_of)
    with pytest.raises(Cancelled):
        Thread(server.serve, rule, tmp_path / "server", link, terms, told, after_a_round).get()
    before = torch.load(tmp_path / "server.training" / state.CHECKPOINT, weights_only=True)
    assert [one["number"] for one in before["rounds"]] == [1] and not (tmp_path / "server" / "card.json").exists()
    done = Thread(server.serve, rule, tmp_path / "server", link, terms).get()
    assert [one.number for one in done.rounds] == [1, 2]
    assert taking.get().startswith("2 rounds sent") or taking.get().startswith("3 rounds sent")
    assert plain.is_alive() and holds_nothing(tmp_path / "plain"), "a site without TLS is not heard"
    assert wary.is_alive() and holds_nothing(tmp_path / "wary")
    assert f"waiting for {address} (its certificate is not trusted)" in waits
    with pytest.raises(InputError, match="another data set or plan"):
        server.serve(rule, tmp_path / "server", link, state.Terms(rounds=2, proximal=1.0))


def test_a_stopped_site_joins_again(reports, tmp_path):
    link, rule, terms = Link(free_address()), recipe(reports[0]), state.Terms(rounds=3, sites=1, steps=2)
    serving, steps = Thread(server.serve, rule, tmp_path / "server", link, terms), []

    def told(stage, fraction, words):
        steps.append("round 2 of 3: step 1" in words)

    with pytest.raises(Cancelled):
        site.take_part(reports[1], tmp_path / "site", link, progress=told, cancel=lambda: any(steps))
    assert holds_no_model(tmp_path / "site")
    assert site.take_part(reports[1], tmp_path / "site", link).startswith("2 rounds sent")
    assert [(one.number, one.sites) for one in serving.get().rounds] == [(1, 1), (3, 1)]
    assert find_model(tmp_path / "site").provenance["federated"]["rounds"] == 3


def test_a_slow_site_is_left_out(reports, tmp_path):
    class Slow(client.Client):
        def fit(self, ins):
            done.wait(120)
            return common.FitRes(common.Status(common.Code.OK, ""), ins.parameters, 1, {})

    done, link, rule = threading.Event(), Link(free_address()), recipe(reports[0])
    terms = state.Terms(rounds=1, sites=2, steps=1, minutes=0.25)
    serving = Thread(server.serve, rule, tmp_path / "server", link, terms)
    wait_for(link.address)
    Thread(client.start_client, server_address=link.address, client=Slow(), insecure=True)
    site.take_part(reports[1], tmp_path / "site", link)
    found = serving.get()
    done.set()
    assert [(one.sites, one.cases) for one in found.rounds] == [(1, 2)]
    assert found.warnings == ["Round 1: 1 of 2 sites did not answer."]


def test_a_site_refuses_what_it_cannot_do(reports, tmp_path):
    def asked(**changes):
        made = site.Site(
            reports[0],
            tmp_path / "out",
            Link("127.0.0.1:1"),
            site.Ledger(tmp_path / "sent.json"),
            None,
            torch.device("cpu"),
            0,
        )
        plan = dataclasses.replace(recipe(reports[0]).plan, **changes)
        task = site.Task(plan, "dice-ce", 1, 1, 1, 1e-3, 0.0)
        return made.fit(common.FitIns(common.Parameters([], "x"), task.to_config()))

    for changes, words in (
        ({"modality": "MR"}, "cases are CT, not MR"),
        ({"structures": ("brain",)}, "without brain"),
        ({"structures": ("liver", "spleen")}, "weights of another network"),
    ):
        with pytest.raises(DeepSegError, match=words):
            asked(**changes)
    assert TOKEN_VARIABLE.startswith("DEEPSEG_")
    assert not (tmp_path / "sent.json").exists()
