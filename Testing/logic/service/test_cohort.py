"""A cohort on servers: cases are shared out; one that is lost stops nothing, and nothing is done twice."""

import csv
import itertools
import threading
import time
from dataclasses import replace

import pytest
import requests
from running_server import ct

from DeepSegLogic.cohort import Settings, find_cases, run_cohort
from DeepSegLogic.io import write_volume
from DeepSegLogic.models.find import find_model
from DeepSegLogic.models.provenance import digest_of
from DeepSegLogic.remote.known import KnownServers
from DeepSegLogic.remote.server import Server
from DeepSegLogic.util.errors import ModelError, ResourceError, UsageError


@pytest.fixture
def cases(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        write_volume(ct(number, (8, 24, 20)), tmp_path / "in" / f"{number}.nii.gz")
    return find_cases([tmp_path / "in"])


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "out", "ct_demo")


@pytest.fixture
def saved(own_home, monkeypatch):
    """Saves servers with the token of a user each; returns their addresses as a cohort takes them."""
    connect = KnownServers.connect

    def impatient(self, url):
        server = connect(self, url)
        server.connection.patience_s = 1.0
        return server

    def save(*servers):
        for server in servers:
            KnownServers().save(server.url, server.fingerprint)
        monkeypatch.setenv("DEEPSEG_TOKEN", " ".join(f"{s.url}={s.tokens['anna']}" for s in servers))
        return ",".join(server.url for server in servers)

    monkeypatch.setattr(KnownServers, "connect", impatient)
    return save


class Run(threading.Thread):
    """A cohort that runs; ``ended`` are the outcomes by name, ``told`` what was told of running cases."""

    def __init__(self, cases, settings, address):
        super().__init__()
        self.ended, self.told, self.stop = {}, [], threading.Event()
        progress = lambda _stage, _fraction, message: self.told.append(message)  # noqa: E731
        options = {"engine": "servers", "scheduler": address, "progress": progress, "cancel": self.stop.is_set}
        self._outcomes = run_cohort(cases, settings, **options)
        self.start()

    def run(self):
        for outcome in self._outcomes:
            assert outcome.case.name not in self.ended
            self.ended[outcome.case.name] = outcome

    def statuses(self):
        self.join(60)
        assert not self.is_alive()
        return {name: outcome.status for name, outcome in sorted(self.ended.items())}


