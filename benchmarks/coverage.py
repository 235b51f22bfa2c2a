"""Are the intervals and the tests right? Simulated cohorts whose truth is known.

    python benchmarks/coverage.py [--cohorts 1000] [--patients 97] [--giant] [--boards 200]

Each cohort has patients with one to many images (geometric, mean 3; with ``--giant`` one patient
has as many as all others) and nine labels of 1 to 50 %, which a patient's images share to a degree.
Scores are alike within a patient and between models.

Coverage: how often the 95 % interval of each measure holds the truth, beside that of the
percentiles of the same replicates. Truth comes from a very large cohort. Average precision depends
on how common a label is: its truth is taken at the test set's own prevalence (``population``: at
that of the large cohort). Single labels are grouped by their patients with the label.

Tests, on boards whose rows differ by chance alone: how often a false difference is reported by
``compare``'s labels (any, by Holm), by the ranks of ten models or recipes, and by an ablation of
three parts with controls. Recipes of three seeds differ between seeds (sd 0.012 in macro AUROC).

Gaps: how often the interval of the largest of several groups' differences excludes 0, where the
groups of two, three or four are drawn without regard to anything else.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from cxrbench.metrics.auroc import clustered_difference
from cxrbench.metrics.boxes import Localised, summarise
from cxrbench.metrics.intervals import (
    WITHOUT_INTERVAL,
    SeedScores,
    measure_interval,
    p_value,
    spread_of_difference,
)
from cxrbench.metrics.measures import MEASURES, RANKING, ranked
from cxrbench.metrics.patients import counted_labels, patient_table, split_patients
from cxrbench.metrics.ranking import SIGNIFICANCE, holm, ranks
from cxrbench.metrics.resampling import board_resampler
from cxrbench.metrics.scorers import Images, measure, resample, scorers_of
from cxrbench.runs.predictions import Predictions
from cxrbench.runs.subgroups import subgroups

PREVALENCES = np.array([0.01, 0.02, 0.03, 0.03, 0.05, 0.08, 0.12, 0.2, 0.5])
EFFECTS = np.array([1.4, 0.8, 1.2, 2.4, 1.0, 0.8, 1.2, 0.6, 1.0])
LABELS = len(PREVALENCES)
NOISE = 0.6**2 + 0.3**2 + 2 * 0.5**2
GROUPS = {"5 to 9": (5, 10), "10 to 19": (10, 20), "20 up": (20, 10**9)}
BETWEEN_SEEDS = 0.05
"""Of an effect, as a share; it gives macro AUROC a standard deviation of 0.012 between seeds."""

TRUTH_PATIENTS = 150_000


@dataclass(frozen=True, eq=False)
class Cohort:
    """Truth (N, L), patients (N,), and scores (R, S, N, L) of equally good rows."""

    y_true: np.ndarray
    owner: np.ndarray
    y_score: np.ndarray


def simulate(
    rng: np.random.Generator,
    patients: int,
    *,
    giant: bool = False,
    rows: int = 1,
    seeds: int = 1,
    between: float = 0.0,
) -> Cohort:
    """Draw a cohort; the true effects of the seeds differ by ``between``."""
    from scipy.stats import norm

    sizes = rng.geometric(1 / 3, patients)
    if giant:
        sizes[0] = sizes[1:].sum()
    owner = np.repeat(np.arange(patients), sizes)

    def noise(of_patient: float, of_image: float) -> np.ndarray:
        alike = rng.normal(size=(patients, LABELS))[owner]
        return of_patient * alike + of_image * rng.normal(size=alike.shape)

    y_true = (noise(0.8, 0.6) < norm.ppf(PREVALENCES)).astype(np.float32)
    shared = noise(0.6, 0.5)
    y_score = np.empty((rows, seeds, *y_true.shape))
    for row in y_score:
        own = noise(0.3, 0.35)
        for seed in row:
            effect = EFFECTS * (1 + between * rng.normal())
            seed[:] = effect * y_true + shared + own + noise(0.0, 0.5**0.5 * 0.5)
    return Cohort(y_true, owner, y_score)


def probability(y_score: np.ndarray) -> np.ndarray:
    """What a slightly miscalibrated model makes of scores (…, L)."""
    logit = np.log(PREVALENCES / (1 - PREVALENCES)) + EFFECTS * (y_score - EFFECTS / 2) / NOISE
    return 1 / (1 + np.exp(-0.9 * logit - 0.15))


class Truth:
    """What each measure is in a cohort so large that its own error does not matter."""

    def __init__(self) -> None:
        large = simulate(np.random.default_rng(0), TRUTH_PATIENTS)
        truth, score = large.y_true, probability(large.y_score[0, 0])
        self.prevalences = truth.mean(axis=0)
        columns = list(zip(truth.T, score.T, strict=True))
        edges = [np.unique(np.quantile(s[t == 1], np.linspace(0, 1, 3001))) for t, s in columns]
        self._own = [_falling(t, s, edge) for (t, s), edge in zip(columns, edges, strict=True)]
        pooled = np.unique(np.quantile(score[truth == 1], np.linspace(0, 1, 6001)))
        self._pooled = np.stack([_falling(t, s, pooled) for t, s in columns])
        self.thresholds = np.array(list(map(_youden, edges, self._own)))
        images = Images(truth, score, score, self.thresholds, np.zeros(len(truth), int), 1)
        whole = measure(scorers_of(images), np.ones((1, 1)))
        self._sums = {n: (whole.labels[n][:, 0], float(whole.micro[n][0])) for n in MEASURES}

    def of(self, prevalences: np.ndarray) -> dict[str, tuple[np.ndarray, float]]:
        """By measure, those of the labels (L,) and of all entries, with labels so common."""
        labels = [_ranking(own, p) for own, p in zip(self._own, prevalences, strict=True)]
        weights = np.stack([prevalences, 1 - prevalences], axis=1)[:, :, None]
        pooled = (self._pooled * weights).sum(axis=0)
        micro = _ranking(pooled / pooled.sum(axis=1, keepdims=True), float(prevalences.mean()))
        columns = zip(RANKING, np.transpose(labels), micro, strict=True)
        return self._sums | {name: (label, entry) for name, label, entry in columns}


def _falling(truth: np.ndarray, score: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Shares (2, K) of the positives and of the negatives between edges, high scores first."""
    bins = np.concatenate([[-1.0], edges, [2.0]])
    counts = [np.histogram(score[truth == value], bins)[0][::-1] for value in (1, 0)]
    return np.stack([count / count.sum() for count in counts])


