"""Conditions of runs that never were."""

from __future__ import annotations

from cxrbench.runs.conditions import Conditions

TEXTS = (
    *("run_key", "row_key", "board_key", "recipe", "protocol", "weights", "trains"),
    *("backend", "device", "precision", "engine", "dataset", "fingerprint", "split", "version"),
)
NUMBERS = ("seed", "split_seed", "devices", "parameters", "trainable_parameters", "train_images")


def conditions(**changes) -> Conditions:
    """Conditions that say nothing, but for these changes."""
    usual = {
        **dict.fromkeys(TEXTS, "x"),
        **dict.fromkeys(NUMBERS, 0),
        "labels": (),
        "labels_counted": (),
        "labels_left_out": (),
        "patients_known": True,
        "origin": "cxrbench",
        "scoring": {"calibration": "none", "thresholds": "youden"},
    }
    return Conditions(**{**usual, **changes})
