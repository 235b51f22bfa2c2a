"""Write what a run produced into its directory, in formats that need no cxrbench."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.data.metadata import write_metadata
from cxrbench.evaluation.bootstrap import Bootstrap, bootstrap, percentile_interval
from cxrbench.evaluation.metrics import Scores, score
from cxrbench.evaluation.thresholds import choose_thresholds
from cxrbench.experiment import EncodedFeature, Outcome
from cxrbench.interfaces import Exclusion
from cxrbench.material import Material
from cxrbench.modeling.backend import load_keras
from cxrbench.modeling.history import Epoch
from cxrbench.runs import BOOTSTRAP_FILE, METRICS_FILE, REPLICATES, require_room, write_json

BOOTSTRAP_REPLICATES = 1000


def record(outcome: Outcome, material: Material, folder: Path) -> None:
    """Write everything but ``run.json``: history, splits, predictions, scores, encoders, model."""
    write_metadata(material.cohort, material.split, folder)
    excluded = (*material.cohort.excluded, *material.prepared.excluded)
    _write_csv(folder / "excluded.csv", [asdict(item) for item in excluded], fields(Exclusion))
    if outcome.training is not None:
        rows = [asdict(epoch) for epoch in outcome.training.history]
        _write_csv(folder / "history.csv", rows, fields(Epoch))
    _write_predictions(outcome, material, folder)
    _write_scores(outcome, material, folder)
    for name, encoded in outcome.encoders.items():
        _write_encoder(folder / "encoders" / f"{name}.npz", encoded)
    if outcome.model is not None:
        # HDF5 fails badly on a full disk: it is asked before. Two files of 4 bytes a number.
        require_room(folder, 9 * outcome.parameters)
        model = _uncompiled(outcome.model)
        model.save_weights(folder / "model.weights.h5")
        model.save(folder / "model.keras")


def _uncompiled(model: Any) -> Any:
    """The same model without what training left in its parts.

    The optimiser's state would triple the files, and the name of the loss would keep a plain
    ``keras.models.load_model`` from opening them.
    """
    copy = load_keras().models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[Any]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [column.name for column in columns], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_predictions(outcome: Outcome, material: Material, folder: Path) -> None:
    import pandas as pd

    cohort = material.cohort
    rows = np.concatenate([material.rows("val"), material.rows("test")])
    y_score = np.concatenate([outcome.val, outcome.test])
    columns: dict[str, Any] = {
        "image": [cohort.image_ids[row] for row in rows],
        "patient": [cohort.patient_ids[row] if cohort.patients_known else None for row in rows],
        "split": material.split.parts[rows],
        "age": cohort.ages[rows],
        "sex": [cohort.sexes[row] or None for row in rows],
        "view": [cohort.views[row] or None for row in rows],
    }
    for index, label in enumerate(cohort.label_names):
        columns[f"y_true_{label}"] = cohort.labels[rows, index]
    for index, label in enumerate(cohort.label_names):
        columns[f"y_score_{label}"] = y_score[:, index]
    pd.DataFrame(columns).to_parquet(folder / "predictions.parquet", index=False)


def _write_scores(outcome: Outcome, material: Material, folder: Path) -> None:
    cohort, test = material.cohort, material.rows("test")
    thresholds = choose_thresholds(cohort.labels[material.rows("val")], outcome.val)
    scores = score(
        cohort.labels[test],
        outcome.test,
        material.patients("test"),
        label_names=cohort.label_names,
        no_finding=cohort.no_finding,
        thresholds=thresholds,
    )
    names = list(cohort.label_names)
    resampled = bootstrap(
        cohort.labels[test],
        outcome.test,
        material.patients("test"),
        material.counted,
        board_key=material.board_key,
        replicates=BOOTSTRAP_REPLICATES,
        no_finding_index=names.index(cohort.no_finding) if cohort.no_finding else None,
    )
    told = _told(scores, resampled)
    if not cohort.patients_known:
        told["patients"] = None
    write_json(folder / METRICS_FILE, told)
    replicates: dict[str, Any] = {name: getattr(resampled, name) for name in REPLICATES}
    np.savez_compressed(folder / BOOTSTRAP_FILE, **replicates)


def _told(scores: Scores, resampled: Bootstrap) -> dict[str, Any]:
    told = scores.to_json()
    for name in REPLICATES:
        low, high = percentile_interval(getattr(resampled, name))
        told[f"{name}_interval"] = None if np.isnan(low) else [low, high]
    return {
        **told,
        "bootstrap": {"replicates": BOOTSTRAP_REPLICATES, "redrawn": resampled.redrawn},
    }


def _write_encoder(path: Path, encoded: EncodedFeature) -> None:
    path.parent.mkdir(exist_ok=True)
    arrays: dict[str, Any] = {
        **encoded.fitted.arrays(),
        "standardised_mean": encoded.statistics.mean,
        "standardised_variance": encoded.statistics.variance,
    }
    np.savez_compressed(path, **arrays)
