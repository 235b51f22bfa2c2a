"""Are the intervals and the paired test right? Simulated cohorts whose truth is known.

    python benchmarks/coverage.py [--cohorts 2000] [--patients 150] [--replicates 1000]

Each cohort has patients with one to many images (geometric, mean 3), five labels of 5 to 50 % that
a patient's images share to a degree, and two models of the same true AUROCs whose scores are alike
within a patient and between the models. For each, what the board would say: the patient bootstrap's
interval of macro and micro AUROC, the closed form's interval of each label, and the paired test of
the two models, which rejects a true null as often as it says. Beside it the interval of those who
resample images: too narrow. Truth is the AUROCs of a very large cohort.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from cxrbench.metrics.auroc import auroc, clustered_aurocs, label_auroc
from cxrbench.metrics.bootstrap import Bootstrap, bootstrap, percentile_interval
from cxrbench.metrics.patients import counted_labels
from cxrbench.metrics.ranking import paired_p_value

PREVALENCES = np.array([0.05, 0.1, 0.2, 0.3, 0.5])
EFFECTS = np.array([0.4, 0.8, 1.2, 0.6, 1.0])
TRUTH_PATIENTS = 400_000


@dataclass(frozen=True, eq=False)
class Cohort:
    """Truth (N, L), patients (N,), and scores (2, N, L) of two models that are equally good."""

    y_true: np.ndarray
    patients: np.ndarray
    y_score: np.ndarray


def simulate(rng: np.random.Generator, patients: int) -> Cohort:
    """Draw a cohort."""
    owner = np.repeat(np.arange(patients), rng.geometric(1 / 3, patients))
    images, labels = len(owner), len(PREVALENCES)
    # Whether an image has a label follows the patient's own liability, and chance.
    from scipy.stats import norm

    liability = 0.8 * rng.normal(size=(patients, labels))[owner] + 0.6 * rng.normal(
        size=(images, labels)
    )
    y_true = (liability < norm.ppf(PREVALENCES)).astype(np.float32)
    of_patient = rng.normal(size=(patients, labels))[owner]
    shared = rng.normal(size=(images, labels))
    y_score = np.stack(
        [
            EFFECTS * y_true
            + 0.6 * of_patient
            + 0.5 * shared
            + 0.3 * rng.normal(size=(patients, labels))[owner]
            + 0.5 * rng.normal(size=(images, labels))
            for _ in range(2)
        ]
    )
    return Cohort(y_true, owner, y_score)


@dataclass(frozen=True)
class Truth:
    """The AUROCs that intervals should cover."""

    labels: tuple[float, ...]
    micro: float


def truth() -> Truth:
    """From a cohort so large that its own error does not matter."""
    large = simulate(np.random.default_rng(0), TRUTH_PATIENTS)
    return Truth(
        tuple(label_auroc(large.y_true, large.y_score[0])),
        auroc(large.y_true.ravel(), large.y_score[0].ravel()),
    )


def judge(seed: int, known: Truth, patients: int, replicates: int) -> dict[str, float]:
    """What one cohort's intervals covered, and whether its test rejected."""
    cohort = simulate(np.random.default_rng((1, seed)), patients)
    ids = cohort.patients.astype(str)
    counted = counted_labels(cohort.y_true, ids)
    macro = float(np.mean(np.array(known.labels)[counted]))

    def resampled(model: int, owners: np.ndarray) -> Bootstrap:
        return bootstrap(
            cohort.y_true,
            cohort.y_score[model],
            owners,
            counted,
            board_key=str(seed),
            replicates=replicates,
        )

    ours = resampled(0, ids)
    by_image = resampled(0, np.arange(len(ids)).astype(str))
    estimates = [float(label_auroc(cohort.y_true, y)[counted].mean()) for y in cohort.y_score]
    p = paired_p_value(ours.macro_auroc, estimates[0], resampled(1, ids).macro_auroc, estimates[1])
    found = {
        "macro": _covers(percentile_interval(ours.macro_auroc), macro),
        "micro": _covers(percentile_interval(ours.micro_auroc), known.micro),
        "macro, images resampled": _covers(percentile_interval(by_image.macro_auroc), macro),
        "paired test rejects": float(p < 0.05),
    }
    for label, value in enumerate(known.labels):
        told = clustered_aurocs(
            cohort.y_true[:, label], cohort.y_score[:1, :, label], cohort.patients
        )
        reach = 1.96 * np.sqrt(told.covariance[0, 0])
        interval = (told.values[0] - reach, told.values[0] + reach)
        found[f"closed form, {PREVALENCES[label]:.0%}"] = _covers(interval, value)
    return found


def _covers(interval: tuple[float, float], value: float) -> float:
    return float(interval[0] <= value <= interval[1])


def table(rows: list[dict[str, float]]) -> Iterator[str]:
    """A line for each thing that was judged, with the error of the share itself."""
    for name in rows[0]:
        share = float(np.mean([row[name] for row in rows]))
        error = np.sqrt(share * (1 - share) / len(rows))
        yield f"{name:26} {share:7.1%} ± {error:.1%}"


def main() -> None:
    """Simulate, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=2000)
    parser.add_argument("--patients", type=int, default=150)
    parser.add_argument("--replicates", type=int, default=1000)
    given = parser.parse_args()
    judged = partial(judge, known=truth(), patients=given.patients, replicates=given.replicates)
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        rows = list(pool.map(judged, range(given.cohorts), chunksize=20))
    print(f"{given.cohorts:,} cohorts of {given.patients} patients: 95 % intervals that cover")
    for line in table(rows):
        print(line)


if __name__ == "__main__":
    main()
