"""Headings and words that tables and DICOM headers use for an image, its patient and its view."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MAX_AGE = 120.0

HEADINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "image": (
            *("image", "Image Index", "path", "image_id", "ImageID", "dicom_id", "filename"),
            *("file_name", "file", "image_path", "img_path", "path_to_image", "File Path"),
        ),
        "patient": (
            *("patient", "Patient ID", "patient_id", "PatientID", "patientId", "subject_id"),
            *("SubjectID", "deid_patient_id"),
        ),
        "age": ("age", "Patient Age", "PatientAge", "age_at_study"),
        "sex": ("sex", "Patient Gender", "Patient Sex", "PatientSex", "gender", "PatientSex_DICOM"),
        "view": (
            *("view", "View Position", "ViewPosition", "Frontal/Lateral", "AP/PA", "Projection"),
            *("view_position", "frontal_lateral", "ap_pa"),
        ),
        "modality": ("modality", "Modality_DICOM"),
        "body_part": ("body_part", "BodyPartExamined", "Body Part Examined", "Body Part"),
        "findings": ("findings", "Finding Labels", "finding", "Labels", "class_name"),
        "split": ("split",),
        "reader": ("reader", "reader_id", "rad_id", "radiologist"),
    }
)
"""What a column may be called where no option names it; the first that is there is used.

Of views, all that are there are used. Capital letters make no difference.
"""

BOX_HEADINGS = ("x_min", "y_min", "x_max", "y_max", "x", "y", "width", "height", "w", "h")
OTHER_HEADINGS = (
    *("class_id", "study_id", "StudyID", "Follow-up #", "StudyInstanceUID", "SeriesInstanceUID"),
    *("SOPInstanceUID", "ImageDir", "ViewPosition_DICOM", "index", "level_0"),
)
"""Columns that are never labels, unless an option names them."""

LABEL_WORDS: Mapping[str, float] = MappingProxyType(
    dict.fromkeys(("true", "yes", "y", "present", "positive"), 1.0)
    | dict.fromkeys(("false", "no", "n", "absent", "negative"), 0.0)
)
"""What may stand in a label's column in place of 1 and 0, in small letters."""

_AGE = re.compile(r"([0-9]{1,9}(?:\.[0-9]*)?)\s*([YMWD]?)", re.IGNORECASE | re.ASCII)
_UNITS_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_SEXES: Mapping[str, str] = MappingProxyType({"M": "M", "MALE": "M", "F": "F", "FEMALE": "F"})
_MISSING = frozenset({"", "NAN", "NA", "N/A", "NONE", "NULL", "UNKNOWN", "UNK", "U"})
"""Words for what is not known."""
_OTHER_SEXES = frozenset({"O", "OTHER"})

_POSITIONS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("PA", "POSTEROANTERIOR", "POSTERO ANTERIOR"), "PA"),
        **dict.fromkeys(("AP", "ANTEROPOSTERIOR", "ANTERO POSTERIOR"), "AP"),
        **dict.fromkeys(("FRONTAL",), ""),
    }
)
_POSTURES = frozenset(
    {
        *("SUPINE", "ERECT", "UPRIGHT", "STANDING", "SITTING", "SEMI", "SEMIERECT", "PORTABLE"),
        *("MOBILE", "BEDSIDE", "HORIZONTAL", "VERTICAL", "VIEW", "CHEST", "FRONTAL"),
    }
)
_NOT_FRONTAL = frozenset(
    {
        *("L", "LL", "RL", "LAT", "LATERAL", "LATERO", "SWIMMERS", "XTABLE"),
        *("LAO", "RAO", "LPO", "RPO", "LLO", "RLO", "OBLIQUE", "LLD", "RLD", "DECUBITUS"),
        *("LORDOTIC", "AXIAL", "CORONAL", "SAGITTAL", "COSTAL", "EXCLUDE"),
    }
)
"""Words of CheXpert, MIMIC-CXR, PadChest, covid-chestxray-dataset and DICOM (View Position)."""