def _youden(edges: np.ndarray, shares: np.ndarray) -> float:
    best = int(np.argmax(np.subtract(*np.cumsum(shares, axis=1))))
    return float(np.concatenate([[-1.0], edges])[::-1][best])


def _ranking(shares: np.ndarray, prevalence: float) -> list[float]:
    positives, negatives = shares
    hits, alarms = np.cumsum(positives), np.cumsum(negatives)
    half, called = hits - positives / 2, alarms - negatives / 2
    true = prevalence * half
    precision = true / np.maximum(true + (1 - prevalence) * called, 1e-300)
    sensitivities = [float(np.interp(false, alarms, hits)) for false in (0.1, 0.05)]
    return [float(negatives @ half), float(positives @ precision), *sensitivities]


@cache
def truth() -> Truth:
    """Computed once in each process."""
    return Truth()


def judge(seed: int, patients: int, giant: bool, replicates: int) -> list[tuple[str, str, bool]]:
    """(measure, group, method) of each interval of a cohort that holds the truth, or does not."""
    cohort = simulate(np.random.default_rng((1, seed)), patients, giant=giant)
    ids = cohort.owner.astype(str)
    table, counted = patient_table(cohort.y_true, ids), counted_labels(cohort.y_true, ids)
    score = probability(cohort.y_score[0, 0])
    images = Images(cohort.y_true, score, score, truth().thresholds, table.index, len(table))
    scorers, resampler = scorers_of(images), board_resampler(str(seed), table, counted)
    whole = measure(scorers, np.ones((len(table), 1)))
    (drawn,), _ = resample([scorers], resampler, replicates)
    own = truth().of(cohort.y_true.mean(axis=0))
    large = {"average_precision": truth().of(truth().prevalences)["average_precision"]}
    with_label = (table.positives > 0).sum(axis=0)
    groups = {int(label): _group(with_label[label]) for label in np.flatnonzero(counted)}
    patients_of = split_patients(table, counted)
    found: list[tuple[str, str, bool]] = []
    for suffix, known in (("", own), (", population", large)):
        for name in known:
            if name in WITHOUT_INTERVAL:
                continue
            labels, micro = known[name]
            defined = counted & np.isfinite(whole.labels[name][:, 0])
            judged = [
                (group, labels[label], scores, patients_of.labels[label])
                for label, group in groups.items()
                if defined[label]
                for scores in (_alone(whole.labels[name][label], drawn.labels[name][label]),)
            ]
            scores = _alone(whole.micro[name], drawn.micro[name])
            judged.append(("micro", micro, scores, patients_of.micro))
            if defined.any():
                scores = _alone(*(one.macro(counted, whole)[name] for one in (whole, drawn)))
                judged.append(("macro", labels[defined].mean(), scores, patients_of.macro))
            for group, value, scores, effective in judged:
                bounds = {
                    "": measure_interval(name, scores, effective.of(name)),
                    " percentile": _percentiles(scores.replicates),
                }
                found += [
                    (name + suffix, group + method, low <= value <= high)
                    for method, (low, high) in bounds.items()
                    if np.isfinite(low)
                ]
    return found


