"""The leaderboard as a result that every format shows: boards with scores, costs and conditions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from types import MappingProxyType
from typing import Any

import numpy as np

from cxrbench.boards.ablation import Ablation
from cxrbench.boards.ablation_tables import ablation_columns, ablation_records, ablation_section
from cxrbench.boards.board import ROW_COLUMNS, Board, Row
from cxrbench.boards.label_rows import LABEL_COLUMNS, LabelRow
from cxrbench.boards.literature import literature_json, literature_sections
from cxrbench.boards.saliency_columns import SALIENCY
from cxrbench.metrics.estimate import Estimate
from cxrbench.output.sections import (
    CellTable,
    Column,
    Section,
    count_of_parameters,
    counted,
    duration,
    interval,
    number,
    text_column,
)
from cxrbench.output.show import Shown
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.run import SkippedRun

_SCORING = {"calibration": "none", "thresholds": "youden"}  # with what is usual
_CONDITIONS = ("seeds", "protocol", "head", "weights", "trains", "on", *_SCORING)


@dataclass(frozen=True)
class Leaderboard(Shown):
    """Boards, with what each part adds (``ablations``) and published results (``literature``).

    A CSV has one kind of lines: what each part adds, or the labels with ``per_label``, or the rows.
    """

    boards: tuple[Board, ...]
    skipped: tuple[SkippedRun, ...] = ()
    per_label: bool = False
    ablations: tuple[Ablation, ...] | None = None
    literature: str = ""

    def sections(self) -> tuple[Section, ...]:
        """Two tables for each board, then what was asked for besides."""
        by_board = {one.board: one for one in self.ablations or ()}
        sections = [] if self.boards else [Section("There is no complete run yet", ())]
        for board in self.boards:
            sections += board_sections(board, per_label=self.per_label)
            sections += literature_sections(self.literature, board)
            if board.key in by_board:
                sections.append(ablation_section(by_board[board.key]))
        return (*sections, *literature_sections(self.literature))

    def to_json(self) -> dict[str, Any]:
        """The keys that docs/reference/leaderboard.md lists."""
        rows = {one.board: one.rows for one in self.ablations or ()}
        gains = [
            {} if self.ablations is None else {"ablation": rows[board.key]} for board in self.boards
        ]
        boards = [
            {**board.to_json(), **self._labels_of(board), **gain}
            for board, gain in zip(self.boards, gains, strict=True)
        ]
        skipped = [{"run": run.path.name, "reason": run.reason} for run in self.skipped]
        published = literature_json(self.literature, self.boards)
        return {"boards": boards, "skipped": skipped, **published}

    def _labels_of(self, board: Board) -> dict[str, Any]:
        return {"per_label": [row.columns() for row in board.per_label]} if self.per_label else {}

    @property
    def columns(self) -> Sequence[str]:
        """The columns of the CSV, before those of measures; for a CSV without lines."""
        if self.ablations is not None:
            return ablation_columns()
        return LABEL_COLUMNS if self.per_label else ROW_COLUMNS

    def records(self) -> list[Mapping[str, Any]]:
        """The lines of the CSV."""
        if self.ablations is not None:
            return ablation_records(self.ablations)
        rows: list[Row | LabelRow] = []
        for board in self.boards:
            rows += board.per_label if self.per_label else board.rows
        return [{**row.columns(), **_joined(row)} for row in rows]


def _joined(row: Row | LabelRow) -> dict[str, str]:
    """The lists of a row as a CSV has them."""
    lists = ("runs", *(("best_epochs", "epochs_trained") if isinstance(row, Row) else ()))
    texts = {name: ["" if v is None else str(v) for v in getattr(row, name)] for name in lists}
    return {name: " ".join(values) for name, values in texts.items()}


def _largest(name: str) -> Callable[[Row], float]:
    return lambda row: -np.nan_to_num(row.measures[name].value, nan=-np.inf)


def _smallest(name: str) -> Callable[[Row], float]:
    return lambda row: math.inf if getattr(row, name) is None else getattr(row, name)


ORDERS: Mapping[str, Callable[[Row], Any] | None] = MappingProxyType(
    {
        "macro": None,  # the order of a board
        "micro": _largest("micro_auroc"),
        "ap": _largest("mean_ap"),
        "recipe": lambda row: row.recipe,
        "parameters": _smallest("parameters"),
        "training": _smallest("train_seconds"),
        "latency": _smallest("latency_seconds"),
    }
)
"""Orders of rows: the best score first, or the lowest cost; unknown values come last."""


def sorted_boards(boards: Sequence[Board], order: str) -> tuple[Board, ...]:
    """The boards with their rows in one of `ORDERS`."""
    key = ORDERS[order]
    if key is None:
        return tuple(boards)
    return tuple(replace(board, rows=tuple(sorted(board.rows, key=key))) for board in boards)


def board_sections(board: Board, *, per_label: bool) -> tuple[Section, ...]:
    """What is shown of a board; with ``per_label`` the scores of each label are a section more."""
    tables = (_score_table(board), _cost_table(board), *_saliency_tables(board))
    scores = Section(board.title, tables, tuple(_notes(board)))
    if not per_label:
        return (scores,)
    rows = groupby(board.per_label, key=lambda row: row.runs)
    notes = ("*: not counted in macro. thresh.: the threshold, chosen on the validation split.",)
    labels = tuple(_label_table(tuple(labels)) for _, labels in rows)
    return (scores, Section("Scores of each label", labels, notes))


def _notes(board: Board) -> Iterator[str]:
    unit = "patients" if board.patients_known else "images"
    if same := _shared_conditions(board.rows):
        usual = {"weights": same.get("weights"), **_SCORING}
        values = ", ".join(
            f"{name} {text}" for name, text in same.items() if text != usual.get(name)
        )
        if values:
            yield f"All trained rows: {values}."
        if "weights" in same:
            yield f"Weights of all backbones: {same['weights']}."
    yield from _row_notes(board.rows)
    if board.hidden:
        yield (
            f"Not shown: {counted(len(board.hidden), 'control row')}; --controls shows "
            f"{'it' if len(board.hidden) == 1 else 'them'}."
        )
    not_counted = [label for label in board.labels if label not in board.labels_counted]
    if not_counted:
        yield (
            f"Not counted in macro (fewer than 5 test {unit} with or without the label): "
            f"{', '.join(not_counted)}."
        )
    yield from board.notes
    if any(row.saliency_method is not None for row in board.rows):
        yield (
            "Saliency: macro over labels with boxes. IoU uses the pixels with at least (≥) this "
            "share of the map's maximum. `cxrbench localise` shows each label."
        )
    yield f"[low, high]: 95 % bootstrap interval over {unit}{_seeds_note(board.rows)}"
    yield "Intervals: Wilson's score interval with the bootstrap variance and a t quantile."
    yield "findings: macro AUROC without No Finding."
    yield (
        "Rank = 1 + number of significantly better rows (paired bootstrap, t test, "
        "Holm-corrected). Rows of rank 1 are statistically tied for best."
    )
    if any(row.seeds == 1 and row.kind is RunKind.trained for row in board.rows):
        yield "The rank of a row with one seed compares that trained model, not its recipe."
    rows = sorted(board.rows, key=_largest("macro_auroc"))
    ranks = [row.rank for row in rows if row.rank is not None]
    if ranks != sorted(ranks):
        yield (
            "Ranks do not follow the order of scores here: a row whose score varies less can be "
            "significantly worse where a row with a lower score is not."
        )


def _row_notes(rows: Sequence[Row]) -> Iterator[str]:
    """What only some rows have: submissions, and parts that a linear head does not use."""
    submitted = [row.recipe for row in rows if row.kind is RunKind.submitted]
    if submitted:
        yield f"Submitted predictions: {', '.join(submitted)}."
    for row in rows:
        if row.unused_parts:
            yield (
                f"{row.recipe}: the linear head left out {', '.join(row.unused_parts)}. "
                "Cross-validation within the training split gave a lower AUROC with it."
            )


def _seeds_note(rows: Sequence[Row]) -> str:
    """What intervals say of other seeds: those of a row of one seed say nothing."""
    seeds = {row.seeds for row in rows if row.kind is not RunKind.prior}
    if seeds <= {1}:
        one = " One seed per row: seed-to-seed variation is not included; use --seeds 3."
        return f".{one}" if seeds else "."
    several = " and seed-to-seed variation. sd: standard deviation between seeds."
    return several + (
        " Rows with one seed do not include seed-to-seed variation." if 1 in seeds else ""
    )


def _score_table(board: Board) -> CellTable:
    seeds = any(row.seeds > 1 for row in board.rows)
    columns = (
        Column("rank"),
        text_column("recipe"),
        Column("macro AUROC"),
        *([Column("sd")] if seeds else []),
        Column("findings"),
        Column("micro AUROC"),
    )
    rows = (
        (
            "–" if row.rank is None else str(row.rank),
            row.recipe,
            interval(row.measures["macro_auroc"]),
            *([number(row.macro_auroc_sd, ".3f")] if seeds else []),
            number(row.measures["macro_auroc_findings"].value, ".3f"),
            interval(row.measures["micro_auroc"]),
        )
        for row in board.rows
    )
    return CellTable(columns, tuple(rows))


def _cost_table(board: Board) -> CellTable:
    shared = _shared_conditions(board.rows)
    rows = board.rows
    differing = [
        name
        for name in _CONDITIONS
        if name not in shared and any(condition(row, name) != "–" for row in rows)
    ]
    numbers = {
        "mean AP": [number(row.measures["mean_ap"].value, ".3f") for row in rows],
        "parameters": [count_of_parameters(row.parameters) for row in rows],
        "training": [_duration(row.train_seconds) for row in rows],
        "images/s": [number(row.images_per_second, ",.0f") for row in rows],
        "latency": [_latency(row.latency_seconds) for row in rows],
    }
    measured = {name: cells for name, cells in numbers.items() if set(cells) != {"–"}}
    texts = {name: [condition(row, name) for row in rows] for name in differing}
    columns = (text_column("recipe"), *map(Column, measured), *map(text_column, differing))
    cells = zip((row.recipe for row in rows), *measured.values(), *texts.values(), strict=True)
    return CellTable(columns, tuple(cells))


def _duration(seconds: float | None) -> str:
    return "–" if seconds is None else duration(seconds)


def _latency(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:,.0f} ms"


def _saliency_tables(board: Board) -> Iterator[CellTable]:
    """A table of scored saliency with what chance gives, if any row of the board has it."""
    lines: list[tuple[str, Iterable[Estimate], str]] = [
        (
            row.recipe,
            [row.measures[name] for name in SALIENCY],
            f"{row.saliency_method} ≥ {row.saliency_iou_threshold:g}",
        )
        for row in board.rows
        if row.saliency_method is not None
    ]
    if not lines:
        return
    lines += [
        (reference.name, reference.measures.values(), f"≥ {reference.iou_threshold:g}")
        for reference in board.saliency_references
    ]
    columns = (
        text_column("recipe"),
        *map(Column, ("hit rate", "energy", "IoU")),
        text_column("saliency"),
    )
    cells = ((name, *map(interval, estimates), how) for name, estimates, how in lines)
    yield CellTable(columns, tuple(cells))


def _shared_conditions(rows: Sequence[Row]) -> dict[str, str]:
    """What is the same in all trained rows that have it; said once, it leaves room."""
    trained = [row for row in rows if row.kind is RunKind.trained]
    texts = {name: {condition(row, name) for row in trained} - {"–"} for name in _CONDITIONS}
    return {name: values.pop() for name, values in texts.items() if len(values) == 1}


def condition(row: Row, name: str) -> str:
    """The text of a condition; a dash for rows that were not trained, or have no such thing."""
    if row.kind is not RunKind.trained:
        return str(row.seeds) if name == "seeds" and row.kind is not RunKind.prior else "–"
    if name == "seeds":
        return str(row.seeds)
    if name in ("weights", "trains") and row.conditions.image_size is None:
        return "–"  # there is no backbone
    if name in _SCORING:
        return row.conditions.scoring[name]
    return _computed_on(row) if name == "on" else str(getattr(row.conditions, name))


def _computed_on(row: Row) -> str:
    """Backend and device, and what else is not as usual."""
    run = row.conditions
    texts = [run.backend, run.device if run.devices == 1 else f"{run.devices} {run.device}s"]
    texts += [run.precision] if run.precision != "float32" else []
    texts += [run.engine] if run.engine != "keras" else []
    return " ".join(texts)


_LABEL_HEADS = {
    "accuracy": "acc.",
    "precision": "prec.",
    "recall": "recall",
    "f1": "F1",
}


def _label_table(rows: Sequence[LabelRow]) -> CellTable:
    cells = (
        (
            row.label if row.counted else f"{row.label} *",
            f"{row.positives} of {row.known}",
            number(row.scores["auroc"].value, ".3f"),
            number(row.scores["average_precision"].value, ".3f"),
            number(row.threshold, ".3f"),
            *(number(row.scores[name].value, ".3f") for name in _LABEL_HEADS),
        )
        for row in rows
    )
    heads = ("positives", "AUROC", "AP", "thresh.", *_LABEL_HEADS.values())
    recipe = Column(rows[0].recipe, is_text=True, least=18)
    return CellTable((recipe, *map(Column, heads)), tuple(cells))
