"""Checks what a language model wrote against the table that it was given.

Each number must be in a line of the table about the structure that the text names before it. A sentence must not name
another structure, or something like a lesion that the table does not know of. What fails is struck out and marked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from ..data.terminology import known_titles
from .numbers import Number, Span, numbers_in
from .table import Table
from .words import COMMON, GREW, SAME, SHRANK, STATED

STRUCK, MARK = "~~", "[?]"
"""A text that was struck out is written as ``~~12 ml~~ [?]``."""

_SENTENCE = re.compile(r"(?m:^\s*(?:\d{1,2}[.)]|[-*•])\s)?(?P<text>[^\n]+?)(?:(?<=[.!?;])(?=\s)|(?=\n)|$)")
_PAIR = re.compile(r"(?<!\w)(left|right) and (left|right) ([a-z]+)", re.I)


@dataclass(frozen=True)
class Checked:
    """A text after the check.

    Attributes:
        text: with the structures' own titles; what is not in the table is struck out and marked.
        struck: what was, in its order.
        says_something: whether a sentence about a structure of the table is left.
    """

    text: str
    struck: tuple[str, ...]
    says_something: bool


def checked(text: str, table: Table) -> Checked:
    """Strike out of a text what is not in the table.

    Example:
        >>> from DeepSegLogic.drafting.check import checked
        >>> from DeepSegLogic.drafting.table import Table
        >>> table = Table(("Liver: volume 1503.4 ml",), {"Liver": "Liver"})
        >>> checked("The liver has 1503 ml. It has 1305 ml. There is a cyst.", table).text
        'The liver has 1503 ml. It has ~~1305 ml~~ [?]. ~~There is a cyst.~~ [?]'
    """
    text = text.replace(STRUCK, "").replace(MARK, "")
    facts, names = _facts(table), _Names(table.titles)
    before: tuple[str, ...] = ()  # what the sentence before was about
    parts, struck, done, says = [], [], 0, False
    for match in _SENTENCE.finditer(text):
        sentence = match["text"]
        named = names.find(sentence)
        wrong = _wrong(sentence, named, before, facts)
        if any(m.title for m in named) and (0, len(sentence)) not in wrong:
            says = True
        before = tuple(m.title or "" for m in named) or before
        parts.append(text[done : match.start("text")])
        at = 0
        for first, last in wrong:
            strip = sentence[first:last].strip()
            first += sentence[first:last].index(strip)
            parts += [sentence[at:first], f"{STRUCK}{strip}{STRUCK} {MARK}"]
            struck.append(strip)
            at = first + len(strip)
        parts.append(sentence[at:])
        done = match.end()
    whole = "".join([*parts, text[done:]])
    return Checked(_retitled(whole, table), tuple(_retitled(one, table) for one in struck), says)


def not_in(text: str, table: Table) -> tuple[str, ...]:
    """What :func:`checked` would strike out of a text that a person edited; what is struck out in it does not count."""
    for title, shown in table.titles.items():
        if title != shown and _plain(shown):
            text = re.sub(rf"(?<!\w){re.escape(_plain(shown))}(?!\w)", title, text)
    return checked(re.sub(r"~~[^~]*~~ *(?:\[\?\])?", "", text), table).struck


@dataclass(frozen=True)
class _Named:
    """A structure that a text names; its title in the table, or None for one that is not clearly one of those."""

    span: Span
    title: str | None
    foreign: bool


class _Names:
    """Finds structures in texts: by their titles, and loosely by single words of titles."""

    def __init__(self, titles: Iterable[str]) -> None:
        self._own = {title.lower(): title for title in titles}
        every = sorted({*self._own, *(t.lower() for t in known_titles().values())}, key=len, reverse=True)
        self._titles = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, every))})(?!\w)", re.I)
        self._own_words = {word for title in self._own for word in _words(title)}

    def find(self, text: str) -> list[_Named]:
        """In their order."""
        found = list(self._pairs(text))
        for match in self._titles.finditer(text):
            title = self._own.get(match.group().lower())
            foreign = title is None and not _words(match.group()) <= self._own_words
            found.append(_Named(match.span(), title, foreign))
        for match in re.finditer(r"[A-Za-z]{4,}", text):
            known = _singular(match.group().lower())
            if known in _all_words() and not any(a <= match.start() < b for a, b in (one.span for one in found)):
                found.append(_Named(match.span(), None, known not in self._own_words))
        return sorted(found, key=lambda one: one.span)

    def _pairs(self, text: str) -> Iterator[_Named]:
        """Both of "left and right kidneys"."""
        for match in _PAIR.finditer(text):
            titles = [self._own.get(f"{side} {_singular(match[3])}".lower()) for side in (match[1], match[2])]
            if all(titles):
                yield from (_Named(match.span(), title, False) for title in titles)


@dataclass(frozen=True)
class _Fact:
    """A line of the table."""

    line: str
    about: frozenset[str]
    numbers: tuple[Number, ...]


def _facts(table: Table) -> list[_Fact]:
    names = _Names(table.titles)
    facts = []
    for line in table.lines:
        named = [one for one in names.find(line) if one.title]
        about = frozenset(one.title for one in named if one.title)
        facts.append(_Fact(line, about, tuple(numbers_in(line, [one.span for one in named]))))
    return facts


def _wrong(sentence: str, named: list[_Named], before: tuple[str, ...], facts: list[_Fact]) -> list[Span]:
    """The parts of a sentence that are not in the table, in their order; the whole one if it invents something."""
    titles = [one.title or "" for one in named] or list(before)
    about = [fact for fact in facts if not fact.about or fact.about & set(titles)]
    if any(one.foreign for one in named) or not _claims_hold(sentence, named, about):
        return [(0, len(sentence))]
    numbers = numbers_in(sentence, [one.span for one in named if one.title])
    direction = (bool(GREW.search(sentence)), bool(SHRANK.search(sentence)))
    wrong = []
    for number, wanted in _with_titles(numbers, named, before):
        told = [
            n for f in facts if not f.about or (f.about & wanted and f.about <= {*titles, *before}) for n in f.numbers
        ]
        if not any(_is(number, one, direction) for one in told):
            wrong.append(number.span)
    return wrong


def _with_titles(
    numbers: Sequence[Number], named: Sequence[_Named], before: tuple[str, ...]
) -> Iterator[tuple[Number, frozenset[str]]]:
    """Each number with the structures that it may be of: those named last before it, or else first after it.

    In "liver and spleen: 1503 and 210 ml" the first number is of the first structure, and so on.
    """
    runs: dict[tuple[int, ...], list[Number]] = {}
    for number in numbers:
        earlier = [i for i, one in enumerate(named) if one.span[1] <= number.span[0]]
        limit = max((n.span[1] for n in numbers if earlier and n.span[1] <= named[earlier[-1]].span[0]), default=0)
        group = tuple(i for i in earlier if named[i].span[0] >= limit)
        if not earlier:
            first = next((n.span[0] for n in numbers if named and n.span[0] > named[0].span[0]), 1 << 30)
            group = tuple(i for i, one in enumerate(named) if one.span[0] < first)
        runs.setdefault(group, []).append(number)
    for group, run in runs.items():
        titles = [named[i].title or "" for i in group]
        for place, number in enumerate(run):
            each = len(titles) > 1 and len(run) == len(titles) and len({n.unit for n in run}) == 1
            yield number, frozenset([titles[place]] if each else titles or before)


def _is(written: Number, told: Number, direction: tuple[bool, bool]) -> bool:
    """Whether a written number is one of the table. "Decreased by 15 %" is −15 %, an increase is not."""
    if written.unit != told.unit or told.value is None or written.value is None:
        return False
    if written.unit == "HU" or not told.signed:
        return written.is_rounded(told.value) and (written.unit == "HU" or not written.signed)
    if written.signed:
        return written.is_rounded(told.value)
    grew, shrank = direction
    return written.is_rounded(abs(told.value)) and (shrank and not grew if told.value < 0 else not shrank)


def _claims_hold(sentence: str, named: Sequence[_Named], about: Sequence[_Fact]) -> bool:
    """Whether what a sentence claims in words is in lines about its structures."""
    spans = [one.span for one in named if one.title]
    words = [m for m in STATED.finditer(sentence) if not any(a <= m.start() < b for a, b in spans)]
    told = " ".join(fact.line.lower() for fact in about)
    if any(m[1].lower() not in told for m in words):
        return False
    changes = [n.value for fact in about for n in fact.numbers if n.signed and n.unit == "%" and n.value is not None]
    grew, shrank = GREW.search(sentence), SHRANK.search(sentence)
    if (grew and not any(change > 0 for change in changes)) or (shrank and not any(change < 0 for change in changes)):
        return False
    return not SAME.search(sentence) or "within the uncertainty" in told


def _retitled(text: str, table: Table) -> str:
    """With the structures' own titles instead of those that the model knows."""
    own = {title.lower(): _plain(shown) for title, shown in table.titles.items() if title != shown}
    if not own:
        return text
    every = "|".join(re.escape(title) for title in sorted(own, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{every})(?!\w)", lambda m: own[m.group().lower()], text, flags=re.I)


def _plain(title: str) -> str:
    """A title in one line, which strikes out nothing."""
    return " ".join("".join(c if c.isprintable() else " " for c in title).replace("~", "").replace(MARK, "").split())


def _words(title: str) -> set[str]:
    return {_singular(word) for word in re.findall(r"[a-z]{4,}", title.lower())} - COMMON


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


@cache
def _all_words() -> frozenset[str]:
    return frozenset(word for title in known_titles().values() for word in _words(title))
