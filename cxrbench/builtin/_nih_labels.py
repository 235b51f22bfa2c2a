"""NIH ChestX-ray14's findings, in the order that NIH and MedMNIST list them in."""

from __future__ import annotations

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
"""NIH's names; MedMNIST calls Pleural_Thickening "pleural"."""
