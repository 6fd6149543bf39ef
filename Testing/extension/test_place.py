"""Runs on a server, chosen at the panel: a real server process with the real model, on the loopback address."""

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra server")

from running_server import Running

from DeepSegLogic.remote import known
from DeepSegLogic.remote.known import WHAT_LEAVES, KnownServers
from DeepSegLogic.session import Phase

from .conftest import MODULE, User


@pytest.fixture(autouse=True)
def servers(tmp_path, monkeypatch):
    """The test's own list of saved servers, and no token."""
    monkeypatch.setattr(known, "_default_path", lambda: tmp_path / "servers.json")
    monkeypatch.setattr(known, "_key_store", lambda: None)
    monkeypatch.delenv("DEEPSEG_TOKEN", raising=False)


@pytest.fixture
def server(tmp_path):
    running = Running(tmp_path, "DeepSegLogic.service.handlers")
    KnownServers().save(running.url, running.fingerprint)
    yield running
    running.stop()


def kept(server):
    """The volumes that were sent to the server."""
    return list((server.folder / "server").rglob("header.json"))


def choose(user, title):
    """Open the section, choose a line of the list, and wait."""
    ui = user.ui
    ui.advancedCollapsibleButton.collapsed = True
    ui.advancedCollapsibleButton.collapsed = False
    ui.placeComboBox.currentText = title
    user.wait(lambda: not user.session.jobs.run.busy)


def questions(desktop):
    return [message.text for message in desktop.messages if message.text.startswith("Run on ")]


def test_the_same_voxels_from_the_server(ready, desktop, server, monkeypatch):
    ui, session = ready.ui, ready.session
    session.choices.choose_structures(["lung_left", "liver"])
    session.choices.set_quality("draft")
    ready.run()
    here = session.outcome.result
    assert ui.placeComboBox.currentText == "This computer" and not kept(server)

    monkeypatch.setenv("DEEPSEG_TOKEN", server.tokens["anna"])
    desktop.answers["Run on "] = True
    choose(ready, server.url)
    assert ui.placeComboBox.currentText == session.choices.place.url == server.url
    assert questions(desktop) == [f"Run on {server.url}?\n{WHAT_LEAVES.format(url=server.url)}"]
    assert not ui.deviceComboBox.enabled
    assert session.choices.model.id == "ct_demo" and set(session.choices.structures.chosen) == {"lung_left", "liver"}
    assert not kept(server), "nothing is sent before a run"
    ready.run()
    assert session.outcome.result is not here and kept(server)
    np.testing.assert_array_equal(session.outcome.result.label_map.array, here.label_map.array)
    assert ready.shown("lung_left").any()

    choose(ready, "This computer")
    assert session.choices.place.url == "" and ui.deviceComboBox.enabled
    choose(ready, server.url)
    assert session.choices.place.url == server.url and len(questions(desktop)) == 1, "it is asked once"


def test_a_choice_that_is_refused_leaves_everything(ready, desktop, server, monkeypatch):
    ui, session = ready.ui, ready.session
    session.choices.choose_structures(["liver"])
    before = session.choices.model, session.choices.models, session.choices.structures.chosen

    def unchanged():
        choices = session.choices
        assert choices.place.url == "" and session._client.server is None
        assert (choices.model, choices.models, choices.structures.chosen) == before
        assert ui.placeComboBox.currentText == "This computer" and ui.placeComboBox.enabled
        assert ui.segmentButton.enabled and not kept(server)

    desktop.answers["Run on "] = False
    choose(ready, server.url)
    unchanged()

    desktop.answers["Run on "] = True
    choose(ready, server.url)
    assert "There is no token for" in desktop.messages[-1].text and "command line" in desktop.messages[-1].text
    desktop.errors.clear()  # Slicer prints it, too
    unchanged()

    monkeypatch.setenv("DEEPSEG_TOKEN", "wrong")
    choose(ready, server.url)
    assert session.jobs.run.phase is Phase.FAILED and "with its token" in ui.statusLabel.text
    unchanged()

    monkeypatch.setenv("DEEPSEG_TOKEN", server.tokens["anna"])
    server.stop()
    choose(ready, server.url)
    assert "cannot be reached" in ui.statusLabel.text and "under Advanced" in ui.statusLabel.text
    unchanged()
    ui.placeComboBox.currentText = server.url
    assert session.jobs.run.busy and not ui.placeComboBox.enabled
    ui.segmentButton.click()  # Cancel
    ready.wait(lambda: not session.jobs.run.busy)
    assert session.jobs.run.phase is Phase.CANCELLED
    unchanged()


def test_a_server_saved_later_is_listed(user):
    box = user.ui.placeComboBox
    assert [box.itemText(n) for n in range(box.count)] == ["This computer"]
    KnownServers().save("http://127.0.0.1:8766", "")
    user.ui.advancedCollapsibleButton.collapsed = False
    assert [box.itemText(n) for n in range(box.count)] == ["This computer", "http://127.0.0.1:8766"]
    assert user.session.choices.place.url == "" and user.desktop.messages == []


def test_a_damaged_list_is_told(user, desktop, tmp_path):
    (tmp_path / "servers.json").write_text("{")
    user.ui.advancedCollapsibleButton.collapsed = False
    assert "is damaged" in desktop.messages[-1].text and user.ui.placeComboBox.count == 1
    desktop.unload_module("DeepSeg")
    assert User(desktop, desktop.load_module(MODULE)).ui.placeComboBox.count == 1, "the panel comes up all the same"
