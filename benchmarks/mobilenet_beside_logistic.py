"""A probe of MobileNet beside logistic regression on the same embeddings and training images.

    python benchmarks/mobilenet_beside_logistic.py FOLDER WEIGHTS [--split-seeds 5]

FOLDER has NIH's layout; WEIGHTS are ImageNet's of MobileNet with a width of 0.25. The plugin
`cxrbench-mobilenet` has to be installed. For each split seed are printed both macro AUROCs, over
the same counted labels of the same test images, then means and their difference. The embeddings of
the logistic regression come from Keras' network and films read here, apart from the package.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from cxrbench import Cohort, run
from cxrbench.builtin.nih import NIH
from cxrbench.data.splits import Split, make_split
from cxrbench.metrics.patients import counted_labels

RECIPE = "mobilenet:alpha=0.25"
SIDE = 224
# C times the number of features, as in feature_baseline.py.
REGULARISATION = 2.5


def embeddings(cohort: Cohort, weights: str) -> np.ndarray:
    """Pooled maps (N, 256) by Keras alone, of films that are read and resized here."""
    import cv2
    import keras

    def one(row: int) -> np.ndarray:
        film = cv2.imread(cohort.sources[row], cv2.IMREAD_GRAYSCALE)
        if film is None:
            raise SystemExit(f"{cohort.sources[row]} cannot be read")
        return cv2.resize(film, (SIDE, SIDE), interpolation=cv2.INTER_AREA)

    with ThreadPoolExecutor() as pool:
        grey = np.stack(list(pool.map(one, range(len(cohort))))).astype(np.float32)
    network = keras.applications.MobileNet(
        (SIDE, SIDE, 3), alpha=0.25, include_top=False, weights=weights, pooling="avg"
    )
    colour = keras.applications.mobilenet.preprocess_input(grey[..., None].repeat(3, axis=-1))
    return network.predict(colour, verbose=0)


def logistic_macro(vectors: np.ndarray, cohort: Cohort, split: Split) -> float:
    """Macro AUROC of logistic regressions on standardised vectors, over the counted labels."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = split.rows("train"), split.rows("test")
    patients = [cohort.patient_ids[row] for row in test.tolist()]
    scores = []
    for label in np.flatnonzero(counted_labels(cohort.labels[test], patients)):
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=REGULARISATION / vectors.shape[1], max_iter=1000)
        )
        model.fit(vectors[train], cohort.labels[train, label])
        decision = model.decision_function(vectors[test])
        scores.append(roc_auc_score(cohort.labels[test, label], decision))
    return float(np.mean(scores))


def probe_macro(folder: str, weights: str, seed: int, work: Path) -> float:
    """Macro AUROC of cxrbench's probe on the split of this seed."""
    result = run(
        RECIPE,
        data=folder,
        runs=work / "runs",
        cache=work / "cache",
        protocol="probe",
        weights=f"mobilenet={weights}",
        split_seed=seed,
    )
    (macro,) = (r["macro_auroc"] for r in result["boards"][0]["rows"] if r["recipe"] == RECIPE)
    return float(macro)


def main() -> None:
    """Print a row per split seed, then the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("weights")
    parser.add_argument("--split-seeds", type=int, default=5)
    default = Path(tempfile.gettempdir()) / "cxrbench-mobilenet"
    parser.add_argument("--work", type=Path, default=default)
    given = parser.parse_args()
    cohort = NIH(path=given.folder).load()
    vectors = embeddings(cohort, given.weights)
    print("split seed    cxrbench    logistic")
    scores = []
    for seed in range(given.split_seeds):
        ours = probe_macro(given.folder, given.weights, seed, given.work)
        theirs = logistic_macro(vectors, cohort, make_split(cohort, None, seed=seed))
        scores.append((ours, theirs))
        print(f"{seed:10}{ours:12.3f}{theirs:12.3f}", flush=True)
    ours, theirs = np.array(scores).T
    print(
        f"mean (sd)  {ours.mean():.3f} ({ours.std():.3f}) {theirs.mean():.3f} ({theirs.std():.3f})"
    )
    print(f"difference {ours.mean() - theirs.mean():+.3f}")


if __name__ == "__main__":
    main()
