"""Figures: what is drawn and written in them, and ugly input."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from cxrbench.boards.board import boards
from cxrbench.boards.figures import KINDS, all_figures, figure_count
from cxrbench.boards.figures.confusion import draw_co_occurrence, draw_confusion, draw_reliability
from cxrbench.boards.figures.curves import draw_precision_recall, draw_roc, row_curves
from cxrbench.boards.figures.forest import MOST_ROWS, draw_forest
from cxrbench.boards.figures.pareto import draw_pareto, front
from cxrbench.boards.figures.rows import (
    choose_rows,
    file_names,
    read_figure_row,
    row_names,
    whole_board,
)
from cxrbench.boards.figures.training import draw_training, read_history
from cxrbench.data.cohort import board_key
from cxrbench.errors import RunError
from cxrbench.metrics.calibration import calibrate
from cxrbench.metrics.curves import GRID
from cxrbench.metrics.estimate import UNDEFINED, Estimate
from cxrbench.output.files import file_digest
from cxrbench.runs.run import read_run


def title_of(figure):
    return " ".join(figure.get_suptitle().split())


def with_conditions(run, **changes):
    return replace(run, conditions=replace(run.conditions, **changes))


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


@pytest.fixture(scope="module")
def rows(grid):
    return choose_rows(["grid", "tinynet", "prior"], grid.runs)


@pytest.fixture(scope="module")
def board(grid, rows):
    return whole_board(rows, grid.runs)


@pytest.fixture(scope="module")
def first(rows):
    return read_figure_row(rows[0], "grid")


@pytest.fixture
def changed(first):
    """The row with other truth, scores or thresholds."""

    def change(*, y_true=None, **fields):
        test = first.test if y_true is None else replace(first.test, y_true=y_true)
        return replace(first, test=test, **fields)

    return change


def test_every_figure_of_every_row_with_what_it_was_scored_on(rows, board, recorder):
    made = dict(all_figures(rows, board, display=recorder))
    of_rows = [
        f"{kind}-{name}"
        for name in ("grid", "tinynet", "prior")
        for kind in ("training", "confusion", "co-occurrence", "reliability")
    ]
    expected = ["roc", "precision-recall", "forest", "pareto", *of_rows]
    for kind in ("training", "confusion", "co-occurrence"):
        expected.remove(f"{kind}-prior")
    assert list(made) == expected
    assert figure_count(rows) == len(made)
    assert "prior: no training curves: the run was not trained by cxrbench" in recorder.lines
    metrics = rows[0][0].metrics
    fingerprint = rows[0][0].conditions.fingerprint
    data = f"drawn ({fingerprint[:8]}) · patient split, seed 0 · "
    data += f"{metrics['images']} test images of {metrics['patients']} patients"
    for name, figure in made.items():
        assert data in " ".join(title_of(figure).split()), name
    (legend,) = made["roc"].legends
    assert [text.get_text() for text in legend.get_texts()] == ["grid", "tinynet", "prior"]
    assert title_of(made["confusion-grid"]).startswith("Confusion matrices · grid")


def test_the_prior_is_the_diagonal_and_the_prevalence(rows, recorder):
    prior = row_curves(read_figure_row(rows[2], "prior"), [0], recorder)
    (axes,) = draw_roc([prior], [0]).axes
    line = axes.lines[-1]
    assert line.get_xdata() == pytest.approx(line.get_ydata())
    (axes,) = draw_precision_recall([prior], [0]).axes
    prevalence = np.mean(prior.row.test.y_true[:, 0])
    assert axes.lines[-1].get_ydata() == pytest.approx(np.full(len(GRID), prevalence))


def test_a_curve_has_the_score_of_the_board_and_a_band(first, board, recorder):
    curves = row_curves(first, [0], recorder)
    (axes,) = draw_roc([curves], [0]).axes
    auroc = np.mean([run.labels[0]["auroc"] for run in first.runs])
    assert texts_of(axes) == [f"{auroc:.2f}"]
    assert np.trapezoid(curves.labels[0].roc.value, GRID) == pytest.approx(auroc, abs=0.01)
    assert len(axes.collections) == 1


def test_of_many_rows_the_first_has_the_band_and_those_that_cannot_be_told_apart_are_said(
    rows, board, recorder
):
    many = [
        tuple(with_conditions(run, row_key=f"{number}abcdef") for run in rows[1])
        for number in range(9)
    ]
    made = dict(all_figures(many, board, only=["roc"], display=recorder))
    assert "curves show the first 7 of 9 rows" in recorder.lines[-1]
    assert recorder.lines[-1].endswith("left out: tinynet (7abcde), tinynet (8abcde)")
    assert title_of(made["roc"]).endswith("over patients and seeds, of tinynet (0abcde)")


def test_a_label_with_one_class_is_a_note(changed, recorder):
    y_true = np.zeros_like(changed().test.y_true)
    y_true[:, 1] = 1
    row = row_curves(changed(y_true=y_true), [0, 1], recorder)
    without, with_it = draw_roc([row], [0, 1]).axes
    assert "all test images with a known value are without this label" in " ".join(
        texts_of(without)[0].split()
    )
    assert "all test images with a known value are with this label" in " ".join(
        texts_of(with_it)[0].split()
    )
    assert not without.lines


def test_a_label_without_threshold_is_a_note_and_an_empty_line(changed):
    thresholds = changed().thresholds.copy()
    thresholds[:, 0] = np.nan
    row = changed(thresholds=thresholds)
    none, some = draw_confusion(row, [0, 1]).axes
    assert texts_of(none)[0].startswith("no threshold")
    assert len(texts_of(some)) == 4
    _, decisions, _ = draw_co_occurrence(row, [0, 1]).axes
    assert texts_of(decisions) == [], "two labels, one of them undecided: nothing goes together"


def test_a_row_without_thresholds_has_no_figures_of_decisions(first, recorder):
    """As a submission without predictions for the validation split."""
    runs = []
    for run in first.runs:
        undecided = replace(run)
        # As if they had been read.
        undecided.__dict__["labels"] = [{**label, "threshold": None} for label in run.labels]
        runs.append(undecided)
    kinds = ["confusion", "co-occurrence", "reliability"]
    made = dict(all_figures([tuple(runs)], made_board(first), only=kinds, display=recorder))
    assert list(made) == ["reliability-grid"]
    assert figure_count([tuple(runs)], kinds) == 1
    assert recorder.lines[-2:] == [
        "grid: no confusion: the run has no thresholds",
        "grid: no co-occurrence: the run has no thresholds",
    ]


def test_confusion_counts_are_means_over_seeds_and_shares_of_a_truth(first):
    (axes,) = draw_confusion(first, [0]).axes
    cells = [text.split("\n") for text in texts_of(axes)]
    counts = [float(count) for count, _ in cells]
    y_true = first.test.y_true[:, 0]
    assert sum(counts[:2]) == (y_true == 0).sum()
    assert sum(counts[2:]) == (y_true == 1).sum()
    recall = np.mean([run.labels[0]["recall"] for run in first.runs])
    assert cells[3][1] == f"{100 * recall:.0f} %"


def with_calibration(row, calibration):
    """The row as if its seeds had been scored with this calibration."""
    runs = []
    for run in row.runs:
        metrics = {**run.metrics, "calibration": calibration.to_json()}
        scoring = {**run.conditions.scoring, "calibration": calibration.method}
        runs.append(replace(with_conditions(run, scoring=scoring), metrics=metrics))
    return replace(row, runs=tuple(runs))


def told_of(row, column):
    brier, ece = (row.label_mean(column, name) for name in ("brier", "ece"))
    return f"{row.test.label_names[column]}\nBrier {brier:.3f}\nECE {ece:.3f}"


def test_reliability_has_the_calibration_scores_of_the_run(first):
    (axes,) = draw_reliability(first, [0]).axes
    assert axes.get_title() == told_of(first, 0)


def test_a_calibrated_row_is_drawn_before_and_after(first):
    y_true, y_score = first.test.y_true, first.y_score[0]
    row = with_calibration(first, calibrate("isotonic", y_true, y_score))
    (before,) = draw_reliability(row, [0]).axes
    figure = draw_reliability(row, [0], calibrated=True)
    (after,) = figure.axes
    assert title_of(figure).startswith("Reliability after isotonic calibration · grid")
    # What is written of the run is of its calibrated scores alone.
    assert before.get_title() == row.test.label_names[0]
    assert after.get_title() == told_of(row, 0)
    points = after.containers[0].lines[0]
    assert sorted(points.get_xdata()) == list(points.get_xdata())
    one_seed = replace(row, runs=row.runs[:1], y_score=row.y_score[:1])
    (own,) = draw_reliability(one_seed, [0], calibrated=True).axes
    exact = own.containers[0].lines[0]
    assert exact.get_ydata() == pytest.approx(exact.get_xdata(), abs=0.1), "fitted on these images"
    made = dict(all_figures([row.runs], made_board(row), only=["reliability"]))
    assert list(made) == ["reliability-grid", "reliability-calibrated-grid"]
    assert figure_count([row.runs], ["reliability"]) == 2


def test_scores_that_are_all_0_are_drawn(first, recwarn):
    row = replace(first, y_score=np.zeros_like(first.y_score))
    (axes,) = draw_reliability(row, [0], calibrated=False).axes
    assert axes.get_xlim()[0] < 0 < axes.get_xlim()[1]
    assert not recwarn.list


def made_board(row):
    return boards(row.runs, per_label=False)[0]


def test_training_has_a_line_for_each_seed_and_marks_the_epoch_that_was_kept(rows):
    loss, _, auc = draw_training(rows[0], "grid").axes
    history = read_history(rows[0][0])
    assert loss.lines[0].get_ydata() == pytest.approx(history["loss"])
    marks = {tuple(line.get_xdata()) for line in auc.lines if line.get_marker() == "o"}
    assert marks == {(run.conditions.best_epoch,) for run in rows[0]}
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]


def test_a_damaged_history_is_refused(grid, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(grid.run_of("grid"), path)
    (path / "history.csv").write_text("epoch,loss\n1,much\n")
    with pytest.raises(RunError, match=r"history\.csv of the run 'run' is missing or was changed"):
        read_history(read_run(path))
    whole = (grid.run_of("grid") / "history.csv").read_bytes()
    head = whole.splitlines()[0]
    for content in (b"epoch,loss\n1,much\n", b"\xff\xfe", head, head + b"\n" + b"9" * 200_000):
        (path / "history.csv").write_bytes(content)
        info = json.loads((path / "run.json").read_text())
        info["files"]["history.csv"] = file_digest(path / "history.csv")
        (path / "run.json").write_text(json.dumps(info))
        with pytest.raises(RunError, match="is damaged"):
            read_history(read_run(path))


def test_each_row_has_files_of_its_own():
    long = "orb:nfeatures=1000+" * 8
    names = ["a b", "a_b", "A_B", "a_b-2", "orb", f"{long} (seed 0)", f"{long} (seed 1)"]
    files = file_names(names)
    assert len({name.lower() for name in files}) == len(names)
    assert (files[0], files[4]) == ("a_b", "orb")
    assert all(len(name) <= 104 and "/" not in name for name in files)


def test_the_forest_has_the_boards_numbers_and_marks_the_prior(board):
    macro, micro = draw_forest(board).axes
    seeds = {1: "", 2: " (2 seeds)"}
    assert [label.get_text().split("   ") for label in macro.get_yticklabels()] == [
        [row.recipe + seeds[row.seeds], str(row.rank)] for row in board.rows
    ]
    for axes, name in ((macro, "macro_auroc"), (micro, "micro_auroc")):
        told = [text for text in texts_of(axes) if text != "rank"]
        assert told == [f"{row.measures[name].value:.3f}" for row in board.rows]
    assert [line.get_xdata()[0] for line in macro.lines if line.get_marker() == "D"] == [0.5]


def test_a_forest_of_many_rows_keeps_the_prior_and_undefined_scores_are_told(board):
    other = next(row for row in board.rows if row.recipe != "prior")
    prior = next(row for row in board.rows if row.recipe == "prior")
    measures = {**other.measures, "macro_auroc": UNDEFINED}
    undefined = replace(other, measures=measures, rank=None)
    many = replace(board, rows=(undefined, *[other] * 99, prior))
    figure = draw_forest(many)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert (len(labels), labels[-1].split()[0]) == (MOST_ROWS, "prior")
    assert "without 41 lower rows" in title_of(figure)
    assert texts_of(figure.axes[0])[0] == "undefined"


def test_the_front_is_what_nothing_beats_at_its_cost_or_less():
    costs, scores = [3, 1, 2, 2, 4], [0.8, 0.6, 0.5, 0.7, 0.8]
    assert front(costs, scores) == [1, 3, 0]


@pytest.mark.parametrize("count", [3, 12, 40])
def test_names_of_a_pareto_plot_do_not_cover_each_other(board, count):
    rng = np.random.default_rng(count)
    other = next(row for row in board.rows if row.recipe != "prior")
    rows = [
        with_conditions(
            replace(
                other,
                measures={**other.measures, "macro_auroc": Estimate(0.6 + rng.random() / 10)},
                train_seconds=10 ** rng.uniform(1, 3),
                latency_seconds=10 ** rng.uniform(-2, 0),
            ),
            recipe=f"efficientnet+sift:words={words}",
            parameters=int(10 ** rng.uniform(5, 7)),
        )
        for words in range(count)
    ]
    figure = draw_pareto(replace(board, rows=tuple(rows)))
    figure.draw_without_rendering()
    for axes in figure.axes:
        # Of the words alone, without the lines to their points.
        boxes = [Text.get_window_extent(text) for text in axes.texts]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        assert axes.get_xscale() == "log"
    key = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    named = set().union(*map(texts_of, figure.axes))
    assert named == ({text.split()[0] for text in key} if key else {row.recipe for row in rows})


def test_a_pareto_plot_of_the_prior_alone_says_so(board):
    prior = [row for row in board.rows if row.recipe == "prior"]
    for axes in draw_pareto(replace(board, rows=tuple(prior))).axes:
        assert " ".join(texts_of(axes)[0].split()) == "not measured for any row"


def test_rows_of_one_recipe_get_names_of_their_own(rows):
    both, first = rows[0], rows[0][:1]
    other = tuple(with_conditions(run, row_key="abcdefgh") for run in first)
    key = both[0].conditions.row_key[:6]
    assert row_names([both, first]) == ("grid (seeds 0, 1)", "grid (seed 0)")
    assert row_names([both, other]) == (f"grid ({key})", "grid (abcdef)")


def test_three_test_patients_are_drawn_with_a_warning(grid, tmp_path, recorder):
    """No label counts, and most replicates lose a class: curves without bands, and no crash."""
    path = tmp_path / "runs" / "small"
    shutil.copytree(grid.run_of("grid"), path)
    table = pd.read_parquet(path / "predictions.parquet")
    test = table[table["split"] == "test"]
    few = test[test["patient"].isin(sorted(set(test["patient"]))[:3])]
    few.to_parquet(path / "predictions.parquet", index=False)
    info = json.loads((path / "run.json").read_text())
    metrics = json.loads((path / "metrics.json").read_text())
    truth = few[[f"y_true_{label}" for label in info["labels"]]].to_numpy()
    key = board_key(info["labels"], list(few["image"]), list(few["patient"]), truth)
    info |= {"labels_counted": [], "board_key": key}
    metrics |= {"images": len(few), "patients": 3}
    for name in ("macro_auroc", "macro_auroc_findings", "macro_average_precision"):
        metrics[name] = None
    (path / "metrics.json").write_text(json.dumps(metrics))
    for name in ("metrics.json", "predictions.parquet"):
        info["files"][name] = file_digest(path / name)
    (path / "run.json").write_text(json.dumps(info))
    rows = choose_rows([], tmp_path / "runs")
    made = dict(all_figures(rows, whole_board(rows, tmp_path / "runs"), display=recorder))
    assert len(made) == len(KINDS)
    assert recorder.lines[0].startswith("only 3 test patients: bands and intervals are wide")
    assert recorder.lines[1] == "no label counts in macro: all labels are drawn"
    assert len(made["roc"].axes) == len(rows[0][0].conditions.labels)
    assert all("*" in axes.get_title() for axes in made["roc"].axes)
    assert "3 patients" in title_of(made["roc"])
