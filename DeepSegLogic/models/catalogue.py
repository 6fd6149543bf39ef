"""The models that can be had, and the search for one by what it marks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from ..resources import resource_path
from .card import ModelCard

_SYNONYMS = [  # words that mean the same to a user; a search for one finds all
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
        card: the model.
        structures: those of its structures that the words name best.
        missing: words that it has nothing of; empty unless no model has all of them.
    """

    card: ModelCard
    structures: list[str]
    missing: list[str]


@cache
def catalogue() -> tuple[ModelCard, ...]:
    """The cards of all models that can be downloaded, quick whole-body models first. Not to be changed."""
    data = json.loads(resource_path("Models", "catalogue.json").read_text(encoding="utf-8"))
    return tuple(ModelCard.from_json(entry) for entry in data["models"])


def in_catalogue(model_id: str) -> ModelCard | None:
    """The catalogue's card of this id, or None."""
    return next((card for card in catalogue() if card.id == model_id), None)


def search(words: str, cards: Iterable[ModelCard]) -> list[Match]:
    """Those ``cards`` whose title and structures together have all of the words.

    A word stands for its plural and for common synonyms (``renal`` finds ``kidney``); little words such as
    "which", "with" and "and" are skipped. Models whose structures say the most come first. If no model has
    all of the words, those that lack the fewest are given.
    """
    wanted = {w: _variants(_singular(w)) for w in _tokens(words) if not _NOISE.fullmatch(w)}
    found = []
    for card in cards:
        title = _normal(f"{card.id} {card.title}")
        names = {s: _normal(s) for s in card.structures}
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
    return [f[-1] for f in sorted(found, key=lambda f: f[:-1]) if f[0] == fewest]


def _tokens(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _normal(text: str) -> str:
    return " ".join(_singular(w) for w in _tokens(text))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _variants(word: str) -> list[str]:
    """The word itself and its synonyms, each as it looks in normalised text."""
    groups = [[_normal(term) for term in group] for group in _SYNONYMS]
    return [word, *(term for group in groups if word in group for term in group if term != word)]


def _has(text: str, variants: list[str]) -> bool:
    """Whether a word of ``text`` begins with one of the variants (so that ``pancrea`` finds pancreas)."""
    padded = f" {text}"
    return any(f" {variant}" in padded for variant in variants)
