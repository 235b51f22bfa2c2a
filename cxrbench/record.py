"""Write what a run produced into its directory, in formats that need no cxrbench."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.data.metadata import write_metadata
from cxrbench.evaluation.assessment import Scoring, assess
from cxrbench.evaluation.predictions import predictions_of, write_predictions
from cxrbench.experiment import EncodedFeature, Outcome
from cxrbench.interfaces import Exclusion
from cxrbench.material import Material
from cxrbench.modeling.backend import load_keras
from cxrbench.modeling.history import Epoch
from cxrbench.runs import require_room
from cxrbench.scores import write_scores
from cxrbench.stages import Clock


def record(
    outcome: Outcome, material: Material, folder: Path, scoring: Scoring
) -> dict[str, float]:
    """Write everything but ``run.json``: history, splits, predictions, scores, encoders, model.

    Returns
    -------
    The seconds that it took to ``score`` and to ``save``.
    """
    clock = Clock()
    write_metadata(material.cohort, material.split, folder)
    excluded = (*material.cohort.excluded, *material.prepared.excluded)
    _write_csv(folder / "excluded.csv", [asdict(item) for item in excluded], fields(Exclusion))
    if outcome.training is not None:
        rows = [asdict(epoch) for epoch in outcome.training.history]
        _write_csv(folder / "history.csv", rows, fields(Epoch))
    test, val = (
        predictions_of(material.cohort, material.rows(part), y_score, material.counted)
        for part, y_score in (("test", outcome.test), ("val", outcome.val))
    )
    write_predictions(val, test, folder)
    clock.stop("save")
    assessment = assess(test, val, board_key=material.board_key, scoring=scoring)
    write_scores(assessment, folder, patients_known=material.cohort.patients_known)
    clock.stop("score")
    for name, encoded in outcome.encoders.items():
        _write_encoder(folder / "encoders" / f"{name}.npz", encoded)
    if outcome.model is not None:
        # HDF5 fails badly on a full disk: it is asked before. Two files of 4 bytes a number.
        require_room(folder, 9 * outcome.parameters)
        model = _uncompiled(outcome.model)
        model.save_weights(folder / "model.weights.h5")
        model.save(folder / "model.keras")
    clock.stop("save")
    return clock.laps


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


def _write_encoder(path: Path, encoded: EncodedFeature) -> None:
    path.parent.mkdir(exist_ok=True)
    arrays: dict[str, Any] = {
        **encoded.fitted.arrays(),
        "standardised_mean": encoded.statistics.mean,
        "standardised_variance": encoded.statistics.variance,
    }
    np.savez_compressed(path, **arrays)
