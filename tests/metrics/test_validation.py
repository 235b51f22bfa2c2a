"""The scores of an epoch against scikit-learn, and that they stay cheap to import."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as sk

from cxrbench.errors import DataError
from cxrbench.metrics.auroc import validation_scores

NAN = float("nan")


def test_agrees_with_sklearn():
    rng = np.random.default_rng(0)
    y_true = (rng.random((500, 3)) < [0.1, 0.5, 0.0]).astype(np.float32)
    y_score = np.round(rng.random((500, 3)) * 0.6 + 0.3 * y_true, 2).astype(np.float32)
    y_true[rng.random((500, 3)) < 0.2] = np.nan
    result = validation_scores(y_true, y_score)
    known = ~np.isnan(y_true)
    truth, values, predicted = y_true[known], y_score[known], y_score[known] >= 0.5
    per_label = [
        sk.roc_auc_score(y_true[known[:, label], label], y_score[known[:, label], label])
        for label in (0, 1)
    ]
    assert result.macro_auroc == pytest.approx(np.mean(per_label), abs=1e-9)
    assert result.labels == 2
    assert result.micro_auroc == pytest.approx(sk.roc_auc_score(truth, values), abs=1e-9)
    assert result.accuracy == pytest.approx(sk.accuracy_score(truth, predicted), abs=1e-9)
    assert result.precision == pytest.approx(sk.precision_score(truth, predicted), abs=1e-9)
    assert result.recall == pytest.approx(sk.recall_score(truth, predicted), abs=1e-9)


def test_undefined_is_nan():
    result = validation_scores(np.array([[0, NAN], [0, NAN]], np.float32), np.full((2, 2), 0.1))
    undefined = (result.macro_auroc, result.micro_auroc, result.precision, result.recall)
    assert all(math.isnan(value) for value in undefined)
    assert (result.accuracy, result.labels) == (1.0, 0)


def test_a_diverged_model_is_refused():
    with pytest.raises(DataError, match="use a smaller learning rate"):
        validation_scores(np.zeros((2, 1), np.float32), np.array([[0.5], [NAN]]))


def test_training_does_not_import_sklearn_or_scipy():
    program = (
        "import sys, numpy as np, cxrbench.metrics.auroc as v;"
        "import cxrbench.metrics.scores, cxrbench.metrics.bootstrap;"
        "v.validation_scores(np.eye(3, dtype='float32'), np.eye(3));"
        "print(sorted({'sklearn', 'scipy', 'pandas', 'keras'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert found.stdout.decode().strip() == "[]"
