"""The drafted part of a report: marked as a draft, to be corrected in the browser before it is printed."""

from __future__ import annotations

import re
from html import escape

from ..draft import Draft

_STRUCK = re.compile(r"~~([^~]+)~~ \[\?\]")
_HOW = "You can correct the text here. Print the page, or save it in the browser, to keep that."


def draft_section(draft: Draft | None) -> str:
    """HTML of a draft; empty without one."""
    if draft is None:
        return ""
    struck = r'<del title="Not in the table of measurements">\1</del> <sup>[?]</sup>'
    text = _STRUCK.sub(struck, escape(draft.text))
    paragraphs = "".join(f"<p>{line}</p>" for line in text.splitlines() if line.strip())
    notes = [*draft.notes, "Changed by a person."] if draft.edited else list(draft.notes)
    if draft.unknown:
        notes.append(f"Not in the table of measurements: {'; '.join(draft.unknown)}.")
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f'<section class="draft"><h2>Draft of the findings</h2>'
        f'<p class="mark">{escape(draft.mark)}</p>'
        '<div class="text" contenteditable="true" role="textbox" aria-multiline="true" '
        f'aria-label="Draft of the findings">{paragraphs}</div><ul class="faint">{listed}</ul>'
        f'<p class="faint">[?]: struck out, since it is not in the table of measurements. {_HOW}</p></section>'
    )
