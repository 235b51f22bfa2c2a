"""What hand-crafted features know of NIH films: logistic regression, five patient-wise folds.

    python benchmarks/feature_baseline.py FOLDER [RECIPE ...]

FOLDER has NIH's layout (a table and images). RECIPE names features only, with their parameters:
``orb``, ``sift:clahe=true``, ``orb+sift:encoding=vlad``. For each are printed the keypoints per
film and the mean macro AUROC, with its standard deviation over the folds: the row that a model on
the same features has to reach. Another seed for folds or words moves the mean by up to 0.02.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxrbench import Cohort
from cxrbench.builtin.nih import NIH
from cxrbench.recipe import parse_recipe
from cxrbench.registry import load_registry

if TYPE_CHECKING:
    from cxrbench.interfaces import FeatureExtractor
    from cxrbench.recipe import Feature

RECIPES = ("orb", "sift", "orb+sift", "orb:encoding=vlad", "sift:encoding=vlad")
FOLDS = 5
MIN_POSITIVE_PATIENTS = 5
REGULARISATION = 2.5
"""C of the logistic regression times the number of features, so that more features do not loosen
the penalty: C is 0.0098 for 256 visual words. With ORB, a tenth of it scores about 0.03 more, a
hundred times as much about 0.05 less.
"""


def extract(cohort: Cohort, extractor: FeatureExtractor) -> list[np.ndarray]:
    """Descriptors (n, d) of each film, which is read and resized here, apart from the package."""
    import cv2

    cv2.setNumThreads(1)

    def one(row: int) -> np.ndarray:
        film = cv2.imread(cohort.sources[row], cv2.IMREAD_GRAYSCALE)
        if film is None:
            raise SystemExit(f"{cohort.sources[row]} cannot be read")
        side = extractor.image_size or film.shape[0]
        film = cv2.resize(film, (side, side), interpolation=cv2.INTER_AREA)
        return extractor.extract(film, cohort.record(row)).descriptors

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, range(len(cohort))))


def folds(cohort: Cohort, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and test rows of each fold; no patient is in both."""
    from sklearn.model_selection import GroupKFold

    splitter = GroupKFold(FOLDS, shuffle=True, random_state=seed)
    return list(splitter.split(cohort.labels, groups=cohort.patient_ids))


def encode(
    descriptors: Sequence[np.ndarray], feature: Feature, train: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Feature vectors (N, D) of every film, from a codebook of the training films."""
    vectors = feature.extractor.vectors
    fitted = feature.encoder.fit(
        (vectors(descriptors[row]) for row in train),
        distance=feature.extractor.distance,
        seed=seed,
    )
    return np.stack([fitted.transform(vectors(found)) for found in descriptors])


def macro_auroc(
    features: np.ndarray, cohort: Cohort, train: np.ndarray, test: np.ndarray
) -> tuple[float, int]:
    """Macro AUROC on the test rows, and how many labels have enough positive patients to count."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # All components: a rotation, which the penalty does not see, and it saves VLAD minutes.
    inputs = make_pipeline(StandardScaler(), PCA(svd_solver="full"))
    x_train, x_test = inputs.fit_transform(features[train]), inputs.transform(features[test])
    scores = []
    for label in counted_labels(cohort, test):
        y_true = cohort.labels[:, label]
        model = LogisticRegression(C=REGULARISATION / features.shape[1], max_iter=1000)
        y_score = model.fit(x_train, y_true[train]).decision_function(x_test)
        scores.append(roc_auc_score(y_true[test], y_score))
    return float(np.mean(scores)), len(scores)


def counted_labels(cohort: Cohort, test: np.ndarray) -> list[int]:
    """Labels with at least five positive patients in the test rows."""
    patients = np.array(cohort.patient_ids)[test]
    positive = cohort.labels[test] == 1
    return [
        label
        for label in range(len(cohort.label_names))
        if len(set(patients[positive[:, label]])) >= MIN_POSITIVE_PATIENTS
    ]


def main() -> None:
    """Print a row per recipe."""
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    cohort = NIH(path=str(Path(sys.argv[1]))).load()
    registry = load_registry()
    found: dict[FeatureExtractor, list[np.ndarray]] = {}
    print(f"{'recipe':32} keypoints (min, 5 %, median)   macro AUROC  fold sd  labels")
    for text in sys.argv[2:] or RECIPES:
        features = parse_recipe(text, registry).features
        for feature in features:
            if feature.extractor not in found:
                found[feature.extractor] = extract(cohort, feature.extractor)
        scores, labels = [], []
        for train, test in folds(cohort):
            joined = np.hstack([encode(found[f.extractor], f, train) for f in features])
            score, count = macro_auroc(joined, cohort, train, test)
            scores.append(score)
            labels.append(count)
        counts = [[len(one) for one in found[f.extractor]] for f in features]
        told = "  ".join(
            f"{min(n)}, {np.quantile(n, 0.05):.0f}, {np.median(n):.0f}" for n in counts
        )
        print(
            f"{text:32} {told:30} {np.mean(scores):.3f}        {np.std(scores):.3f}    "
            f"{min(labels)}-{max(labels)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
