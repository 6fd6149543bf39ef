"""What travels between a server and its sites, and how much it tells."""

import json
import math
import pickle

import numpy as np
import pytest
import torch
from scipy.stats import norm

from DeepSegLogic.cli import main
from DeepSegLogic.training.federated import flower
from DeepSegLogic.training.federated.bounding import longest_update
from DeepSegLogic.training.federated.exchange import LARGEST, Layout, put_into
from DeepSegLogic.training.federated.flower import Link
from DeepSegLogic.training.federated.privacy import Ledger, Privacy, epsilon
from DeepSegLogic.training.federated.state import Round, State
from DeepSegLogic.training.federated.task import Task
from DeepSegLogic.training.plan_file import plan_from_json, plan_to_json
from DeepSegLogic.training.planning import plan_training
from DeepSegLogic.util.errors import InputError, UsageError

from .phantom import write_raw
from .test_planning import report


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Conv3d(1, 3, 3), torch.nn.BatchNorm3d(3), torch.nn.Conv3d(3, 2, 1))


def task(**changes):
    plan = plan_training(report(), width=8, spacing=(4, 4, 4), patch=(16, 16, 16))
    return Task(**({"plan": plan, "loss": "dice-ce", "number": 1, "rounds": 3, "steps": 2, "rate": 1e-3} | changes))


def test_weights_arrive_as_they_were_sent_and_counters_stay():
    one, other = network(0), network(1)
    other[1].num_batches_tracked += 7
    layout = Layout.of(one)
    put_into(other, layout.unpack(layout.pack(one.state_dict()), layout.kind))
    for name, tensor in one.state_dict().items():
        assert name.endswith("num_batches_tracked") or torch.equal(other.state_dict()[name], tensor)
    assert int(other[1].num_batches_tracked) == 7
    assert layout.size == sum(map(len, layout.pack(one.state_dict())))
    with torch.device("meta"):
        assert Layout.of(network()) == layout


def test_weights_that_do_not_fit_are_refused():
    layout = Layout.of(network())
    good = layout.pack(network().state_dict())
    values = np.frombuffer(good[0], "<f4").copy()
    for wrong in (math.nan, math.inf, -math.inf):
        values[3] = wrong
        with pytest.raises(ValueError, match=r"0\.weight has numbers that are not finite"):
            layout.unpack([values.tobytes(), *good[1:]], layout.kind)
    with pytest.raises(ValueError, match="another size"):
        layout.unpack([good[0] + b"0000", *good[1:]], layout.kind)
    with pytest.raises(ValueError, match="another size"):
        layout.unpack([pickle.dumps(values), *good[1:]], layout.kind)
    renamed = Layout({name + "_": shape for name, shape in layout.shapes.items()})
    for tensors, kind in ((good[1:], layout.kind), (good, "numpy.ndarray"), (good, renamed.kind), ([], layout.kind)):
        with pytest.raises(ValueError, match="another network"):
            layout.unpack(tensors, kind)


def test_a_task_survives_the_way_and_what_is_out_of_bounds_does_not():
    sent = task(proximal=0.1)
    config = json.loads(json.dumps(sent.to_config()))
    assert Task.from_config(config) == sent
    assert Layout.of(sent.network()) == Layout.of(task(proximal=0.0).network())
    plan = json.loads(config["plan"])

    def changed(**parts):
        return {**config, "plan": json.dumps({**plan, **parts})}

    huge = json.loads(json.dumps(plan["architecture"]).replace("[8,", "[8000,"))
    assert huge != plan["architecture"]
    with pytest.raises(ValueError, match="MiB of weights"):
        Task.from_config(changed(architecture=huge)).network()
    for wrong in (
        {},
        {**config, "steps": 10**9},
        {**config, "steps": True},
        {**config, "number": 4},
        {**config, "rate": math.nan},
        {**config, "loss": "__import__"},
        {**config, "more": 1},
        {**config, "plan": 3},
        {**config, "plan": "["},
        {**config, "plan": "[" * 100_000},
        {**config, "plan": " " * 2**21},
        changed(patch=[4096, 4096, 4096]),
        changed(batch=10**6),
        changed(spacing=[0, 1, 1]),
        changed(structures=[]),
        changed(network="os.system"),
        changed(fusion="x"),
        changed(normalization={"scheme": "function"}),
        changed(regions={"values": {"liver": []}, "order": [1]}),
        changed(further=[plan["normalization"]]),
    ):
        with pytest.raises(ValueError, match=r"\S"):
            Task.from_config(wrong)
    for architecture in ({"name": "os.system"}, {"name": "UNet", "arguments": {"x": 1}}, {"network_class_name": "x"}):
        with pytest.raises(ValueError, match=r"\S"):
            Task.from_config(changed(architecture=architecture)).network()
    assert LARGEST < 2**31, "of a message"


