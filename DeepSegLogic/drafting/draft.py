"""Words a report's findings: the table in, a checked and marked draft out."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from ..results.draft import Draft
from ..util.errors import ModelError
from ..util.progress import Cancel, Progress, ignore_progress, never_cancel
from .chat import ask
from .check import checked, not_in
from .endpoint import Endpoint
from .table import Table

ORDERS = (
    "You word the findings of a CT report from a table of measurements. Write short English sentences without "
    "headings. Name each structure as the table does, and put its numbers after its name, unchanged and with their "
    "units. Use only what is in the table: no other structure, number, finding, diagnosis or advice. If the table says "
    "'at least', say so. Say last what the table asks to check."
)
_SEEN = "The picture shows key slices with the structures outlined. Take no number and no finding from it."
_THOUGHT = re.compile(r"<think>.*?(?:</think>|$)", re.S)


def word(
    table: Table,
    endpoint: Endpoint,
    picture: bytes | None = None,
    progress: Progress = ignore_progress,
    cancel: Cancel = never_cancel,
) -> Draft:
    """Let a language model word a table, and strike out what is not in it.

    Args:
        table: from :func:`table_of`; nothing else is sent, and the picture.
        endpoint: where the model runs.
        picture: PNG of key slices, for ``endpoint.pictures``.

    Raises:
        DeepSegError: see :func:`~DeepSegLogic.drafting.chat.ask`; ``"model.draft_empty"``: the model wrote nothing
            about the table, such as that it does not want to.
        Cancelled: ``cancel`` returned True.
    """
    asked = "\n".join(["Table of measurements:", *table.lines])
    content: Any = asked
    if picture is not None:
        image = {"url": f"data:image/png;base64,{base64.b64encode(picture).decode('ascii')}"}
        content = [{"type": "text", "text": f"{asked}\n\n{_SEEN}"}, {"type": "image_url", "image_url": image}]
    messages = [{"role": "system", "content": ORDERS}, {"role": "user", "content": content}]
    answer = ask(endpoint, messages, progress, cancel)
    text, notes = _tidy(answer.text), list(table.notes)
    if not answer.whole:
        text = text[: max(text.rfind(". "), text.rfind(".\n"), 0) + 1]
        notes.append("The model did not come to an end; the draft stops at its last whole sentence.")
    found = checked(text, table)
    if not found.says_something:
        said = " ".join(_tidy(answer.text).split())
        raise ModelError(
            f"{answer.model} wrote nothing about this result that holds: “{said[:120]}{'…' if said[120:] else ''}”",
            "Try again, or choose another model.",
            code="model.draft_empty",
        )
    if found.struck:
        notes.append(f"Struck out, since the table does not have it: {len(found.struck)} of the model's statements.")
    return Draft(
        found.text,
        answer.model,
        endpoint.url,
        f"{ORDERS}\n\n{asked}" + (f"\n\n{_SEEN}" if picture is not None else ""),
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
        picture is not None,
        tuple(notes),
    )


def edited(draft: Draft, text: str, table: Table) -> Draft:
    """A draft that a person changed: their words stay, and what the table does not have is listed."""
    text = _tidy(text)
    return draft if text == draft.text else replace(draft, text=text, edited=True, unknown=not_in(text, table))


def _tidy(text: str) -> str:
    """Without thoughts, and without characters that hide or turn others."""
    text = _THOUGHT.sub("", text).replace("\r\n", "\n").replace("\t", " ")
    return "".join(c for c in text if c == "\n" or c.isprintable()).strip()