_RADIOGRAPHY = frozenset({"CR", "DX", "RG", "DR", "X RAY", "XRAY"})
_NO_RADIOGRAPHY = frozenset({"CT", "MR", "MRI", "US", "ULTRASOUND", "PT", "PET", "NM", "MG", "XA"})
_CHEST = frozenset({"CHEST", "THORAX", "LUNG", "LUNGS"})
_NO_CHEST = frozenset(
    {
        *("ABDOMEN", "ANKLE", "ARM", "BREAST", "CLAVICLE", "COCCYX", "CSPINE", "ELBOW"),
        *("EXTREMITY", "FEMUR", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD", "HIP", "HUMERUS"),
        *("JAW", "KNEE", "LEG", "LSPINE", "MANDIBLE", "NECK", "ORBIT", "PATELLA", "PELVIS"),
        *("RIB", "RIBCAGE", "RIBS", "SACRUM", "SCAPULA", "SHOULDER", "SKULL", "SPINE", "STERNUM"),
        *("THIGH", "TOE", "TSPINE", "WHOLEBODY", "WRIST"),
    }
)


@dataclass(frozen=True)
class CellMeaning:
    """What a cell says: a ``code``, why its image is left out, and if the word is ``known``."""

    code: str = ""
    reason: str = ""
    known: bool = True


def view_word(text: str) -> CellMeaning:
    """The view ``PA``, ``AP`` or ``""``; other views than frontal ones have a reason.

    >>> view_word("AP Supine").code, view_word("L").reason
    ('AP', 'not a frontal view: L')
    """
    plain = _plain(text)
    words = frozenset(plain.split())
    if plain in _MISSING:
        return CellMeaning()
    if words & _NOT_FRONTAL:
        return CellMeaning(reason=f"not a frontal view: {text}")
    if plain in _POSITIONS:
        return CellMeaning(_POSITIONS[plain])
    positions = words & {"PA", "AP"}
    known = len(positions) == 1 and words <= positions | _POSTURES
    return CellMeaning(min(positions)) if known else CellMeaning(known=words <= _POSTURES)


def modality_word(text: str) -> CellMeaning:
    """Nothing for radiography, a reason for other modalities, such as ``CT``."""
    plain = _plain(text)
    if plain in _NO_RADIOGRAPHY:
        return CellMeaning(reason=f"not a radiograph: {text}")
    return CellMeaning(known=plain in _RADIOGRAPHY or plain in _MISSING)


def body_part_word(text: str) -> CellMeaning:
    """Nothing for the chest, a reason for other parts of the body."""
    words = frozenset(_plain(text).split())
    if words & _NO_CHEST and not words & _CHEST:
        return CellMeaning(reason=f"not a chest radiograph: {text}")
    return CellMeaning(known=bool(words & _CHEST) or _plain(text) in _MISSING)


VIEW = "view:"
"""Begins the keys of `film_headings` for columns of views, of which all that are there count."""


def film_headings(views: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """What columns of views (by default the usual ones), modality and body part are called."""
    names = views or HEADINGS["view"]
    others = {key: HEADINGS[key] for key in _FILM_WORDS}
    return {**{f"{VIEW}{name}": (name,) for name in names}, **others}


def film_word(key: str, text: str) -> CellMeaning:
    """The meaning of a cell in a column of `film_headings`."""
    return view_word(text) if key.startswith(VIEW) else _FILM_WORDS[key](text)


_FILM_WORDS: Mapping[str, Callable[[str], CellMeaning]] = MappingProxyType(
    {"modality": modality_word, "body_part": body_part_word}
)


def _sex_word(text: str) -> CellMeaning:
    plain = _plain(text)
    return CellMeaning(
        _SEXES.get(plain, ""), known=plain in _SEXES or plain in _MISSING | _OTHER_SEXES
    )


def _plain(text: str) -> str:
    return " ".join(re.split(r"[\s_\-]+", text.upper())).strip() or text.strip()


def age_of(text: str) -> float | None:
    """Years from a number or from DICOM's form (``058Y``, ``006M``); None where unknown."""
    years = _years(text)
    return None if years != years or years > MAX_AGE else years


def sex_of(text: str) -> str:
    """``F``, ``M``, or ``""`` where unknown."""
    return _sex_word(text).code


def ages(column: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Years (N,) float32, NaN where unknown, and notes on what was taken as unknown."""
    import numpy as np

    counts = Counter(column)
    years = {text: _years(text) for text in counts}
    impossible = {text for text, age in years.items() if age > MAX_AGE}
    unread = {t for t, age in years.items() if age != age and t.upper() not in _MISSING}
    notes = (
        *_note(impossible, counts, f"ages above {MAX_AGE:.0f} years"),
        *_note(unread, counts, "ages that cannot be read"),
    )
    known = {text: np.nan if text in impossible else age for text, age in years.items()}
    return np.array([known[text] for text in column], dtype=np.float32), notes


def sexes(column: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """`sex_of` each cell, and notes on what was taken as unknown."""
    return _coded(column, _sex_word, "sexes")


def views(column: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The code of `view_word` for each cell, and notes on what was taken as unknown."""
    return _coded(column, view_word, "views")


def _years(text: str) -> float:
    match = _AGE.fullmatch(text)
    return float(match[1]) / _UNITS_PER_YEAR[match[2].upper()] if match else float("nan")


def _coded(
    column: Sequence[str], code: Callable[[str], CellMeaning], what: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    counts = Counter(column)
    words = {text: code(text) for text in counts}
    odd = {text for text, word in words.items() if not word.known or word.reason}
    return tuple(words[text].code for text in column), _note(odd, counts, what)


def _note(texts: set[str], counts: Mapping[str, int], what: str) -> tuple[str, ...]:
    if not texts:
        return ()
    shown = ", ".join(repr(text[:40]) for text in sorted(texts)[:5])
    more = ", ..." if len(texts) > 5 else ""
    return (f"took {sum(counts[text] for text in texts):,} {what} as unknown ({shown}{more})",)


def similar_ids(ids: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of ids that differ in leading zeros, ``.0``, capitals or punctuation alone, sorted.

    >>> similar_ids(["13", "00000013", "P-7", "p7", "8"])
    [('00000013', '13'), ('P-7', 'p7')]
    """
    distinct = set(ids)
    if all(text.isdigit() and text[0] != "0" for text in distinct):
        return []  # the usual case, and quick
    groups: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for text in distinct:
        folded = unicodedata.normalize("NFC", text).casefold()
        folded = folded.removesuffix(".0") if folded[:-2].isdigit() else folded
        parts = (part.lstrip("0") or "0" for part in re.findall(r"[^\W\d_]+|[0-9]+", folded))
        groups[tuple(parts) or (text,)].append(text)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)
