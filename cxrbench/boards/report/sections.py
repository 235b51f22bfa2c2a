"""The tables of a report: conditions, tests, labels, groups, calibration, time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from cxrbench.boards.board import Board
from cxrbench.boards.comparison import paired_difference
from cxrbench.boards.comparison_text import p_cell
from cxrbench.boards.figures.rows import row_names
from cxrbench.boards.label_rows import LabelRow
from cxrbench.metrics.estimate import Estimate
from cxrbench.metrics.measures import CALIBRATION, RANKING, THRESHOLDED
from cxrbench.metrics.ranking import SIGNIFICANCE, holm, pair_p_values
from cxrbench.output.sections import (
    CellTable,
    Column,
    Section,
    count_or_unknown,
    interval,
    number,
    text_column,
)
from cxrbench.runs import validation
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.run import SUBGROUPS_FILE, Run
from cxrbench.runs.selection import Seeds, row_scores

MOST_PAIRS = 45
"""The most pairs of rows that are shown; on larger boards only those with the first row."""


def conditions_section(board: Board, runs: Sequence[Run]) -> Section:
    # The prior has no conditions of its own.
    conditions = [run.conditions for run in runs if run.kind is not RunKind.prior]
    conditions = conditions or [run.conditions for run in runs]

    def values(name: str) -> str:
        different = {getattr(one, name) for one in conditions}
        return ", ".join(sorted("–" if value is None else str(value) for value in different))

    patients = count_or_unknown(board.test_patients)
    left_out = [name for name in board.labels if name not in board.labels_counted]
    rows = (
        ("dataset", values("dataset")),
        ("to cite", conditions[0].citation or "–"),
        ("fingerprint", values("fingerprint")),
        ("split", f"{values('split')} (seed {values('split_seed')})"),
        ("published lists", values("list_name")),
        ("SHA-256 of the lists", values("list_sha256")),
        ("SHA-256 of the split", values("split_hash")),
        ("test", f"{board.test_images:,} images of {patients} patients"),
        ("training images", values("train_images")),
        ("labels in macro", ", ".join(board.labels_counted) or "none"),
        ("other labels", ", ".join(left_out) or "none"),
        ("without predictions", ", ".join(board.labels_left_out) or "none"),
        ("protocol", values("protocol")),
        ("weights", values("weights")),
        ("computed on", f"{values('backend')}; {values('device')}; {values('precision')}"),
        ("calibration", ", ".join(sorted({one.scoring["calibration"] for one in conditions}))),
        ("thresholds", ", ".join(sorted({one.scoring["thresholds"] for one in conditions}))),
        ("board", board.key),
    )
    columns = (text_column("condition"), text_column("value"))
    return Section("", (CellTable(columns, rows),), board.notes)


def tests_sections(rows: Sequence[Seeds]) -> tuple[Section, ...]:
    """The tests of all pairs of rows, corrected together: the ranks of the board follow from them.

    ``rows`` are in the order of the board, the best first.
    """
    names = row_names(rows)
    pairs = list(combinations(range(len(rows)), 2))
    if not pairs:
        return (Section("", (), ("There is only one row, so there is nothing to compare.",)),)
    scores = [row_scores(row, ("macro_auroc",))["macro_auroc"] for row in rows]
    patients = rows[0][0].effective_patients("macro").of("auroc")
    corrected = holm(pair_p_values(scores, patients).tolist())
    significant = sum(p < SIGNIFICANCE for p in corrected)
    notes = [
        f"Significant after the correction: {significant} of {len(pairs)} pairs.",
        f"All {len(pairs)} pairs of the {len(rows)} rows are one family of tests, corrected by "
        "Holm's method. The ranks on the board follow from these tests. Nothing else in this "
        "report is a test: other intervals are not corrected for their number, unless stated.",
        "[low, high]: 95 % interval of A − B by Student's t, variance by paired patient bootstrap. "
        "p: two-sided, of the same t. minimum detectable: difference at a power of 80 %. Interval, "
        "p and minimum are not corrected.",
    ]
    shown = list(zip(pairs, corrected, strict=True))
    if len(pairs) > MOST_PAIRS:
        shown = shown[: len(rows) - 1]
        notes.append(f"Of these pairs, only those with {names[0]} are shown.")
    columns = (
        text_column("A"),
        text_column("B"),
        *map(Column, ("A − B, macro AUROC", "p", "Holm", "minimum detectable")),
    )
    cells = []
    for (a, b), p in shown:
        difference = paired_difference(scores[a], scores[b], patients)
        estimate = interval(difference.estimate, "+.3f")
        p_cells = (p_cell(difference.p), p_cell(p))
        cells.append((names[a], names[b], estimate, *p_cells, number(difference.detectable, ".3f")))
    return (Section("", (CellTable(columns, tuple(cells)),), tuple(notes)),)


_LONGEST_LABEL = 20
_HEADS = {
    "auroc": "AUROC",
    "average_precision": "AP",
    "sensitivity_at_90": "sens. at 90",
    "sensitivity_at_95": "sens. at 95",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "f1": "F1",
    "brier": "Brier",
    "ece": "ECE",
}


def labels_sections(board: Board) -> tuple[Section, ...]:
    priors = [row.runs for row in board.rows if row.kind is RunKind.prior]
    by_row: dict[tuple[str, ...], list[LabelRow]] = {}
    for row in board.per_label:
        if row.runs not in priors:  # 0.5 by construction
            by_row.setdefault(row.runs, []).append(row)
    return tuple(
        Section(
            labels[0].recipe,
            (
                _label_table(labels, RANKING),
                _label_table(labels, THRESHOLDED, decided=True),
                _label_table(labels, CALIBRATION),
            ),
        )
        for labels in by_row.values()
    )


def _label_table(
    rows: Iterable[LabelRow], measures: Sequence[str], *, decided: bool = False
) -> CellTable:
    """Measures with their intervals; ``decided`` shows thresholds in place of positives."""
    columns = (
        text_column("label", _LONGEST_LABEL),
        Column("threshold" if decided else "positives"),
        *(Column(_HEADS[name]) for name in measures),
    )
    cells = (
        (
            row.label if row.counted else f"{row.label} *",
            number(row.threshold, ".3g") if decided else f"{row.positives:,} of {row.known:,}",
            *(interval(row.scores[name]) for name in measures),
        )
        for row in rows
    )
    return CellTable(columns, tuple(cells))


def calibration_section(board: Board) -> Section:
    columns = (
        text_column("recipe"),
        text_column("calibration"),
        *map(Column, ("Brier, macro", "ECE, macro", "Brier, micro", "ECE, micro")),
    )
    rows = tuple(
        (
            row.recipe,
            row.conditions.scoring["calibration"],
            *(
                interval(row.measures[name])
                for name in ("macro_brier", "macro_ece", "micro_brier", "micro_ece")
            ),
        )
        for row in board.rows
    )
    return Section("", (CellTable(columns, rows),), ("Lower is better for both measures.",))


def time_section(rows: Sequence[Seeds]) -> Section:
    """Where the time of each row's first run went."""
    times = [row[0].conditions.seconds for row in rows]
    steps = list(dict.fromkeys(step for seconds in times for step in seconds))
    cells = tuple(
        (name, *(number(seconds.get(step), ",.1f") for step in steps))
        for name, seconds in zip(row_names(rows), times, strict=True)
    )
    columns = (text_column("recipe"), *(Column(f"{step}, s") for step in steps))
    note = (
        "Wall time by stage of the first seed, since the run was last started. Runs of one command "
        "share the stages start and prepare."
    )
    return Section("", (CellTable(columns, cells),) if steps else (), (note,) if steps else ())


