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
_NOISE = set(
    "a an and are can find for from get give gives has have i in is it me model models need of on or "
    "see show that the to want what which with".split()
)


@dataclass(frozen=True)
class Match:
    """A model that a search found.

    Attributes:
        card: the model.
        structures: those of its structures that the words name, best evidence first.
    """

    card: ModelCard
    structures: list[str]


@cache
def catalogue() -> tuple[ModelCard, ...]:
    """The cards of all models that can be downloaded, quick whole-body models first. Not to be changed."""
    data = json.loads(resource_path("Models", "catalogue.json").read_text(encoding="utf-8"))
    return tuple(ModelCard.from_json(entry) for entry in data["models"])


def in_catalogue(model_id: str) -> ModelCard | None:
    """The catalogue's card of this id, or None."""
    return next((card for card in catalogue() if card.id == model_id), None)


def search(words: str, cards: Iterable[ModelCard]) -> list[Match]:
    """Those ``cards`` whose title, structures and description together have all of the words.

    A word stands for its plural and for common synonyms (``renal`` finds ``kidney``); little words such as
    "which", "with" and "and" are skipped. Models whose structures say the most come first.
    """
    wanted = [_variants(w) for w in _words(words) if w not in _NOISE]
    found = []
    for card in cards:
        names = {s: " ".join(_words(s)) for s in card.structures}
        everything = " ".join([*_words(f"{card.id} {card.title} {card.description} {card.modality}"), *names.values()])
        if not all(_has(everything, variants) for variants in wanted):
            continue
        hits = {s: sum(_has(text, variants) for variants in wanted) for s, text in names.items()}
        best = max(hits.values(), default=0)
        title = sum(_has(" ".join(_words(f"{card.id} {card.title}")), variants) for variants in wanted)
        named = sorted((s for s in hits if hits[s]), key=lambda s: -hits[s])
        found.append(((-best, -title), Match(card, named)))
    return [match for _, match in sorted(found, key=lambda f: f[0])]


def _words(text: str) -> list[str]:
    return [_singular(w) for w in re.findall(r"[a-z0-9]+", text.lower())]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _variants(word: str) -> list[str]:
    """The word itself and its synonyms, each as it looks in normalised text."""
    groups = [[" ".join(_words(term)) for term in group] for group in _SYNONYMS]
    return [word, *(term for group in groups if word in group for term in group if term != word)]


def _has(text: str, variants: list[str]) -> bool:
    """Whether a word of ``text`` begins with one of the variants (so that ``pancrea`` finds pancreas)."""
    padded = f" {text}"
    return any(f" {variant}" in padded for variant in variants)
