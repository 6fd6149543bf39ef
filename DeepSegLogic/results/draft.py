"""The draft of a report in a folder of results: who worded it, from what; it goes into the provenance."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..io.result_files import label_map_in, was_changed
from ..util.atomic_write import atomic_folder
from ..util.digests import file_digest
from ..util.errors import InputError
from .folder import PROVENANCE

DRAFT_FILE = "draft.json"
_MARK = "Draft by a language model ({model}). Read and correct it: nobody has checked or signed it."
_STALE = "The label map was corrected after this draft was written. Its numbers no longer hold."
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Draft:
    """A draft of a report's findings.

    Attributes:
        text: what is not in the table is struck out and marked: ``~~12 ml~~ [?]``.
        model: that worded it.
        endpoint: where it ran.
        prompt: all that it was told, without pictures.
        created: ISO 8601, UTC.
        pictures: whether it saw key slices.
        notes: what is missing in it, and how much was struck out.
        edited: whether a person changed it since.
        unknown: what is in the words of that person, but not in the table.
    """

    text: str
    model: str
    endpoint: str
    prompt: str
    created: str
    pictures: bool = False
    notes: tuple[str, ...] = ()
    edited: bool = False
    unknown: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """What to show above it."""
        return _MARK.format(model=self.model)

    def as_json(self) -> dict[str, Any]:
        """The draft as JSON values."""
        return {**asdict(self), "notes": list(self.notes), "unknown": list(self.unknown)}

    @classmethod
    def of_json(cls, content: Any) -> Draft:
        """The draft of such values.

        Raises:
            ValueError: they are others.
        """
        try:
            draft = cls(**content)
        except TypeError as error:
            raise ValueError(str(error)) from error
        texts = [draft.text, draft.model, draft.endpoint, draft.prompt, draft.created, *draft.notes, *draft.unknown]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a text is missing")
        return cls(**{**content, "notes": tuple(draft.notes), "unknown": tuple(draft.unknown)})


def write_draft(folder: Path, draft: Draft) -> None:
    """Put a draft beside a result, and prompt and model into its provenance.

    Raises:
        InputError: the folder holds no result.
        OutputError: it cannot be written.
    """
    path = folder / PROVENANCE
    try:
        facts = json.loads(path.read_text("utf-8"))
        with atomic_folder(folder, last=PROVENANCE) as temporary:
            made = temporary / DRAFT_FILE
            made.write_text(json.dumps(draft.as_json(), indent=2, ensure_ascii=False) + "\n", "utf-8")
            facts["draft"] = {name: value for name, value in draft.as_json().items() if name != "text"}
            if (labels := label_map_in(folder)) is not None:
                facts["draft"]["files"] = {labels.name: {"digest": file_digest(labels)}}
            facts["files"][DRAFT_FILE] = {"bytes": made.stat().st_size, "digest": file_digest(made)}
            (temporary / PROVENANCE).write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{path} is missing or damaged.", "Choose a folder of results.", code="input.missing"
        ) from error


def read_draft(folder: Path) -> Draft | None:
    """The draft of a result; None if it has none, or only one of an earlier result in that folder. A note says if the
    label map was changed since.

    Raises:
        InputError: it is damaged.
    """
    path = folder / DRAFT_FILE
    try:
        facts = json.loads((folder / PROVENANCE).read_text("utf-8"))
        known = facts.get("files", {}).get(DRAFT_FILE)
        if known is None:
            return None
        if path.stat().st_size > _LARGEST or file_digest(path) != known["digest"]:
            raise ValueError("it was changed")
        draft, labels = Draft.of_json(json.loads(path.read_text("utf-8"))), label_map_in(folder)
        drafted = facts.get("draft") or {}
        stale = labels is not None and was_changed(labels, drafted if "files" in drafted else facts)
        return replace(draft, notes=(_STALE, *draft.notes)) if stale else draft
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}).", "Draft the report again.", code="input.draft") from error