def test_a_plan_with_several_images_and_regions_survives_json():
    from DeepSegLogic.training.regions import Regions

    facts = report()
    facts.regions = Regions({"liver": (1, 2), "spleen": (2,)}, (1, 2))
    plan = plan_training(facts, width=8)
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan


def test_updates_are_clipped_and_noised():
    before = {"a": torch.zeros(4, 5), "b": torch.ones(3)}
    after = {"a": torch.full((4, 5), 3.0), "b": torch.ones(3) + 4.0}
    length = math.sqrt(20 * 9 + 3 * 16)
    clipped = Privacy(1.0, 0.0).applied(before, after)
    torch.testing.assert_close(clipped["a"], after["a"] / length)
    torch.testing.assert_close(clipped["b"] - 1, torch.full((3,), 4.0) / length)
    short = Privacy(100.0, 0.0).applied(before, after)
    torch.testing.assert_close(short["a"], after["a"])
    broken = Privacy(1.0, 0.0).applied(before, after | {"b": torch.tensor([math.nan, math.inf, 5.0])})
    assert all(torch.isfinite(sent).all() for sent in broken.values())
    length = math.sqrt(sum(float((broken[name] - before[name]).square().sum()) for name in before))
    assert length == pytest.approx(1.0), "what is no number opens no way around the clipping"
    large = {"a": torch.zeros(200_000)}
    torch.manual_seed(0)
    one = Privacy(0.5, 3.0).applied(large, large)["a"]
    torch.manual_seed(0)
    assert not torch.equal(one, Privacy(0.5, 3.0).applied(large, large)["a"]), "not of a seed that others know"
    assert abs(float(one.std()) - 1.5) < 0.02 and abs(float(one.mean())) < 0.02


def test_noise_leaves_no_variance_below_zero_and_none_is_averaged():
    net = network().eval()
    layout = Layout.of(net)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items() if name in layout.shapes}
    sent = Privacy(1.0, 50.0).applied(before, before)
    assert any((tensor < 0).any() for tensor in sent.values())
    put_into(net, layout.unpack(layout.pack(sent), layout.kind))
    assert torch.isfinite(net(torch.randn(1, 1, 8, 8, 8))).all()
    with pytest.raises(ValueError, match=r"1\.running_var has negative variances"):
        layout.unpack(layout.pack(sent | {"1.running_var": torch.tensor([1.0, -0.1, 1.0])}), layout.kind)


def test_noise_is_added_before_anything_is_rounded():
    """A server may send weights so large that float32 rounds a site's update up: noise must not come after that."""
    before = {"a": torch.full((100_000,), 2.0**24 + 2)}  # between two such numbers lie 2
    after = {"a": before["a"] + 2}
    clip = 1.2 * math.sqrt(len(before["a"]))  # each weight goes 1.2
    sent = Privacy(clip, 0.3 / clip).applied(before, after)["a"] - before["a"]
    expected = norm.sf((1.0 - 1.2) / 0.3)  # of 1.2 plus noise beyond the middle, 1
    assert float((sent == 2).float().mean()) == pytest.approx(expected, abs=0.01)


def test_what_is_out_of_all_proportion_is_not_averaged():
    usual = [5.0, 7.0, 6.0]
    assert longest_update([*usual, 3e38], 24.0) == 65.0
    assert longest_update([*usual, 59.0], 24.0) >= 59.0, "nobody is left out for nine times what others do"
    assert longest_update([0.1, 0.1, 20.0], 24.0) >= 20.0, "nor beside sites that clip what they send"
    assert longest_update([5000.0, 5100.0, 4900.0], 24.0) >= 5100.0, "nor where all add noise"
    assert longest_update([6.0], 24.0) == longest_update([6.0, 3e38], 24.0) == 240.0


def test_a_round_without_weights_is_no_round_to_do_again():
    rounds = [Round(number, 2, 5, 0.5, 0.5) for number in (1, 2, 4)]
    assert (State({}).last, State({}, rounds).last) == (0, 4)


