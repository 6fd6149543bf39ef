"""Asks a language model, and reads its answer piece by piece: bounded in length and time, from that host only."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

from ..util.errors import DeepSegError, ModelError, ResourceError, UsageError
from ..util.progress import Cancel, Progress, check
from .endpoint import TOKEN_VARIABLE, Endpoint

if TYPE_CHECKING:
    from requests import Response

MOST_TOKENS = 2000
MOST_CHARACTERS = 12_000
TIMEOUT_S = 600.0
_CONNECT_S = 10.0
_MOST_BYTES = 1 << 20  # of one event
_PIECE = 64  # bytes; without chunks they are waited for, and an event is longer
_LOOK_S = 0.2


@dataclass(frozen=True)
class Answer:
    """What a language model wrote.

    Attributes:
        text: of it.
        whole: whether it came to an end by itself.
        model: name that the server gives it.
    """

    text: str
    whole: bool
    model: str


Heard: TypeAlias = str | Answer | Exception
"""A piece of the text; then the answer, or why there is none."""


def ask(endpoint: Endpoint, messages: list[dict[str, Any]], progress: Progress, cancel: Cancel) -> Answer:
    """Send messages, and wait for the answer.

    Raises:
        ResourceError: nobody answers there, or not in time.
        ModelError: the server refuses, or its answer is no chat.
        UsageError: it wants a token, or points to another address, to which nothing was sent.
        Cancelled: ``cancel`` returned True.
    """
    heard: SimpleQueue[Heard] = SimpleQueue()
    stop = threading.Event()
    thread = threading.Thread(target=_listen, args=(endpoint, messages, heard, stop), name="deepseg-draft", daemon=True)
    thread.start()
    end, length = time.monotonic() + TIMEOUT_S, 0
    try:
        while True:
            check(cancel)
            progress("draft", min(0.99, length / MOST_CHARACTERS), endpoint.model)
            if time.monotonic() > end:
                raise ResourceError(
                    f"{endpoint.model} at {endpoint.url} did not finish within {TIMEOUT_S / 60:.0f} minutes.",
                    "Use a smaller model, or a faster computer.",
                    code="resource.draft_timeout",
                )
            try:
                piece = heard.get(timeout=_LOOK_S)
            except Empty:
                continue
            if isinstance(piece, Answer):
                return piece
            if isinstance(piece, Exception):
                raise piece
            length += len(piece)
    finally:
        stop.set()


def _listen(
    endpoint: Endpoint,
    messages: list[dict[str, Any]],
    heard: SimpleQueue[Heard],
    stop: threading.Event,
) -> None:
    """In a thread, since a socket that says nothing cannot be interrupted otherwise."""
    import requests

    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy, no .netrc: what is sent goes to this address only
            with session.post(
                f"{endpoint.url}/chat/completions",
                json={
                    "model": endpoint.model,
                    "messages": messages,
                    "temperature": 0,
                    "max_tokens": MOST_TOKENS,
                    "stream": True,
                },
                headers={"Authorization": f"Bearer {endpoint.token}"} if endpoint.token else {},
                stream=True,
                allow_redirects=False,
                timeout=(_CONNECT_S, TIMEOUT_S),
            ) as response:
                _check_status(endpoint, response)
                heard.put(_answer(endpoint, response, heard, stop))
    except requests.exceptions.RequestException as error:
        heard.put(
            ResourceError(
                f"No language model answers at {endpoint.url} ({type(error).__name__}).",
                "Start it, or correct its address.",
                code="resource.draft",
            )
        )
    except Exception as error:  # of any kind: who waits must learn of it
        heard.put(error if isinstance(error, DeepSegError) else _no_chat(endpoint))


def _answer(endpoint: Endpoint, response: Response, heard: SimpleQueue[Heard], stop: threading.Event) -> Answer:
    text, model, ended = "", endpoint.model, False
    for event in _events(endpoint, response, stop):
        choice = event["choices"][0] if event.get("choices") else {}
        piece = (choice.get("delta") or choice.get("message") or {}).get("content") or ""
        text = text + piece  # a TypeError for what is no text
        heard.put(piece)
        model = str(event.get("model") or model)
        ended = choice.get("finish_reason") == "stop"
        if choice.get("finish_reason") or len(text) > MOST_CHARACTERS:
            break
    if re.match(r"/|[A-Za-z]:", model):  # llama.cpp names a file by its whole path
        model = re.split(r"[/\\]", model)[-1]
    return Answer(text[:MOST_CHARACTERS], ended, "".join(c for c in model[:200] if c.isprintable()))


def _events(endpoint: Endpoint, response: Response, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """The events of a stream; or the one answer of a server that does not stream."""
    streams = not response.headers.get("Content-Type", "").startswith("application/json")
    rest = b""
    for piece in response.iter_content(_PIECE):
        *lines, rest = (rest + piece).split(b"\n") if streams else (rest + piece,)
        if stop.is_set():
            return
        for line in lines:
            if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
                yield _parsed(endpoint, line[5:])
        if len(rest) > _MOST_BYTES:
            raise _no_chat(endpoint)
    if not streams:
        yield _parsed(endpoint, rest)


def _parsed(endpoint: Endpoint, content: bytes) -> dict[str, Any]:
    event = json.loads(content)
    if "error" in event:
        raise _refused(endpoint, content.decode("utf-8", "replace"))
    if not isinstance(event["choices"], list):
        raise _no_chat(endpoint)
    found: dict[str, Any] = event
    return found


def _check_status(endpoint: Endpoint, response: Response) -> None:
    status = response.status_code
    if 300 <= status < 400:
        raise UsageError(
            f"{endpoint.url} points to another address. Nothing was sent there.",
            "Check the address, or set up the other one.",
            code="usage.url",
        )
    if status in (401, 403):
        raise UsageError(
            f"{endpoint.url} wants a token.",
            f"Set the environment variable {TOKEN_VARIABLE}.",
            code="usage.token",
        )
    if status != 200:
        raise _refused(endpoint, next(response.iter_content(1 << 12), b"").decode("utf-8", "replace"), status)


def _refused(endpoint: Endpoint, told: object, status: int = 200) -> ModelError:
    """What a server said, in at most 200 characters."""
    said = re.sub(r"[^\w .,:;'()/-]+", " ", re.sub(r'.*"message"\s*:\s*"', "", str(told), flags=re.S))
    said = " ".join(said.split())[:200]
    return ModelError(
        f"The language model {endpoint.model} at {endpoint.url} refuses ({status}: {said}).",
        "Check the name of the model, and whether it takes pictures.",
        code="model.draft",
    )


def _no_chat(endpoint: Endpoint) -> ModelError:
    return ModelError(
        f"What answers at {endpoint.url} is no language model with OpenAI's chat interface.",
        "Check the address; most end with /v1.",
        code="model.draft",
    )