GAPS = ("macro_auroc", "macro_average_precision", "micro_auroc", "macro_recall", "macro_brier")
SHARES = {2: (0.5, 0.5), 3: (0.2, 0.3, 0.5), 4: (0.15, 0.2, 0.25, 0.4)}


def gaps(seed: int, patients: int, giant: bool, replicates: int) -> dict[str, bool]:
    """Which largest gaps between groups have an interval without 0; no group differs in truth."""
    rng = np.random.default_rng((4, seed))
    cohort = simulate(rng, patients, giant=giant)
    score, ids = probability(cohort.y_score[0, 0]), cohort.owner.astype(str)
    table, unknown = patient_table(cohort.y_true, ids), np.full(len(ids), "")
    images = Images(cohort.y_true, score, score, truth().thresholds, table.index, len(table))
    found = {}
    for groups, shares in SHARES.items():
        letters = np.array(list("ABCD"[:groups]))
        test = Predictions(
            image_ids=np.arange(len(ids)).astype(str),
            patients=ids,
            patients_known=True,
            label_names=tuple(map(str, range(LABELS))),
            no_finding=None,
            counted=counted_labels(cohort.y_true, ids),
            y_true=cohort.y_true,
            y_score=score,
            ages=np.full(len(ids), np.nan),
            sexes=rng.choice(letters, patients, p=shares)[cohort.owner],
            views=unknown,
        )
        (by_group,) = (
            one
            for one in subgroups(test, images, board_key=str(seed), replicates=replicates)
            if one.attribute == "sex"
        )
        for name in GAPS:
            gap = by_group.gaps.get(name)
            if len(by_group.groups) == groups and gap and np.isfinite(gap.difference.low):
                excludes = not gap.difference.low <= 0 <= gap.difference.high
                found[f"gap of {groups} groups, {name}"] = bool(excludes)
    return found


HIT_RATES = {"A": 0.1, "B": 0.3, "C": 0.5, "D": 0.8}


def judge_saliency(
    seed: int, patients: int, giant: bool, replicates: int
) -> list[tuple[str, str, bool]]:
    """The same of saliency, on boxes of four labels: uniform energies, and IoUs of a quarter."""
    from scipy.stats import norm

    rng = np.random.default_rng((3, seed))
    sizes = rng.geometric(0.7, patients)
    if giant:
        sizes[0] = sizes[1:].sum()
    alike = rng.normal(size=(patients, 2))
    scores = []
    for owner in np.repeat(np.arange(patients), sizes).tolist():
        hit, share = norm.cdf(0.7 * alike[owner] + 0.51**0.5 * rng.normal(size=2))
        label = str(rng.choice(list(HIT_RATES)))
        measures = (float(hit < HIT_RATES[label]), share, share**3)
        scores.append(Localised("", str(owner), label, measures, measures, measures, flat=False))
    found = summarise(scores, [], list(HIT_RATES), board_key=str(seed), replicates=replicates)
    counted = [one for one in found.labels if one.counted]
    rows = [(_group(one.patients), {one.label}, one.measures) for one in counted]
    rows.append(("macro", {one.label for one in counted}, found.macro))
    judged = []
    for group, labels, sources in rows:
        truths = {"hit_rate": np.mean([HIT_RATES[label] for label in labels]) if labels else 0.0}
        truths |= {"energy": 0.5, "iou": 0.25}
        for name, known in truths.items():
            estimate = sources["map"][name]
            if np.isfinite(estimate.low):
                holds = bool(estimate.low <= known <= estimate.high)
                judged.append((f"saliency {name}", group, holds))
    return judged


def _group(patients: int) -> str:
    return next(name for name, (low, up) in GROUPS.items() if low <= patients < up)


def _alone(whole: np.ndarray, drawn: np.ndarray) -> SeedScores:
    return SeedScores.alone(float(whole[0]), drawn)


