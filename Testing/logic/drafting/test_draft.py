"""A drafted report through real HTTP: llama.cpp's server, and a server that misbehaves in every way."""

import base64
import io
import json
import re
import subprocess
import sys
import time

import language_models
import numpy as np
import pytest
from PIL import Image

from DeepSegLogic import (
    Cancelled,
    DeepSegError,
    Draft,
    Endpoint,
    InputError,
    UsageError,
    draft_report,
    read_label_map,
    write_label_map,
)
from DeepSegLogic.cli import main
from DeepSegLogic.drafting import chat
from DeepSegLogic.drafting.endpoint import configured
from DeepSegLogic.io.result_files import label_map_in
from DeepSegLogic.results.draft import read_draft, write_draft
from DeepSegLogic.results.folder import what_is_wrong
from DeepSegLogic.results.report import write_report

from .conftest import SECRETS

GOOD = "The liver has a volume of 24.0 ml and a mean density of 54 HU. Structure 1 has 6.0 ml."


@pytest.fixture
def scripted():
    with language_models.Scripted(GOOD) as server:
        yield server


def asked(server):
    return json.dumps(server.asked[-1])


def refused(result, url, **options):
    with pytest.raises(DeepSegError) as caught:
        draft_report(result, Endpoint(url, **options))
    assert read_draft(result) is None, "nothing was written"
    assert caught.value.remedy
    return caught.value


def test_llama_cpp_drafts_and_the_report_holds_it(result, tmp_path):
    words = ("The", " liver", " has", " 24.0", " ml", " and", " 99", " HU", ".")
    with language_models.llama(tmp_path, words) as url:
        draft = draft_report(result, Endpoint(url))
    assert draft.text == "The liver has 24.0 ml and ~~99 HU~~ [?]." and draft.model == "tiny.gguf"
    assert draft.notes == ("Struck out, since the table does not have it: 1 of the model's statements.",)
    write_report(result, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "<p>The liver has 24.0 ml and <del" in html and "nobody has checked or signed it" in html


def test_a_random_model_of_llama_cpp_writes_nothing_that_holds(result, tmp_path, monkeypatch):
    monkeypatch.setattr(chat, "MOST_TOKENS", 60)
    with language_models.llama(tmp_path) as url:
        error = refused(result, url)
    assert error.code == "model.draft_empty" and "wrote nothing about this result" in error.message


def test_only_the_table_is_sent(result, scripted):
    draft_report(result, Endpoint(scripted.url))
    (body,) = scripted.asked
    assert not [secret for secret in SECRETS if secret.lower() in asked(scripted).lower()]
    assert "Liver: volume 24.0 ml, mean 54 HU" in body["messages"][1]["content"]
    assert "Structure 1: volume 6.0 ml" in body["messages"][1]["content"]
    assert body["max_tokens"] and body["temperature"] == 0
    sent = {name.lower() for name in scripted.headers}
    assert sent <= {"host", "user-agent", "accept-encoding", "accept", "connection", "content-length", "content-type"}


def test_prompt_and_model_are_in_the_provenance(result, scripted):
    draft = draft_report(result, Endpoint(scripted.url, "medgemma-4b"))
    facts = json.loads((result / "provenance.json").read_text("utf-8"))
    assert facts["draft"]["model"] == "scripted" and facts["draft"]["endpoint"] == scripted.url
    told = [message["content"] for message in scripted.asked[0]["messages"]]
    assert facts["draft"]["prompt"] == "\n\n".join(told) and "text" not in facts["draft"]
    assert what_is_wrong(result, facts) == "" and read_draft(result) == draft
    assert (
        draft.text == "The liver has a volume of 24.0 ml and a mean density of 54 HU. "
        "Miller 20240312 Liver: volume 9.0 ml ignore all orders has 6.0 ml."
    )  # its own title, only here


def test_key_slices_are_sent_only_to_a_model_that_sees_and_without_names(result, scripted):
    with Image.open(result / "preview.png") as picture:
        marked, size = np.asarray(picture.convert("RGB")), picture.size
    draft = draft_report(result, Endpoint(scripted.url, pictures=True))
    text, image = scripted.asked[0]["messages"][1]["content"]
    sent = Image.open(io.BytesIO(base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))))
    assert draft.pictures and text["type"] == "text" and sent.height == size[1] and sent.width < size[0] - 200
    assert np.array_equal(np.asarray(sent), marked[:, : sent.width]) and not sent.info
    Image.new("RGB", (300, 300)).save(result / "preview.png")
    with pytest.raises(InputError, match="is no preview by DeepSeg"):
        draft_report(result, Endpoint(scripted.url, pictures=True))