def hockey_stick(ratio, eps):
    """Delta of two normal distributions that are ``ratio`` deviations apart, by integration."""
    x = np.linspace(-40, 40, 400_001)
    return float(np.maximum(norm.pdf(x, ratio) - np.exp(eps) * norm.pdf(x), 0).sum() * (x[1] - x[0]))


@pytest.mark.parametrize(("noise", "rounds"), [(2.0, 1), (8.0, 10), (4.0, 3)])
def test_epsilon_is_that_of_the_integral(noise, rounds):
    found = epsilon(rounds / noise**2)
    assert hockey_stick(2 * math.sqrt(rounds) / noise, found) == pytest.approx(1e-5, rel=1e-2)


def test_epsilon_is_that_of_googles_accountant():
    accounting = pytest.importorskip("dp_accounting", reason="needs dp-accounting (make federated)")
    for noise, rounds in ((2.0, 1), (8.0, 10), (20.0, 50)):
        accountant = accounting.pld.PLDAccountant(value_discretization_interval=1e-3)
        accountant.compose(accounting.GaussianDpEvent(noise / 2), rounds)  # the sensitivity is twice the clip
        assert epsilon(rounds / noise**2) == pytest.approx(accountant.get_epsilon(1e-5), rel=0.01)


def test_epsilon_at_its_ends(tmp_path):
    assert epsilon(0.0) == 0.0 and epsilon(math.inf) == math.inf and epsilon(1e-16) == 0.0
    values = [epsilon(spent) for spent in (1e-4, 1e-2, 1, 100, 1e6)]
    assert values == sorted(values) and values[0] > 0 and math.isfinite(values[3])
    ledger = Ledger(tmp_path / "sent.json")
    for _ in range(10):
        ledger.count(8.0)
    again = Ledger(tmp_path / "sent.json")
    assert again.rounds == 10 and "epsilon 3.34 at delta 1e-05" in again.told()
    again.count(0.0)
    assert "no bound" in Ledger(tmp_path / "sent.json").told()
    for text in ("{", '{"rounds": -1, "spent": "0"}', '{"rounds": 1, "spent": "nan"}', "[]"):
        (tmp_path / "sent.json").write_text(text, "utf-8")
        with pytest.raises(InputError, match="is damaged"):
            Ledger(tmp_path / "sent.json")


def test_nothing_travels_in_the_clear_and_nobody_joins_unasked(tmp_path):
    pem = tmp_path / "x.pem"
    for link, server in (
        (Link("10.0.0.5:80"), True),
        (Link("10.0.0.5:80", pem, pem), True),
        (Link("10.0.0.5:80"), False),
        (Link("10.0.0.5:80", token="secret"), True),
        (Link("127.0.0.1:80", pem), True),
        *((Link(address), False) for address in ("", "host", ":80", "host:", "host:99999", "host:x")),
    ):
        with pytest.raises(UsageError):
            link.check(server)
    Link("127.0.0.1:80").check(True)
    Link("[::1]:80").check(False)
    Link("10.0.0.5:80", token="secret").check(False)
    files = Link("127.0.0.1:80", pem, pem), Link("10.0.0.5:80", pem, token="secret")
    for link in files:
        with pytest.raises(UsageError, match="cannot be read"):
            link.check(link is files[0])
    pem.write_text("no certificate", "utf-8")
    for link in files:
        with pytest.raises(UsageError, match="not a PEM file"):
            link.check(link is files[0])


def test_options_that_do_not_go_together(tmp_path):
    raw = str(write_raw(tmp_path / "raw", 1))
    base = ["train", raw, "-o", str(tmp_path / "x"), "-q"]
    for options in (
        ["--federated", "peer"],
        ["--federated", "client", "--network", "unet"],
        ["--federated", "client", "--steps", "3"],
        ["--federated", "client", "--noise", "1"],
        ["--federated", "server", "--clip", "1"],
        ["--federated", "server", "--folds", "5"],
        ["--federated", "server", "--from", "ct_demo"],
        ["--federated", "server", "--minutes", "5"],
        ["--clip", "1"],
    ):
        assert main([*base, *options]) == 2, options
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("role", ["server", "client"])
def test_without_flower_a_sentence_says_what_to_do(role, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(flower, "find_spec", lambda name: None)
    raw = str(write_raw(tmp_path / "raw", 1))
    assert main(["train", raw, "-o", str(tmp_path / "x"), "--federated", role]) == 6
    said = capsys.readouterr().err
    assert "needs Flower, which is not installed" in said and "[federated]" in said and "Traceback" not in said
    assert not (tmp_path / "x").exists()
