"""Patient bootstrap at the size of NIH's official test list, beside scikit-learn in a loop.

Run it with ``OMP_NUM_THREADS=1 pytest benchmarks/test_bootstrap_speed.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from cxrbench.metrics.auroc import validation_scores
from cxrbench.metrics.bootstrap import bootstrap
from cxrbench.metrics.patients import counted_labels, patient_table
from cxrbench.metrics.resampling import board_resampler
from cxrbench.metrics.scores import score

IMAGES, PATIENTS, LABELS, MOST_IMAGES = 25_596, 2_797, 15, 184
SKLEARN_REPLICATES = 4


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of a test split, and the labels that count."""

    y_true: np.ndarray
    y_score: np.ndarray
    patient_ids: np.ndarray
    counted: np.ndarray


def _patient_sizes(rng: np.random.Generator) -> np.ndarray:
    """Images of each patient: 9.2 in the mean, 184 at most, most patients with very few."""
    share = rng.lognormal(sigma=1.3, size=PATIENTS)
    sizes: np.ndarray = np.clip(share / share.sum() * IMAGES, 1, MOST_IMAGES).astype(int)
    sizes[np.argmax(sizes)] = MOST_IMAGES
    while sizes.sum() != IMAGES:
        grow = sizes.sum() < IMAGES
        free = np.flatnonzero(
            (sizes < MOST_IMAGES) if grow else (sizes > 1) & (sizes < MOST_IMAGES)
        )
        chosen = rng.choice(free, min(len(free), abs(IMAGES - sizes.sum())), replace=False)
        sizes[chosen] += 1 if grow else -1
    return sizes


@pytest.fixture(scope="module")
def predictions() -> Predictions:
    """NIH-like: prevalences from 0.2 % to 54 %, a moderate signal, scores in float32."""
    rng = np.random.default_rng(0)
    patient_ids = np.repeat(np.arange(PATIENTS), _patient_sizes(rng)).astype(str)
    prevalence = np.append(np.geomspace(0.002, 0.2, LABELS - 1), 0.54)
    y_true = (rng.random((IMAGES, LABELS)) < prevalence).astype(np.float32)
    offset = np.log(prevalence / (1 - prevalence))
    logits = offset + y_true + rng.normal(size=y_true.shape)
    y_score = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return Predictions(y_true, y_score, patient_ids, counted_labels(y_true, patient_ids))


@pytest.mark.parametrize("replicates", [pytest.param(1000, id="1000-replicates")])
def test_cxrbench(benchmark: BenchmarkFixture, predictions: Predictions, replicates: int) -> None:
    """AUROC, AP and sensitivities of labels, macro and micro; sorting and drawing included."""
    result = benchmark.pedantic(  # type: ignore[no-untyped-call]
        bootstrap,
        (predictions.y_true, predictions.y_score, predictions.patient_ids, predictions.counted),
        {"board_key": "speed", "replicates": replicates, "no_finding_index": LABELS - 1},
        rounds=2,
        warmup_rounds=1,
    )
    assert np.isfinite(result.micro_auroc).all()


@pytest.mark.parametrize(
    "replicates", [pytest.param(SKLEARN_REPLICATES, id=f"{SKLEARN_REPLICATES}-of-1000-replicates")]
)
def test_sklearn_loop(
    benchmark: BenchmarkFixture, predictions: Predictions, replicates: int
) -> None:
    """AUROC and AP by scikit-learn; a few replicates, extrapolated in ``extra_info``."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    y_true, y_score = predictions.y_true, predictions.y_score
    table = patient_table(y_true, predictions.patient_ids)
    draws, _ = board_resampler("speed", table, predictions.counted).draw(0, replicates)

    def loop() -> list[list[float]]:
        rows = []
        for column in draws.T:
            weights, row = column[table.index], []
            pooled = np.repeat(weights, LABELS)
            for by_sklearn in (roc_auc_score, average_precision_score):
                macro = [
                    by_sklearn(y_true[:, label], y_score[:, label], sample_weight=weights)
                    for label in np.flatnonzero(predictions.counted)
                ]
                micro = by_sklearn(y_true.ravel(), y_score.ravel(), sample_weight=pooled)
                row += [float(np.mean(macro)), float(micro)]
            rows.append(row)
        return rows

    expected = benchmark.pedantic(loop, rounds=1)  # type: ignore[no-untyped-call]
    seconds = benchmark.stats.stats.mean if benchmark.stats else float("nan")
    benchmark.extra_info["extrapolated_seconds_for_1000"] = seconds / replicates * 1000
    ours = bootstrap(
        y_true,
        y_score,
        predictions.patient_ids,
        predictions.counted,
        board_key="speed",
        replicates=replicates,
    )
    found = np.column_stack(
        [
            *(ours.macro["auroc"], ours.micro["auroc"]),
            *(ours.macro["average_precision"], ours.micro["average_precision"]),
        ]
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_scores_of_a_test_split(benchmark: BenchmarkFixture, predictions: Predictions) -> None:
    """Everything that goes into metrics.json, without intervals."""
    result = benchmark(
        score,
        predictions.y_true,
        predictions.y_score,
        predictions.patient_ids,
        label_names=[f"label {number}" for number in range(LABELS)],
        no_finding=f"label {LABELS - 1}",
        thresholds=np.full(LABELS, 0.5),
    )
    assert 0.5 < result.macro["auroc"] < 1


def test_validation_scores_of_an_epoch(
    benchmark: BenchmarkFixture, predictions: Predictions
) -> None:
    """What each training epoch pays for its scores, were the validation split as large."""
    result = benchmark(validation_scores, predictions.y_true, predictions.y_score)
    assert 0.5 < result.macro_auroc < 1