def _percentiles(replicates: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(replicates, [0.025, 0.975])
    return float(low), float(high)


def errors(seed: int, patients: int, giant: bool, replicates: int) -> dict[str, bool]:
    """Which tests of one board report a difference between rows that are equally good."""
    found = {}
    for name, seeds, between in (
        ("one seed, models", 1, 0.0),
        ("one seed, recipes", 1, BETWEEN_SEEDS),
        ("three seeds, recipes", 3, BETWEEN_SEEDS),
    ):
        rng = np.random.default_rng((2, seed))
        cohort = simulate(rng, patients, giant=giant, rows=10, seeds=seeds, between=between)
        ids = cohort.owner.astype(str)
        counted = counted_labels(cohort.y_true, ids)
        if not counted.any():
            continue
        table = patient_table(cohort.y_true, ids)
        effective = split_patients(table, counted)
        weights, _ = board_resampler(str(seed), table, counted).draw(0, replicates)
        weights = np.column_stack([np.ones(len(table)), weights])
        kept = np.flatnonzero(counted)
        rows = [
            _row(cohort.y_true[:, kept], scores[..., kept], table.index, weights)
            for scores in cohort.y_score
        ]
        macro = effective.macro.of("auroc")
        found[f"{name}: ranks of ten"] = set(ranks(rows, macro)) != {1}
        found[f"{name}: macro AUROC of two"] = _p(rows[0], rows[1], macro) < SIGNIFICANCE
        gains = [_p(row, rows[0], macro) for row in rows[1:4]]
        beyond = [
            _p(row, control, macro) for row, control in zip(rows[1:4], rows[4:7], strict=True)
        ]
        found[f"{name}: ablation of three parts"] = min(holm(gains + beyond)) < SIGNIFICANCE
        a, b = cohort.y_score[:2]
        single = []
        for label in np.flatnonzero(counted):
            values_a, values_b, spread = clustered_difference(
                *(cohort.y_true[:, label], a[..., label], b[..., label]),
                *(ids, effective.labels[label].of("auroc")),
            )
            single.append(p_value(float(values_a.mean() - values_b.mean()), spread))
        found[f"{name}: any label of compare"] = min(holm(single)) < SIGNIFICANCE
    return found


def _row(
    y_true: np.ndarray, y_score: np.ndarray, owner: np.ndarray, weights: np.ndarray
) -> SeedScores:
    """Macro AUROC of the seeds (S, N, L); the first column of weights is the whole split."""

    def macro(scores: np.ndarray) -> np.ndarray:
        columns = zip(y_true.T, scores.T, strict=True)
        labels = [ranked(*column, owner, len(weights)).scores(weights)[0] for column in columns]
        mean: np.ndarray = np.mean(labels, axis=0)
        return mean

    seeds = np.stack(list(map(macro, y_score)))
    return SeedScores(seeds[:, 0], seeds[:, 1:])


def _p(a: SeedScores, b: SeedScores, patients: float) -> float:
    return p_value(a.mean - b.mean, spread_of_difference(a, b, patients))


def coverage_table(counts: Mapping[tuple[str, str], list[bool]]) -> Iterator[str]:
    """A line for each measure: the share of intervals that hold the truth, percentiles' after /."""
    groups = (*GROUPS, "micro", "macro")
    yield f"{'':30}" + "".join(f"{group:>14}" for group in groups)
    for measure_name in dict.fromkeys(name for name, _ in counts):
        cells = []
        for group in groups:
            shares = [counts.get((measure_name, group + end), []) for end in ("", " percentile")]
            cells.append(
                " / ".join(f"{100 * np.mean(s):.1f}" if len(s) > 29 else "–" for s in shares)
            )
        yield f"{measure_name:30}" + "".join(f"{cell:>14}" for cell in cells)


def _share(holds: Sequence[bool]) -> str:
    return f"{100 * np.mean(holds):.1f}" if len(holds) > 29 else "–"


def error_table(counts: Mapping[str, list[bool]]) -> Iterator[str]:
    """A line for each test, with the standard error of the share itself."""
    for name, rejected in counts.items():
        share = float(np.mean(rejected))
        yield f"{name:50} {share:7.1%} ± {np.sqrt(share * (1 - share) / len(rejected)):.1%}"


def main() -> None:
    """Simulate, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--boards", type=int, default=200)
    parser.add_argument("--patients", type=int, default=97)
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--giant", action="store_true")
    options = parser.parse_args()
    told = {name: getattr(options, name) for name in ("patients", "giant", "replicates")}
    covered, rejected = defaultdict(list), defaultdict(list)
    with ProcessPoolExecutor(options.processes) as pool:
        for judgement in (judge, judge_saliency):
            cohorts = pool.map(partial(judgement, **told), range(options.cohorts), chunksize=10)
            for name, group, holds in (one for judged in cohorts for one in judged):
                covered[name, group].append(holds)
        for tested in (errors, gaps):
            for tests in pool.map(partial(tested, **told), range(options.boards), chunksize=5):
                for name, rejects in tests.items():
                    rejected[name].append(rejects)
    giant = ", half of the images of one patient" if options.giant else ""
    print(f"{options.cohorts:,} cohorts of {options.patients} patients{giant}")
    print("95 % intervals that hold the truth, % / percentiles of the same replicates, %")
    for line in coverage_table(covered):
        print(line)
    print(f"\n{options.boards:,} boards of equal rows: false differences")
    for line in error_table(rejected):
        print(line)


if __name__ == "__main__":
    main()