def table(settings):
    with (settings.output / "cohort.csv").open(newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


ALL_DONE = dict.fromkeys("012", "done")


@pytest.mark.parametrize("fault", ["killed", "revoked"])
def test_the_case_of_a_server_that_is_lost_goes_to_another(make_server, cases, settings, saved, fault):
    one, other = make_server(), make_server()
    for server in (one, other):
        server.close_gate()
    run = Run(cases, settings, saved(one, other))
    one.until(lambda: one.starts and other.starts)  # both have a case each
    one.until(lambda: sum(message.count("inference") for message in run.told[-1:]) == 2)
    assert "%" in run.told[-1]
    if fault == "killed":
        one.kill()
    else:
        one.users.revoke("anna")
        one.open_gate()  # the result is there, but not for this token
    other.open_gate()
    assert run.statuses() == ALL_DONE
    assert len(one.starts) == 1 and len(other.starts) == 3
    (moved,) = [outcome for outcome in run.ended.values() if any("moved" in text for text in outcome.warnings)]
    assert f"moved from {one.url} to another server" in (said := table(settings)[moved.case.name]["warnings"])
    assert ("cannot be reached" if fault == "killed" else "token") in said
    assert not [path for path in settings.output.rglob("*") if path.name.startswith(".")]
    if fault == "killed":
        one.start()  # so that it can be stopped
    again = Run(cases, settings, saved(other))
    assert again.statuses() == dict.fromkeys("012", "kept") and len(other.starts) == 3


@pytest.mark.parametrize("when", ["upload", "job"])
def test_the_case_of_a_server_with_a_full_disk_goes_to_another(make_server, cases, settings, saved, when):
    full, other = make_server(**({"reserve": 1 << 60} if when == "upload" else {})), make_server()
    if when == "job":
        (full.folder / "full").touch()
    run = Run(cases, settings, saved(full, other))
    assert run.statuses() == ALL_DONE
    assert len(full.starts) == (when == "job") and len(other.starts) == 3
    (moved,) = [outcome for outcome in run.ended.values() if outcome.warnings[:1] and "moved" in outcome.warnings[0]]
    assert moved.warnings[0].endswith("The server's disk is full.")


def test_if_all_disks_are_full_the_cases_fail_and_say_so(make_server, cases, settings, saved):
    run = Run(cases, settings, saved(make_server(reserve=1 << 60)))
    assert run.statuses() == dict.fromkeys("012", "failed")
    assert {outcome.code for outcome in run.ended.values()} == {"resource.server_disk"}


def test_a_server_whose_model_was_replaced_gets_no_more_cases(make_server, cases, settings, saved):
    replaced, other = make_server(), make_server()
    (replaced.folder / "digest").write_text("sha256:another")
    (other.folder / "digest").write_text(digest_of(find_model("ct_demo")))
    run = Run(cases, settings, saved(replaced, other))
    assert run.statuses() == ALL_DONE
    assert len(replaced.starts) == 1 and len(other.starts) == 3
    (moved,) = [outcome for outcome in run.ended.values() if outcome.warnings[:1] and "moved" in outcome.warnings[0]]
    assert "ct_demo was replaced during the cohort" in moved.warnings[0]

    alone = Run(cases, replace(settings, output=settings.output.with_name("alone")), saved(replaced))
    assert alone.statuses() == dict.fromkeys("012", "failed")
    assert {(outcome.code, bool(outcome.remedy)) for outcome in alone.ended.values()} == {("model.replaced", True)}
    assert not list(settings.output.with_name("alone").rglob("*.seg.nrrd")), "no mixed results"


def test_without_a_server_the_rest_fails_at_once_and_the_next_run_goes_on(make_server, cases, settings, saved):
    server = make_server()
    server.close_gate(after=1)
    run = Run(cases, settings, saved(server))
    server.until(lambda: len(run.ended) == 1 and len(server.starts) == 2)
    server.kill()
    killed = time.monotonic()
    statuses = run.statuses()
    assert time.monotonic() - killed < 15  # not the patience for each
    done = [name for name, status in statuses.items() if status == "done"]
    failed = [outcome for outcome in run.ended.values() if outcome.status == "failed"]
    assert len(done) == 1 and len(failed) == 2
    assert {outcome.code for outcome in failed} == {"resource.server"} and all(o.remedy for o in failed)
    server.open_gate()
    server.start()
    again = Run(cases, settings, saved(server)).statuses()
    assert again == {name: "kept" if name in done else "done" for name in "012"}


def test_a_server_named_twice_gets_two_cases_at_a_time(make_server, cases, settings, saved):
    server = make_server(devices=["cpu", "cpu"])
    server.close_gate()
    address = saved(server)
    run = Run(cases, settings, f"{address},{address}")
    server.until(lambda: len(server.starts) == 2)
    server.open_gate()
    assert run.statuses() == ALL_DONE and len(server.starts) == 3


def test_cancelled_cases_stop_on_the_server_and_leave_nothing(make_server, cases, settings, saved):
    server = make_server()
    server.close_gate()
    run = Run(cases, settings, saved(server))
    server.until(lambda: server.starts)
    run.stop.set()
    assert run.statuses() == dict.fromkeys("012", "cancelled")
    jobs = lambda: requests.get(f"{server.url}/v1/jobs", headers=server.headers()).json()  # noqa: E731
    assert server.until(lambda: [job["state"] for job in jobs()] == ["cancelled"])
    assert sorted(path.name for path in settings.output.iterdir()) == ["cohort.csv", "measurements-partial.csv"]


def test_what_is_refused_before_anything_is_sent(make_server, cases, settings, saved, monkeypatch):
    server = make_server()
    address = saved(server)
    KnownServers().save("http://localhost:9", "")
    for more, error, words in (
        ({"scheduler": f"{address},http://localhost:9"}, UsageError, "no token for http://localhost:9"),
        ({"scheduler": f"{address},http://localhost:8"}, UsageError, "http://localhost:8 is not a saved server"),
        ({"workers": 2}, UsageError, "workers"),
    ):
        with pytest.raises(error, match=words):
            list(run_cohort(cases, settings, **{"engine": "servers", "scheduler": address, **more}))
    monkeypatch.setenv("DEEPSEG_TOKEN", server.tokens["anna"])  # one token for all
    with pytest.raises(ResourceError, match="localhost:9 cannot be reached"):
        list(run_cohort(cases, settings, engine="servers", scheduler=f"{address},http://localhost:9"))
    models, different = Server.models, itertools.count()
    changed = lambda self: [replace(card, digests={"x": str(next(different))}) for card in models(self)]  # noqa: E731
    monkeypatch.setattr(Server, "models", changed)
    with pytest.raises(ModelError, match="different files of the model ct_demo"):
        list(run_cohort(cases, settings, engine="servers", scheduler=f"{address},{address}"))
    assert not server.starts
