"""The phantom's label table: patients, findings, ages, sexes and views in NIH-like proportions.

All constants were counted in NIH's ``Data_Entry_2017_v2020.csv`` (112,120 images): Wang et al.,
*ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised
Classification and Localization of Common Thorax Diseases*, CVPR 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxrbench.builtin._phantom.exam import FINDINGS, Exam

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class _Facts:
    """Of the images with a finding: their share of all, AP share, mean age, share of men."""

    share: float
    bedside: float
    age: float
    men: float


_NIH = {
    "Infiltration": _Facts(0.1774, 0.53, 46.0, 0.57),
    "Effusion": _Facts(0.1188, 0.50, 49.5, 0.56),
    "Atelectasis": _Facts(0.1031, 0.50, 50.2, 0.60),
    "Nodule": _Facts(0.0565, 0.34, 49.3, 0.58),
    "Mass": _Facts(0.0516, 0.38, 48.5, 0.61),
    "Pneumothorax": _Facts(0.0473, 0.36, 46.3, 0.51),
    "Consolidation": _Facts(0.0416, 0.67, 46.4, 0.57),
    "Pleural_Thickening": _Facts(0.0302, 0.29, 50.2, 0.60),
    "Cardiomegaly": _Facts(0.0248, 0.44, 47.0, 0.47),
    "Emphysema": _Facts(0.0224, 0.41, 50.1, 0.64),
    "Edema": _Facts(0.0205, 0.88, 45.1, 0.52),
    "Fibrosis": _Facts(0.0150, 0.17, 52.5, 0.54),
    "Pneumonia": _Facts(0.0128, 0.56, 44.4, 0.59),
    "Hernia": _Facts(0.0020, 0.16, 63.0, 0.42),
}
_HEALTHY_BEDSIDE = 0.35
_MEN = 0.565
_AGE_MEAN, _AGE_SPREAD = 46.6, 16.6
_AGE_QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99, 1.0)
_AGES = (1, 8, 18, 34, 49, 59, 72, 79, 95)

# How many times more often than by chance two findings are on one image; others are near 1.
_LIFT = {
    ("Edema", "Pneumonia"): 11.6,
    ("Emphysema", "Pneumothorax"): 6.3,
    ("Fibrosis", "Pleural_Thickening"): 3.5,
    ("Cardiomegaly", "Effusion"): 3.2,
    ("Mass", "Nodule"): 2.8,
    ("Mass", "Pleural_Thickening"): 2.6,
    ("Atelectasis", "Consolidation"): 2.5,
    ("Consolidation", "Mass"): 2.5,
    ("Atelectasis", "Effusion"): 2.4,
    ("Edema", "Infiltration"): 2.4,
    ("Infiltration", "Pneumonia"): 2.4,
    ("Consolidation", "Effusion"): 2.3,
    ("Fibrosis", "Hernia"): 2.3,
    ("Cardiomegaly", "Edema"): 2.2,
    ("Edema", "Effusion"): 2.2,
    ("Nodule", "Pleural_Thickening"): 2.2,
    ("Consolidation", "Pneumonia"): 2.1,
    ("Effusion", "Pleural_Thickening"): 2.1,
    ("Cardiomegaly", "Pneumothorax"): 0.4,
    ("Edema", "Fibrosis"): 0.3,
    ("Edema", "Pneumothorax"): 0.3,
}

_FLOOR = 0.06  # of the patients: of 1,000, 60 have a finding, so 12 of a test fifth
_VISITS = (0.80, 0.13, 0.04, 0.015, 0.01, 0.005)  # share of patients with 1, 2, ... images
_SHOWN = 0.8  # how often a patient's finding is on one of several images


@dataclass(frozen=True)
class PhantomImage:
    """One image of the table; ``age`` is that at this visit."""

    image_id: str
    patient_id: str
    age: int
    exam: Exam


@dataclass(frozen=True)
class _Patient:
    seed: int
    number: int
    age: int
    sex: str
    visits: int
    findings: tuple[str, ...]


def draw_table(patients: int, seed: int) -> list[PhantomImage]:
    """The rows of a cohort, patient by patient; about 1.3 per patient."""
    import numpy as np

    rng = np.random.default_rng((seed, patients))
    ages = np.interp(rng.uniform(size=patients), _AGE_QUANTILES, _AGES).round()
    men = rng.uniform(size=patients) < _MEN
    sick = _assign_findings(ages, men, rng)
    visits = rng.choice(len(_VISITS), size=patients, p=_VISITS) + 1
    rows: list[PhantomImage] = []
    for k in range(patients):
        findings = tuple(name for name in FINDINGS if sick[name][k])
        sex = "M" if men[k] else "F"
        rows += _films(_Patient(seed, k + 1, int(ages[k]), sex, int(visits[k]), findings), rng)
    return rows


def _assign_findings(
    ages: np.ndarray, men: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Who has what, {name: (patients,) bool}: an exact number each, drawn with uneven odds.

    The odds follow age and sex and what a patient has been given already; tilting a normal
    distribution of ages exponentially moves its mean to that of the finding.
    """
    import numpy as np

    count = len(ages)
    sick: dict[str, np.ndarray] = {}
    for name, facts in _NIH.items():
        tilt = (facts.age - _AGE_MEAN) / _AGE_SPREAD**2
        odds = np.exp(tilt * (ages - _AGE_MEAN))
        odds *= np.where(men, facts.men / _MEN, (1 - facts.men) / (1 - _MEN))
        for other, has in sick.items():
            odds *= np.where(has, _LIFT.get((min(name, other), max(name, other)), 1.0), 1.0)
        number = round(count * max(facts.share, _FLOOR))
        chosen = rng.choice(count, size=number, replace=False, p=odds / odds.sum())
        sick[name] = np.isin(np.arange(count), chosen)
    return sick


def _films(patient: _Patient, rng: np.random.Generator) -> list[PhantomImage]:
    """The films of one patient: each finding on most of them, and on one at least."""
    import numpy as np

    shown = rng.uniform(size=(patient.visits, len(patient.findings))) < _SHOWN
    shown[rng.integers(patient.visits, size=shown.shape[1]), np.arange(shown.shape[1])] = True
    rows = []
    for visit in range(patient.visits):
        seen = tuple(n for n, here in zip(patient.findings, shown[visit], strict=True) if here)
        bedside = [_NIH[name].bedside for name in seen] or [_HEALTHY_BEDSIDE]
        view = "AP" if rng.uniform() < sum(bedside) / len(bedside) else "PA"
        exam = Exam(patient.seed, patient.number, visit, view, patient.sex, patient.age, seen)
        patient_id = f"P{patient.number:05d}"
        rows.append(
            PhantomImage(f"{patient_id}_{visit:03d}", patient_id, patient.age + visit // 2, exam)
        )
    return rows