_GROUP_MEASURES = {
    "auroc": "macro AUROC",
    "sensitivity_at_90": "sens. at 90",
    "recall": "recall",
    "specificity": "specificity",
    "brier": "Brier",
}


def group_sections(rows: Sequence[Seeds]) -> tuple[Section, ...]:
    """A section for each row but the prior: groups, gaps; of several seeds the first is shown.

    Raises
    ------
    RunError : a file of a run is missing, damaged or was changed after the run.
    """
    return tuple(
        _group_section(name, row)
        for name, row in zip(row_names(rows), rows, strict=True)
        if row[0].kind is not RunKind.prior
    )


def _group_section(name: str, row: Seeds) -> Section:
    attributes = _read_groups(row[0])
    seed = f" (seed {row[0].conditions.seed} of {len(row)} seeds)" if len(row) > 1 else ""
    lines = [line for one in attributes for line in _group_lines(one)]
    columns = (
        text_column("group"),
        Column("images"),
        Column("patients"),
        *map(Column, _GROUP_MEASURES.values()),
    )
    tables = (CellTable(columns, tuple(lines)),) if lines else ()
    return Section(name + seed, tables, tuple(_all_group_notes(row[0], attributes)))


def _read_groups(run: Run) -> list[dict[str, Any]]:
    attributes: list[dict[str, Any]] = run.read_json(SUBGROUPS_FILE, validation.SUBGROUPS)
    return attributes if run.has_intervals else [_without_intervals(one) for one in attributes]


def _without_intervals(value: Any) -> Any:
    """The same values without the bounds of an earlier version."""
    if isinstance(value, list):
        return [_without_intervals(one) for one in value]
    if not isinstance(value, dict):
        return value
    bounds = ("low", "high")
    return {key: None if key in bounds else _without_intervals(v) for key, v in value.items()}


def _group_lines(attribute: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            f"{attribute['attribute']}: {group['name']}",
            f"{group['images']:,}",
            f"{group['patients']:,}",
            *(_interval(group["macro"][name]) for name in _GROUP_MEASURES),
        )
        for group in attribute["groups"]
    ]


def _all_group_notes(run: Run, attributes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for attribute in attributes:
        yield from _group_notes(attribute, len(run.conditions.labels_counted))


def _group_notes(attribute: Mapping[str, Any], counted: int) -> list[str]:
    name, notes = attribute["attribute"], []
    gap = attribute["gaps"].get("macro_auroc")
    if gap is not None:
        notes.append(
            f"{name}: the largest gap in macro AUROC is {_interval(gap['difference'])}, between "
            f"{gap['higher']} (higher) and {gap['lower']}, {_labels_of_gap(attribute, counted)}."
        )
    if attribute["too_small"]:
        small = ", ".join(attribute["too_small"])
        notes.append(f"{name}: no label counts in {small}, which have too few patients.")
    if attribute["unknown"]:
        notes.append(f"{name}: unknown for {attribute['unknown']:,} test images.")
    return notes


def _labels_of_gap(attribute: Mapping[str, Any], counted: int) -> str:
    """Which labels a gap is on; one on few of them is not that of the board."""
    shared = attribute["counted"]
    if len(shared) == counted:
        return f"on the board's {counted} labels"
    names = ", ".join(shared)
    return f"on {len(shared)} of the board's {counted} labels, which every group has: {names}"


def _interval(values: Mapping[str, float | None]) -> str:
    bounds = (values[name] for name in ("value", "low", "high"))
    numbers = (math.nan if value is None else value for value in bounds)
    return interval(Estimate(*numbers))