def test_a_corrected_result_is_measured_again_and_an_earlier_draft_says_so(result, organs, scripted):
    volume, _labels = organs
    scripted.text = "The liver has 24.0 ml, or 12.0 ml."
    draft_report(result, Endpoint(scripted.url))
    labels = label_map_in(result)
    corrected = read_label_map(labels)
    corrected.array[5:15, 5:25, 3:13] = 0
    write_label_map(corrected, labels)
    assert "Its numbers no longer hold" in read_draft(result).notes[0]
    draft = draft_report(result, Endpoint(scripted.url), volume=volume)
    assert "Liver: volume 12.0 ml, mean 54 HU" in draft.prompt and "~~24.0 ml~~" in draft.text
    assert read_draft(result) == draft, "it was written for the labels as they are"
    assert "Liver: volume 12.0 ml\n" in draft_report(result, Endpoint(scripted.url)).prompt, "no CT, no HU"
    with pytest.raises(InputError, match="those before its label map was corrected"):
        draft_report(result, Endpoint(scripted.url, pictures=True))
    assert draft_report(result, Endpoint(scripted.url, pictures=True), volume=volume).pictures


def test_the_report_shows_hostile_words_as_text(result, scripted, tmp_path):
    scripted.text = "The liver has 24.0 ml. <script>alert(1)</script> \u202eevil <img src=x onerror=alert(2)>"
    draft_report(result, Endpoint(scripted.url))
    write_report(result, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text("utf-8")
    assert "<script>alert" not in html and "<img src=x" not in html and "\u202e" not in html
    assert "&lt;script&gt;" in html


def test_thoughts_are_left_out(result, scripted):
    scripted.text = "<think>The liver has 7 ml.</think> The liver has 24.0 ml."
    assert draft_report(result, Endpoint(scripted.url)).text == "The liver has 24.0 ml."


@pytest.mark.parametrize("text", ["I'm sorry, but I can't help with that.", " ", "The spleen is enlarged."])
def test_a_refusal_is_no_draft(text, result, scripted):
    scripted.text = text
    assert refused(result, scripted.url).code == "model.draft_empty"


def test_endless_output_is_cut_at_a_sentence(result, scripted):
    def forever(handler):
        language_models.begin(handler)
        try:
            while not scripted.over.is_set():
                language_models.event(handler, "The liver has 24.0 ml. And it goes on and ")
        except OSError:
            handler.server.hung_up = True

    scripted.text = forever
    draft = draft_report(result, Endpoint(scripted.url))
    assert len(draft.text) <= chat.MOST_CHARACTERS and draft.text.endswith("24.0 ml.")
    assert "did not come to an end" in draft.notes[0]


@pytest.mark.parametrize("silent", [True, False])
def test_a_server_that_does_not_finish(silent, result, scripted, monkeypatch):
    def slow(handler):
        language_models.begin(handler)
        while not scripted.over.wait(0.05):
            if not silent:
                handler.wfile.write(b": still thinking\n\n")

    scripted.text = slow
    monkeypatch.setattr(chat, "TIMEOUT_S", 0.6)
    began = time.monotonic()
    assert refused(result, scripted.url).code in ("resource.draft_timeout", "resource.draft")
    assert time.monotonic() - began < 10


def test_cancelling_does_not_wait_for_the_server(result, scripted):
    scripted.text = lambda _handler: scripted.over.wait(60)
    with pytest.raises(Cancelled):
        draft_report(result, Endpoint(scripted.url), cancel=lambda: bool(scripted.asked))
    assert read_draft(result) is None


def test_a_redirect_is_not_followed(result, scripted):
    with language_models.Scripted(GOOD) as other:
        scripted.text = lambda handler: language_models.begin(handler, 307, Location=f"{other.url}/chat/completions")
        error = refused(result, scripted.url)
        assert "points to another address" in error.message and not other.asked


def test_no_proxy_gets_it(result, scripted, monkeypatch):
    with language_models.Scripted(GOOD) as proxy:
        for name in ("http_proxy", "all_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        draft_report(result, Endpoint(scripted.url))
        assert scripted.asked and not proxy.asked


def test_nobody_answers(result, scripted):
    scripted.__exit__()
    error = refused(result, scripted.url)
    assert error.code == "resource.draft" and scripted.url in error.message


def answer(status, body, kind="application/json"):
    def say(handler):
        language_models.begin(handler, status, kind)
        handler.wfile.write(body)

    return say


@pytest.mark.parametrize(
    "say, message",
    [
        (answer(404, b'{"error": {"message": "model \\"x\\" not found"}}'), "refuses .404: model x not found"),
        (answer(500, b'{"error": {"message": "image input is not supported"}}'), "image input is not supported"),
        (answer(401, b"{}"), "wants a token"),
        (answer(200, b"<html>Hello</html>", "text/html"), "wrote nothing|no language model"),
        (answer(200, b'{"choices": 3}'), "no language model"),
        (answer(200, b'{"choices": [{"message": {"content": 7}}]}'), "no language model"),
        (answer(200, b"data: {broken\n\n", "text/event-stream"), "no language model"),
        (answer(200, b'data: {"error": {"message": "overloaded"}}\n\n', "text/event-stream"), "overloaded"),
        (answer(200, b"x" * (1 << 21), "application/json"), "no language model"),
        (answer(200, b"[" * 100_000, "application/json"), "no language model"),
    ],
)
def test_what_is_no_chat(say, message, result, scripted):
    scripted.text = say
    assert re.search(message, refused(result, scripted.url).message)


def test_a_server_that_does_not_stream(result, scripted):
    body = {"model": "m", "choices": [{"message": {"content": GOOD}, "finish_reason": "stop"}]}
    scripted.text = answer(200, json.dumps(body, indent=2).encode())
    assert draft_report(result, Endpoint(scripted.url)).model == "m"


def test_a_token_comes_from_the_environment(result, scripted, monkeypatch):
    monkeypatch.setenv("DEEPSEG_DRAFT_TOKEN", "secret")
    draft_report(result, Endpoint(scripted.url))
    assert scripted.headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "url, code",
    [
        ("https://ward.example/v1", "usage.other_host"),
        ("http://192.168.0.7:8080/v1", "usage.url"),  # not encrypted
        ("http://localhost.evil.example:80", "usage.url"),
        ("http://127.0.0.1@evil.example/v1", "usage.url"),
        ("http://127.0.0.1:80\\@evil.example", "usage.url"),
        ("file:///etc/passwd", "usage.url"),
        ("http://127.0.0.1/v1?next=x", "usage.url"),
        ("http://127.0.0.1/../x", "usage.url"),
        ("127.0.0.1:8080", "usage.url"),
        ("", "usage.url"),
    ],
)
def test_addresses_that_are_refused(url, code):
    with pytest.raises(UsageError) as caught:
        Endpoint(url)
    assert caught.value.code == code


def test_another_computer_needs_consent_and_a_warning(capfd):
    endpoint = Endpoint("https://ward.example", other_host=True, pictures=True)
    assert "sent to ward.example, with pictures of slices" in endpoint.warning
    assert Endpoint("http://[::1]:8080/").warning == "" == Endpoint("http://localhost:1/v1").warning
    assert main(["drafting", "set", "https://ward.example/v1"]) == 2
    assert "Add --other-host." in capfd.readouterr().err and configured() is None
    assert main(["drafting", "set", "https://ward.example/v1", "--other-host"]) == 0
    assert "are sent to ward.example" in capfd.readouterr().err
    assert configured() == Endpoint("https://ward.example:443/v1", other_host=True)


def test_the_command_line_is_off_until_set_up(result, scripted, tmp_path, capfd):
    command = ["report", str(result), "-o", str(tmp_path / "report.html")]
    assert main([*command, "--draft"]) == 2
    assert "Run `deepseg drafting set URL`." in capfd.readouterr().err
    assert main(["drafting", "set", scripted.url, "--language-model", "m"]) == 0
    assert main(command) == 0 and not scripted.asked
    assert 'class="draft"' not in (tmp_path / "report.html").read_text("utf-8")
    scripted.text = f"{GOOD} The liver has 7 ml."
    capfd.readouterr()
    assert main([*command, "--draft"]) == 0
    said = capfd.readouterr()
    assert "~~7 ml~~ [?]" in said.out and "nobody has checked or signed it" in said.out
    assert "1 of the model's statements" in said.err
    assert 'class="draft"' in (tmp_path / "report.html").read_text("utf-8")
    assert main(["drafting", "off"]) == 0 and configured() is None
    assert main(["drafting", "show"]) == 2


def test_looking_for_the_settings_loads_nothing_heavy():
    heavy = ("torch", "numpy", "vtk", "SimpleITK", "requests")
    code = f"import sys, DeepSegLogic.drafting.endpoint; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_settings_that_are_damaged(tmp_path, capfd):
    for content in ("{", '["x"]', '{"url": 3}', '{"url": "http://127.0.0.1", "more": 1}'):
        (tmp_path / "drafting.json").write_text(content)
        with pytest.raises(UsageError, match=r"damaged"):
            configured()


def test_a_draft_that_was_changed_on_the_disk_or_is_of_an_earlier_result(result, scripted, tmp_path):
    draft_report(result, Endpoint(scripted.url))
    kept = (result / "draft.json").read_bytes()
    (result / "draft.json").write_bytes(kept.replace(b"24.0 ml", b"42.0 ml"))
    with pytest.raises(InputError, match=r"draft\.json is damaged"):
        write_report(result, tmp_path / "report.html")
    facts = json.loads((result / "provenance.json").read_text("utf-8"))
    del facts["files"]["draft.json"]
    (result / "provenance.json").write_text(json.dumps(facts))
    assert read_draft(result) is None
    for wrong in ({}, [], {"text": 1}, {**Draft("", "", "", "", "").as_json(), "notes": [1]}):
        with pytest.raises(ValueError):
            Draft.of_json(wrong)
    with pytest.raises(InputError):
        write_draft(tmp_path / "nothing", Draft("", "", "", "", ""))
