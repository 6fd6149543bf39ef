"""English words that a draft's check knows."""

from __future__ import annotations

import re

_STATED = """
    abnormal abscess adenopath aneurysm anomal artefact artifact ascites atelecta atroph benign big bleed calcifi
    calcul cancer carcinom cirrho collapse compress congest consolidat cyst degenerat diagnos dilat dissect edema
    effusion embol emphysem enlarg fatty fibro fractur haemat haemorrhag hemat hemorrhag hepatomeg hernia
    heterogen homogen hydroneph hyperdens hyperplas hypertroph hypodens indicate indicating indication infarct
    infect infiltrat inflam invad invas involve ischaem ischem large lesion lymph malign mass metasta narrow necro
    neoplas nodul normal obstruct occlu oedema opacit patholog perforat pneumon pneumot polyp recommend rupture
    scar sclero small splenomeg steato stenos stone suggest suspici swell swollen tear thicken thrombo thrombus
    trauma tumo ulcer unremark varic
"""
STATED = re.compile(rf"\b({'|'.join(_STATED.split())})\w*", re.I)
"""Words that state a finding, or advise; their stem is group 1. The list cannot be complete."""

GREW = re.compile(r"\b(?:increase|increasing|gr[eo]w|enlarg|gain|progress|expan)\w*|\brose\b", re.I)
SHRANK = re.compile(
    r"\b(?:decrease|decreasing|reduc|shr[aiu]nk|declin|regress|diminish|smaller)\w*|\b(?:fell|fallen|lost|loss)\b", re.I
)
SAME = re.compile(r"\b(?:stable|unchanged|constant|no change)\b", re.I)

_COMMON = """
    right left upper lower lateral medial middle central superior inferior anterior posterior internal external first
    second third fourth common major minor deep small hard soft white grey body bodies back head face hand space walls
    bridges process matter title segment compact spongy oblique arch trunk horn cavity canal fluid other
"""
COMMON = frozenset(_COMMON.split())
"""Words of titles that are no structures by themselves."""

_SPELLED = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty
"""
_TENS = {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
SPELLED = {word: value for value, word in enumerate(_SPELLED.split())} | _TENS
"""Numbers in words."""
