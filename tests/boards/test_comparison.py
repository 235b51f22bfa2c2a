"""Two rows on the same images: what is said of them, against resampling and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxrbench.boards.comparison import Scored, compare, paired_difference
from cxrbench.metrics.auroc import label_auroc
from cxrbench.metrics.bootstrap import bootstrap
from cxrbench.metrics.intervals import SeedScores, spread_of_difference, t_quantile
from cxrbench.metrics.patients import patient_table, split_patients

LABELS = ("Rare", "Common", "Hernia")
COUNTED = np.array([True, True, False])


def cohort(patients=80, seed=0):
    """Truth and patients of a test split; Hernia is nowhere."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    y_true = (rng.random((len(owner), 3)) < [0.2, 0.5, 0.0]).astype(np.float32)
    y_true[::17, 1] = np.nan
    return y_true, np.array([f"p{i}" for i in owner])


def scored(name, y_true, patients, *, effect, seeds=1, noise=0):
    """A row whose scores know so much of the truth."""
    known = np.nan_to_num(y_true, nan=0.5)
    rng = np.random.default_rng(noise)
    y_score = effect * known + rng.normal(size=(seeds, *y_true.shape))
    runs = [bootstrap(y_true, y, patients, COUNTED, board_key="board") for y in y_score]
    from cxrbench.metrics.auroc import auroc, label_auroc

    return Scored(
        name=name,
        runs=tuple(f"{name}-{seed}" for seed in range(seeds)),
        y_score=y_score,
        macro=SeedScores(
            np.array([label_auroc(y_true, y)[COUNTED].mean() for y in y_score]),
            np.stack([run.macro_auroc for run in runs]),
        ),
        micro=SeedScores(
            np.array([auroc(y_true.ravel(), y.ravel()) for y in y_score]),
            np.stack([run.micro_auroc for run in runs]),
        ),
    )


def compared(a, b, y_true, patients):
    return compare(a, b, y_true, patients, label_names=LABELS, counted=COUNTED)


def test_a_better_row_is_found_and_both_ways_give_the_same():
    y_true, patients = cohort()
    good = scored("good", y_true, patients, effect=2.0)
    bad = scored("bad", y_true, patients, effect=0.1, noise=1)
    there, back = compared(good, bad, y_true, patients), compared(bad, good, y_true, patients)
    macro = there.macro_auroc
    assert macro.difference == pytest.approx(good.macro.mean - bad.macro.mean)
    assert 0 < macro.low < macro.difference < macro.high
    assert macro.p < 1e-6
    assert back.macro_auroc.difference == pytest.approx(-macro.difference)
    assert back.macro_auroc.p == pytest.approx(macro.p)
    assert back.labels[0].low == pytest.approx(-there.labels[0].high)
    assert (there.a, there.b, there.runs_a) == ("good", "bad", ("good-0",))
    assert (there.test_images, there.test_patients) == (len(y_true), 80)


def test_the_methods_of_its_intervals_are_named_once():
    y_true, patients = cohort()
    rows = (scored(name, y_true, patients, effect=1.0, noise=n) for n, name in enumerate("ab"))
    sections = compared(*rows, y_true, patients).sections()
    notes = " ".join(note for section in sections for note in section.notes)
    assert notes.count("95 %") == 1
    for method in (
        "by Student's t",
        "paired bootstrap (macro, micro)",
        "closed form for clustered",
    ):
        assert notes.count(method) == 1


def test_a_row_beside_itself():
    y_true, patients = cohort()
    row = scored("same", y_true, patients, effect=0.5)
    found = compared(row, row, y_true, patients)
    for difference in (found.macro_auroc, found.micro_auroc, *found.labels[:2]):
        assert (difference.difference, difference.p) == (0.0, 1.0)


def test_closed_form_and_bootstrap_agree_on_a_label():
    """One label alone is its own macro: two ways to the same standard error."""
    y_true, patients = cohort(300)
    only = np.array([True, False, False])
    rows = []
    for noise in (0, 1):
        y_score = np.random.default_rng(noise).normal(size=y_true.shape) + 0.8 * np.nan_to_num(
            y_true, nan=0.5
        )
        runs = bootstrap(y_true, y_score, patients, only, board_key="board", replicates=3000)
        own = SeedScores.alone(float(label_auroc(y_true, y_score)[0]), runs.macro_auroc)
        rows.append(Scored("r", ("r",), y_score[None], own, own))
    comparison = compare(*rows, y_true, patients, label_names=LABELS, counted=only)
    label, macro = comparison.labels[0], comparison.macro_auroc
    assert label.difference == pytest.approx(macro.difference)
    assert label.high - label.low == pytest.approx(macro.high - macro.low, rel=0.06)
    assert label.p == pytest.approx(macro.p, rel=0.3)


def test_seeds_that_scatter_widen_the_interval():
    y_true, patients = cohort()
    steady = scored("a", y_true, patients, effect=1.0, seeds=2)
    other = scored("b", y_true, patients, effect=0.6, noise=2)
    narrow = compared(steady, other, y_true, patients).macro_auroc
    values = steady.macro.mean + np.array([-0.2, 0.2])
    scattered = replace(steady, macro=SeedScores(values, steady.macro.replicates))
    wide = compared(scattered, other, y_true, patients).macro_auroc
    assert wide.difference == pytest.approx(narrow.difference)
    assert wide.low < narrow.low - 0.2
    assert wide.p > narrow.p
    assert wide.detectable > narrow.detectable


def test_holm_is_over_the_counted_labels_alone():
    y_true, patients = cohort()
    a = scored("a", y_true, patients, effect=1.0)
    b = scored("b", y_true, patients, effect=0.5, noise=3)
    rare, common, hernia = compared(a, b, y_true, patients).labels
    smaller, larger = sorted([rare, common], key=lambda row: row.p)
    assert smaller.p_holm == pytest.approx(min(1.0, 2 * smaller.p))
    assert larger.p_holm == pytest.approx(max(smaller.p_holm, larger.p))
    assert (hernia.counted, hernia.positives, hernia.known) == (False, 0, len(y_true))
    assert np.isnan((hernia.a, hernia.difference, hernia.low, hernia.p, hernia.p_holm)).all()
    assert common.known < len(y_true)


def test_the_smallest_difference_is_found_eight_times_in_ten():
    """A true difference of this size, estimated with the same error, is significant so often."""
    y_true, patients = cohort()
    a = scored("a", y_true, patients, effect=1.0)
    b = scored("b", y_true, patients, effect=1.0, noise=4)
    found = compared(a, b, y_true, patients).macro_auroc
    patients_of = split_patients(patient_table(y_true, patients), COUNTED).macro.of("auroc")
    spread = spread_of_difference(a.macro, b.macro, patients_of)
    rng = np.random.default_rng(0)
    drawn = found.detectable + spread.error * rng.normal(size=20000)
    # The standard error is estimated too, with its degrees of freedom.
    error = spread.error * np.sqrt(rng.chisquare(spread.freedom, 20000) / spread.freedom)
    reach = t_quantile(0.975, spread.freedom) * error
    assert np.mean(np.abs(drawn) > reach) == pytest.approx(0.8, abs=0.01)


def test_the_interval_of_a_difference_stays_between_minus_1_and_1():
    wild = np.array([0.0, 1.0] * 50)
    a, b = SeedScores.alone(0.9, wild), SeedScores.alone(0.2, wild[::-1])
    assert t_quantile(0.975, 1) * spread_of_difference(a, b, 2).error > 2
    difference = paired_difference(a, b, 2)
    assert (difference.low, difference.high) == (-1, 1)
