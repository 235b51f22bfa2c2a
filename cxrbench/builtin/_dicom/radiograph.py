"""From a file's header to what is kept of it, or why it is no frontal chest radiograph."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from cxrbench import UnreadableImage
from cxrbench.builtin._dicom.header import HEADER_BYTES, Parsed, parse, text
from cxrbench.builtin._dicom.key import Key
from cxrbench.builtin._dicom.pixels import TAGS, form_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


MODALITIES = ("CR", "DX", "RG")
"""Computed, digital and conventional (scanned) radiography."""

MAX_AGE = 120.0
OLDEST = 90.0
"""Higher ages become 90, because an age alone can identify (45 CFR 164.514(b)(2)(i)(C))."""

_TAGS = (
    *("SOPClassUID", "Modality", "PresentationIntentType"),
    *("BodyPartExamined", "AnatomicRegionSequence", "ViewPosition", "ViewCodeSequence"),
    *("PatientPosition", "PatientOrientation"),
    *("StudyDescription", "SeriesDescription", "ProtocolName"),
    *TAGS,
)
_IDENTIFYING = (
    *("PatientID", "PatientAge", "PatientBirthDate", "PatientSex"),
    *("SOPInstanceUID", "StudyDate"),
)
_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_RADIOGRAPHY = (f"{_STORAGE}1", f"{_STORAGE}1.1", _FOR_PROCESSING)
"""SOP classes of Computed Radiography and of Digital X-Ray: they stand for a missing modality."""
_SECONDARY = (f"{_STORAGE}7", *(f"{_STORAGE}7.{number}" for number in range(1, 5)))
# A name that is none of these may be anything, a patient's too, and is not repeated.
_OTHER_MODALITIES = frozenset(
    {
        *("AU", "BI", "CT", "ECG", "ES", "GM", "IO", "IVUS", "KO", "MG", "MR", "NM", "OP", "OPT"),
        *("OT", "PR", "PT", "PX", "REG", "RF", "RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT", "SC"),
        *("SEG", "SM", "SR", "US", "XA", "XC"),
    }
)
_AGE = re.compile(r"([0-9]{1,3})([YMWD]?)")
_UNITS_PER_YEAR = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_DATE = re.compile(r"([0-9]{4})\.?([0-9]{2})\.?([0-9]{2})")


@dataclass(frozen=True)
class Radiograph:
    """What is kept of one frontal chest radiograph: nothing that identifies without the key.

    ``image`` and ``patient`` are pseudonyms of SOP Instance UID and Patient ID, ``""`` without
    one. ``age`` in years, None where unknown; ``sex`` and ``view`` are ``""`` where unknown.
    """

    image: str
    patient: str
    age: float | None
    sex: str
    view: str


def read_radiograph(path: str, key: Key, *, accept_unknown: bool) -> Radiograph:
    """What the header of a file says, if it is a frontal chest radiograph that can be decoded.

    With ``accept_unknown``, one that does not say what it shows or from where counts as one.

    Raises
    ------
    UnreadableImage : with the reason why it is left out, which quotes nothing that may identify.
    OSError : it cannot be opened or read.
    """
    parsed = parse(path, (*_TAGS, *_IDENTIFYING), with_pixels=False, budget=HEADER_BYTES)
    with _telling_nothing():
        view = _view(parsed, accept_unknown)
        return _identified(parsed.elements, key, view)


def require_radiograph(path: str, *, accept_unknown: bool) -> None:
    """Raise what `read_radiograph` would, whoever the patient is: nothing of that is read."""
    parsed = parse(path, _TAGS, with_pixels=False, budget=HEADER_BYTES)
    with _telling_nothing():
        _view(parsed, accept_unknown)


@contextmanager
def _telling_nothing() -> Iterator[None]:
    """A value that is not of its type makes a header damaged; the message would quote it."""
    try:
        yield
    except (UnreadableImage, MemoryError):
        raise
    except Exception:
        raise UnreadableImage("damaged: its header cannot be read") from None


def _view(parsed: Parsed, accept_unknown: bool) -> str:
    _require_radiograph(parsed, accept_unknown)
    form_of(parsed)
    require_chest(parsed.elements, accept_unknown=accept_unknown)
    return view_of(parsed.elements, accept_unknown=accept_unknown)


def _identified(elements: Dataset, key: Key, view: str) -> Radiograph:
    # Not the issuer of the id with it: one patient with and without it would be two, and could be
    # in two parts of a split; two patients taken for one do no harm.
    patient, uid = text(elements, "PatientID"), text(elements, "SOPInstanceUID")
    sex = text(elements, "PatientSex").upper()
    return Radiograph(
        image=key.pseudonym("image", uid) if uid else "",
        patient=key.pseudonym("patient", patient) if patient else "",
        age=_age(elements),
        sex=sex if sex in ("F", "M") else "",
        view=view,
    )


def _require_radiograph(parsed: Parsed, accept_unknown: bool) -> None:
    elements = parsed.elements
    modality = text(elements, "Modality").upper()
    storage = text(elements, "SOPClassUID") or parsed.storage
    if not modality and storage not in _RADIOGRAPHY:
        if storage.startswith(_STORAGE) and storage not in _SECONDARY:
            raise UnreadableImage("not a radiograph: its SOP class is another")
        if not accept_unknown:
            raise UnreadableImage("has no modality")
    if modality in _OTHER_MODALITIES:
        raise UnreadableImage(f"not a radiograph: modality {modality}")
    if modality and modality not in MODALITIES:
        raise UnreadableImage("not a radiograph: another modality")
    raw = text(elements, "PresentationIntentType").upper() == "FOR PROCESSING"
    if raw or storage == _FOR_PROCESSING:
        raise UnreadableImage("raw data for processing, not for presentation")


def _age(elements: Dataset) -> float | None:
    """Patient's Age, else from the dates of birth and study; the dates are not kept."""
    match = _AGE.fullmatch(text(elements, "PatientAge").upper())
    if match:
        years: float | None = int(match[1]) / _UNITS_PER_YEAR[match[2]]
    else:
        years = _years_between(text(elements, "PatientBirthDate"), text(elements, "StudyDate"))
    return min(years, OLDEST) if years is not None and 0 <= years <= MAX_AGE else None


