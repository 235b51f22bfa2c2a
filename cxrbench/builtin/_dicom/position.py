"""Does a header say that the image shows the chest, from the front or from behind?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrbench import UnreadableImage
from cxrbench.builtin._dicom.values import text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CHEST = ("CHEST", "THORAX", "TORAX", "LUNG")
_NOT_CHEST_ALONE = ("ABD", "PELV", "SPINE")
# Codes of the thorax in SNOMED CT, SNOMED RT and UMLS-free older files (PS3.16, CID 4009).
_CHEST_CODES = ("51185008", "T-D3000", "43799004", "T-D3200")
# A body part that is none of these may be anything, a patient's name too, and is not repeated.
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
        told = [_upper(elements, f"{name}Description") for name in ("Series", "Study")]
        told.append(_upper(elements, "ProtocolName"))
        chest = any(code in _CHEST_CODES for code in codes) or any(map(_names_chest, told))
        if codes and not chest:
            raise UnreadableImage("shows another part of the body than the chest")
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
    told = _upper(elements, "ViewPosition") or next(iter(codes), "")
    if not told and _upper(elements, "PatientPosition") in (*_VIEWS, *_LATERAL):
        told = _upper(elements, "PatientPosition")
    words = told.replace("_", " ").replace("-", " ").split()
    found = {word for word in words if word in _VIEWS}
    if any(word in _LATERAL for word in words):
        raise UnreadableImage("a lateral view")
    if len(found) == 1 and not _OTHER_VIEWS.intersection(words):
        return found.pop()
    if told:
        known = told if told in _OTHER_VIEWS else "another view than PA and AP"
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


def _names_chest(told: str) -> bool:
    chest = any(name in told for name in _CHEST)
    return chest and not any(name in told for name in _NOT_CHEST_ALONE)


def _upper(elements: Dataset, keyword: str) -> str:
    return text(elements, keyword).upper()


def _codes(elements: Dataset, keyword: str) -> list[str]:
    return [str(item.get("CodeValue", "")).strip() for item in elements.get(keyword) or ()]
