"""In which regions of the body a structure lies, by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .names import REGIONS
from .scan import Scan

BORDER_MM = 50
"""By which the ends of regions may be off (docs/classify.md)."""
_HEAD, _NECK, _CHEST, _ABDOMEN, _PELVIS, _LEGS = ("head",), ("neck",), ("chest",), ("abdomen",), ("pelvis",), ("legs",)
_PLACES: tuple[tuple[str, tuple[str, ...]], ...] = (  # the first pattern that fits the whole name counts
    (
        r"brain\w*|cerebrospinal_fluid|intracerebral_\w+|ventricle_\w+|\w+_ventricle|gray_matter|white_matter|eye\w*"
        r"|optic_\w+|pituitary\w*|cochlea\w*|auditory_canal\w*|lacrimal\w*|levator_palpebrae\w*|scalp|external_ear"
        r"|(superior|inferior|medial|lateral)_(rectus|oblique)_muscle\w*|sinus_\w+|\w+_maxillary_sinus|nasal_cavity\w*"
        r"|nasopharynx|zygomatic\w*|temporalis\w*|upper_skull",
        _HEAD,
    ),
    (
        r"skull|face|head\w*|mandib\w*|\w+_jawbone|teeth\w*|(upper|lower)_(left|right)_\w+|\w*mandibular\w*|\w*alveolar\w*"
        r"|lingual_canal|crown|bridge|hard_palate|soft_palate|tongue|lips|buccal\w*|oral_cavity|oropharynx|masseter\w*"
        r"|(lateral|medial)_pterygoid\w*|parotid\w*|submandibular\w*|styloid\w*|digastric\w*|pharynx|vertebrae_C1",
        _HEAD + _NECK,
    ),
    (
        r"thyroid\w*|larynx\w*|\w*glottis|cric\w+|arytenoid\w*|hyoid|hypopharynx|esophagus_cervical|\w+_scalene\w*"
        r"|sterno_thyroid\w*|thyrohyoid\w*|platysma\w*|prevertebral\w*|levator_scapulae\w*|\w+_pharyngeal_constrictor"
        r"|vertebrae_C[2-6]",
        _NECK,
    ),
    (r"vertebrae_C7|vertebrae_T1|clavicula\w*|(common_)?carotid\w*|subclavian\w*|trachea", _NECK + _CHEST),
    (r"sternocleidomastoid\w*|internal_(carotid|jugular)\w*", _HEAD + _NECK + _CHEST),
    (r"trapezius\w*", _NECK + _CHEST),
    (r"lung\w*|heart\w*|atrial\w*|pulmonary\w*|peric\w+|mediastinum|breast\w*|mammary\w*|pectoralis\w*", _CHEST),
    (r"sternum|brachiocephalic\w*|superior_vena_cava|scapula\w*|serratus\w*|vertebrae_T[2-9]|rib_\w+_[1-4]", _CHEST),
    (r"aorta|thoracic_cavity|pleural\w*|esophagus|costal_cartilages|ribs?\w*|latissimus\w*", _CHEST + _ABDOMEN),
    (r"vertebrae_T1[0-2]|inferior_vena_cava", _CHEST + _ABDOMEN),
    (
        r"liver\w*|spleen|pancrea\w*|gallbladder|stomach|duodenum|kidney\w*|adrenal\w*|portal\w*|quadratus\w*"
        r"|vertebrae_L[1-3]",
        _ABDOMEN,
    ),
    (
        r"colon|small_bowel|bowel_bag|abdominal_cavity|iliopsoas\w*|psoas\w*|rectus_abdominis\w*|\w+_oblique\w*"
        r"|vertebrae_L[4-6]|iliac\w*",
        _ABDOMEN + _PELVIS,
    ),
    (r"urinary_bladder|prostate|rectum|sigmoid|seminal\w*|sacrum|vertebrae_S1|gluteus_me\w+|gluteus_mi\w+", _PELVIS),
    (r"hip_(left|right)|hip_implant|femur\w*|gluteus_maximus\w*", _PELVIS + _LEGS),
    (r"patella\w*|tibia\w*|fibula\w*|tarsal\w*|metatarsal\w*|toes\w*", _LEGS),
)


@lru_cache(maxsize=1024)
def regions_of(structure: str) -> frozenset[str]:
    """The regions in which a structure lies, by its name; all for one that may be anywhere or is not known.

    Example:
        >>> from DeepSegLogic.classify.anatomy import regions_of
        >>> sorted(regions_of("femur_left")), len(regions_of("muscle"))
        (['legs', 'pelvis'], 6)
    """
    return frozenset(next((places for pattern, places in _PLACES if re.fullmatch(pattern, structure)), REGIONS))


def outside(scan: Scan, structures: Iterable[str]) -> list[str]:
    """Those of the structures, by name, that lie in no region of the scan; none while a slice of it is not known."""
    if not scan.whole:
        return []
    return [name for name in structures if not regions_of(name) & set(scan.regions)]


def shown_instead(scan: Scan, structure: str, s_mm: float) -> str:
    """The region that a scan shows at a height (S, in mm) where a structure, by its name, cannot lie.

    Empty if it can lie there or within ``BORDER_MM``, or if not all of these slices are in the scan and known.

    Example:
        >>> from DeepSegLogic.classify import Part, Scan
        >>> scan = Scan("CT", (Part("neck", 0, 90, 0.8), Part("head", 90, 260, 0.9)), 0, 260)
        >>> shown_instead(scan, "ribs_left", 150.0), shown_instead(scan, "thyroid_gland", 120.0)
        ('head', '')
    """
    near = {_region_at(scan, s_mm + away) for away in range(-BORDER_MM, BORDER_MM + 1)}
    return "" if "" in near or near & regions_of(structure) else _region_at(scan, s_mm)


def _region_at(scan: Scan, s_mm: float) -> str:
    """Empty outside of the scan, and where the region is not known."""
    return next((part.region for part in scan.parts if part.low_mm <= s_mm <= part.high_mm), "")


def finds_nothing(scan: Scan, structures: Iterable[str]) -> bool:
    """Whether all of the structures lie in no region of the scan, so that a model of them finds nothing there."""
    names = list(structures)
    return bool(names) and len(outside(scan, names)) == len(names)