def _years_between(birth: str, study: str) -> float | None:
    matches = [_DATE.fullmatch(birth), _DATE.fullmatch(study)]
    try:
        born, seen = (date(*map(int, match.groups())) for match in matches if match)
    except ValueError:  # one is missing, or no day of the calendar
        return None
    return float(seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day)))


_CHEST = ("CHEST", "THORAX", "TORAX", "LUNG")
_NOT_CHEST_ALONE = ("ABD", "PELV", "SPINE")
# Codes of the thorax in SNOMED CT, SNOMED RT and UMLS-free older files (PS3.16, CID 4009).
_CHEST_CODES = ("51185008", "T-D3000", "43799004", "T-D3200")
# Any other text may be anything, even a patient's name, so messages do not repeat it.
_OTHER_PARTS = frozenset(
    {
        *("ABDOMEN", "ANKLE", "ARM", "BREAST", "CLAVICLE", "COCCYX", "CSPINE", "ELBOW"),
        *("EXTREMITY", "FEMUR", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD", "HIP", "HUMERUS"),
        *("JAW", "KNEE", "LEG", "LSPINE", "MANDIBLE", "NECK", "ORBIT", "PATELLA", "PELVIS"),
        *("RIB", "RIBCAGE", "RIBS", "SACRUM", "SCAPULA", "SHOULDER", "SKULL", "SPINE", "STERNUM"),
        *("THIGH", "TOE", "TSPINE", "WHOLEBODY", "WRIST"),
    }
)

_VIEWS = {"PA": "PA", "AP": "AP"}
# The codes of PS3.16, CID 4010, in SNOMED CT and in SNOMED RT.
_VIEW_CODES = {
    **dict.fromkeys(("272479007", "R-10214"), "PA"),
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("399173006", "R-10236", "399198007", "R-10232"), "LATERAL"),
}
_LATERAL = ("LL", "RL", "LATERAL", "LAT", "LATERO")
_OTHER_VIEWS = frozenset(
    {
        *("LLD", "RLD", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "OBLIQUE", "DECUBITUS"),
        *("LORDOTIC",),
    }
)


def require_chest(elements: Dataset, *, accept_unknown: bool) -> None:
    """Raise `UnreadableImage` unless the body part is the chest.

    Body Part Examined decides, else the anatomic region, else the study's, series' and protocol's
    descriptions.
    """
    part = _upper(elements, "BodyPartExamined")
    if not part:
        codes = _codes(elements, "AnatomicRegionSequence")
        descriptions = [_upper(elements, f"{name}Description") for name in ("Series", "Study")]
        descriptions.append(_upper(elements, "ProtocolName"))
        chest = any(code in _CHEST_CODES for code in codes) or any(map(_names_chest, descriptions))
        if codes and not chest:
            raise UnreadableImage("shows a part of the body other than the chest")
        if not chest and not accept_unknown:
            raise UnreadableImage("does not say which part of the body it shows")
    elif not _names_chest(part):
        known = part if part in _OTHER_PARTS else "another part of the body"
        raise UnreadableImage(f"does not show the chest alone: {known}")


def view_of(elements: Dataset, *, accept_unknown: bool) -> str:
    """``"PA"``, ``"AP"``, or ``""`` for a frontal image that does not say which.

    View Position decides, else the view code, else Patient Position where it holds such a value
    (some archives put it there), else the directions of rows and columns.
    """
    codes = [_VIEW_CODES.get(code, "?") for code in _codes(elements, "ViewCodeSequence")]
    view = _upper(elements, "ViewPosition") or next(iter(codes), "")
    if not view and _upper(elements, "PatientPosition") in (*_VIEWS, *_LATERAL):
        view = _upper(elements, "PatientPosition")
    words = view.replace("_", " ").replace("-", " ").split()
    named = {word for word in words if word in _VIEWS}
    if any(word in _LATERAL for word in words):
        raise UnreadableImage("a lateral view")
    if len(named) == 1 and not _OTHER_VIEWS.intersection(words):
        return named.pop()
    if view:
        known = view if view in _OTHER_VIEWS else "another view than PA and AP"
        raise UnreadableImage(f"not frontal: {known}")
    return _view_of_orientation(elements, accept_unknown)


def _view_of_orientation(elements: Dataset, accept_unknown: bool) -> str:
    """Rows that run from the patient's left to right, or back, are frontal (PS3.3 C.7.6.1.1.1)."""
    rows = _upper(elements, "PatientOrientation")[:1]
    if rows in ("A", "P"):
        raise UnreadableImage("a lateral view")
    if rows not in ("L", "R") and not accept_unknown:
        raise UnreadableImage("does not say from where it was taken (View Position)")
    return ""


def _names_chest(text: str) -> bool:
    chest = any(name in text for name in _CHEST)
    return chest and not any(name in text for name in _NOT_CHEST_ALONE)


def _upper(elements: Dataset, keyword: str) -> str:
    return text(elements, keyword).upper()


def _codes(elements: Dataset, keyword: str) -> list[str]:
    return [str(item.get("CodeValue", "")).strip() for item in elements.get(keyword) or ()]
