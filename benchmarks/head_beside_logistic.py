"""cxrbench's head beside logistic regression on the same vectors and the same training images.

    python benchmarks/head_beside_logistic.py FOLDER [--split-seeds 5] [RECIPE ...]

FOLDER has NIH's layout; RECIPE names features only (``orb``, ``sift``, ``orb+sift`` by default).
For each are printed both macro AUROCs, over the same counted labels of the same test images, as
means over the split seeds, and their difference.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from cxrbench import run
from cxrbench.builtin.nih import NIH
from cxrbench.experiment.cohort import (
    PreparedCohort,
    encode_feature,
    load_and_split,
    prepare_cohort,
)
from cxrbench.experiment.plans import Plan, make_plans, preparation_for
from cxrbench.output.display import SilentDisplay
from cxrbench.registry import load_registry

RECIPES = ("orb", "sift", "orb+sift")
# Strengths to choose from: C times the number of features.
STRENGTHS = tuple(2.0**power for power in range(-9, 4))
FOLDS = 5


def logistic_macro(plan: Plan, data: PreparedCohort, cache: Path) -> float:
    """Macro AUROC of logistic regressions on the recipe's standardised feature vectors.

    One C serves all labels: the one with the best mean AUROC in cross-validation by patients,
    inside the training split.
    """
    from sklearn.model_selection import GroupKFold

    display = SilentDisplay()
    joined = np.hstack(
        [encode_feature(f, 0, data, cache, display).vectors for f in plan.recipe.features]
    )
    train, test = data.rows("train"), data.rows("test")
    labels = data.cohort.labels[:, data.test.counted]
    folds = list(GroupKFold(FOLDS).split(train, groups=data.patients("train")))

    def cross_validated(strength: float) -> float:
        return float(
            np.nanmean([macro(joined, labels, train[a], train[b], strength) for a, b in folds])
        )

    return macro(joined, labels, train, test, max(STRENGTHS, key=cross_validated))


def macro(
    joined: np.ndarray, labels: np.ndarray, train: np.ndarray, test: np.ndarray, strength: float
) -> float:
    """Mean AUROC on the rows ``test`` of regressions fitted on the rows ``train``."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scores = []
    for truth in labels.T:
        if len(set(truth[train])) < 2 or len(set(truth[test])) < 2:
            continue
        regression = LogisticRegression(C=strength / joined.shape[1], max_iter=1000)
        model = make_pipeline(StandardScaler(), regression)
        model.fit(joined[train], truth[train])
        scores.append(roc_auc_score(truth[test], model.decision_function(joined[test])))
    return float(np.mean(scores)) if scores else float("nan")


def one_split(folder: str, recipes: list[str], seed: int, work: Path) -> dict[str, list[float]]:
    """For each recipe the head's macro AUROC and that of the logistic regression."""
    cache = work / "cache"
    result = run(recipes, data=folder, runs=work / "runs", cache=cache, split_seed=seed)
    ours = {row["recipe"]: row["macro_auroc"] for row in result["boards"][0]["rows"]}
    dataset = NIH(path=folder)
    plans = [
        p
        for p in make_plans(recipes, load_registry(), {"split_seed": seed}, dataset)
        if p.recipe.features
    ]
    settings, display = plans[0].settings, SilentDisplay()
    data = prepare_cohort(
        load_and_split(dataset, settings, cache=cache, display=display),
        preparation_for(plans),
        max_bad=settings.max_bad,
        cache=cache,
        threads=2,
        display=display,
    )
    return {
        plan.recipe.text: [ours[plan.recipe.text], logistic_macro(plan, data, cache)]
        for plan in plans
    }


def main() -> None:
    """Print a row per recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--split-seeds", type=int, default=5)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "cxrbench-head")
    given = parser.parse_args()
    splits = [
        one_split(given.folder, given.recipes, s, given.work) for s in range(given.split_seeds)
    ]
    print(f"{'recipe':24} cxrbench (sd)    logistic (sd)    difference")
    for recipe in splits[0]:
        ours, theirs = np.array([split[recipe] for split in splits]).T
        print(
            f"{recipe:24} {ours.mean():.3f} ({ours.std():.3f})    "
            f"{theirs.mean():.3f} ({theirs.std():.3f})    {ours.mean() - theirs.mean():+.3f}"
        )


if __name__ == "__main__":
    main()
