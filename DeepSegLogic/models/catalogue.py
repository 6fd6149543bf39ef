"""The models that can be downloaded, and the search for models by what they mark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from ..util.resources import resource_path
from .card import ModelCard

_SYNONYMS = [  # words with the same meaning for a user: a search for one finds all
    ("kidney", "renal"),
    ("liver", "hepatic"),
    ("lung", "pulmonary"),
    ("heart", "cardiac", "myocardium"),
    ("spleen", "splenic"),
    ("stomach", "gastric"),
    ("brain", "cerebral", "intracerebral"),
    ("tumor", "tumour", "lesion", "neoplasm", "cancer", "nodule", "mass"),
    ("bleed", "bleeding", "hemorrhage", "haemorrhage"),
    ("fluid", "effusion"),
    ("bowel", "gut", "intestine", "colon", "duodenum"),
    ("esophagus", "oesophagus", "gullet"),
    ("trachea", "windpipe"),
    ("airway", "bronchi", "bronchia"),
    ("vertebra", "vertebrae", "spine"),
    ("disc", "disk", "discs"),
    ("clavicula", "clavicle", "collarbone"),
    ("skull", "cranium"),
    ("jaw", "jawbone", "mandible"),
    ("tooth", "teeth"),
    ("vein", "vena", "venous"),
    ("artery", "arterial"),
    ("ivc", "inferior vena cava"),
    ("svc", "superior vena cava"),
    ("adrenal", "suprarenal"),
    ("hip", "pelvis"),
    ("mr", "mri"),
]
_NOISE = re.compile(
    "a|an|and|are|can|find|for|from|get|gives?|has|have|i|in|is|it|me|models?|needs?|of|on|or|see|shows?|that|the"
    "|to|wants?|what|which|with"
)


@dataclass(frozen=True)
class Match:
    """A model that a search found.

    Attributes:
        card: of the model.
        structures: those of its structures that match most of the words.
        missing: words that match nothing in it; empty unless no model matches all words.
    """

    card: ModelCard
    structures: list[str]
    missing: list[str]


@cache
def catalogue() -> tuple[ModelCard, ...]:
    """The cards of all models that can be downloaded, fast whole-body models first. Do not change them."""
    data = json.loads(resource_path("Models", "catalogue.json").read_text(encoding="utf-8"))
    return tuple(ModelCard.of_valid(entry) for entry in data["models"])


def in_catalogue(model_id: str) -> ModelCard | None:
    """The card of this id in the catalogue, or None."""
    return next((card for card in catalogue() if card.id == model_id), None)


def search(words: str, cards: Iterable[ModelCard]) -> list[Match]:
    """Find the cards whose id, title, modality and structures together match all words.

    A word also matches its plural and common synonyms (``renal`` finds ``kidney``). Words such as "which", "with" and
    "and" are ignored. Models with the best matching structures come first. If no model matches all words, those that
    miss the fewest are returned.
    """
    wanted = {w: _variants(_singular(w)) for w in _tokens(words) if not _NOISE.fullmatch(w)}
    found: list[tuple[int, int, int, Match]] = []
    for card in cards:
        title = _normal(f"{card.id} {card.title}")
        names = {s: _normal(s) for s in card.structures + card.on_request}
        everything = " ".join([title, _normal(card.modality or ""), *names.values()])
        missing = [w for w, variants in wanted.items() if not _has(everything, variants)]
        hits = {s: sum(_has(text, variants) for variants in wanted.values()) for s, text in names.items()}
        best = max(hits.values(), default=0)
        in_title = sum(_has(title, variants) for variants in wanted.values())
        named = [s for s in hits if best and hits[s] == best]
        found.append((len(missing), -best, -in_title, Match(card, named, missing)))
    fewest = min((f[0] for f in found), default=0)
    if not wanted or fewest == len(wanted):
        return []
    return [f[3] for f in sorted(found, key=lambda f: f[:3]) if f[0] == fewest]


def _tokens(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _normal(text: str) -> str:
    return " ".join(_singular(w) for w in _tokens(text))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _variants(word: str) -> list[str]:
    """The word and its synonyms, as they are in normalized text."""
    groups = [[_normal(term) for term in group] for group in _SYNONYMS]
    return [word, *(term for group in groups if word in group for term in group if term != word)]


def _has(text: str, variants: list[str]) -> bool:
    """Whether a word in ``text`` begins with one of the variants (so ``pancrea`` finds pancreas)."""
    padded = f" {text}"
    return any(f" {variant}" in padded for variant in variants)
