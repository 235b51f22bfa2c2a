"""A board as cells: scores, costs and conditions, and the scores of each label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from cxrbench.output.sections import (
    CellTable,
    Column,
    Section,
    count_of_parameters,
    duration,
    interval,
    number,
    text_column,
)
from cxrbench.runs.conditions import RunKind

if TYPE_CHECKING:
    from cxrbench.boards.leaderboard import Board, LabelRow, Row

_CONDITIONS = ("seeds", "protocol", "weights", "trains", "on")


def board_sections(board: Board, *, per_label: bool) -> tuple[Section, ...]:
    """What is shown of a board; with ``per_label`` the scores of each label are a section more."""
    patients = "unknown" if board.test_patients is None else f"{board.test_patients:,}"
    title = (
        f"{board.test_images:,} test images of {patients} patients · "
        f"{len(board.labels_counted)} of {len(board.labels)} labels counted"
    )
    tables = (_score_table(board), _cost_table(board), *_saliency_tables(board))
    scores = Section(title, tables, tuple(_notes(board)))
    if not per_label:
        return (scores,)
    return (
        scores,
        Section(
            "*: not counted in macro. cut: the threshold, chosen on val.",
            tuple(
                _label_table(tuple(rows))
                for _, rows in groupby(board.per_label, key=lambda row: row.runs)
            ),
        ),
    )


def _notes(board: Board) -> Iterator[str]:
    unit = "patients" if board.patients_known else "images"
    if same := _shared_conditions(board.rows):
        yield "all rows but prior: " + ", ".join(f"{name} {text}" for name, text in same.items())
    left_out = [label for label in board.labels if label not in board.labels_counted]
    if left_out:
        yield (
            f"not counted in macro (fewer than 5 test {unit} with or without): "
            f"{', '.join(left_out)}"
        )
    yield from board.notes
    if any(row.saliency_method is not None for row in board.rows):
        yield (
            "saliency: against boxes, macro over labels with boxes; IoU of what has at least (≥) "
            "this share of the map's maximum. Per label: `cxrbench localise`"
        )
    yield (
        f"[low, high]: 95 % over {unit}{_told_of_seeds(board.rows)}. "
        "findings: macro without No Finding. "
        "Rank: 1 + the rows that are significantly better (paired, Holm), so no row is shown to be "
        "better than those of rank 1."
    )


def _told_of_seeds(rows: Sequence[Row]) -> str:
    """What intervals hold of seeds: those of a row of one seed hold nothing of another."""
    seeds = {row.seeds for row in rows if row.kind is not RunKind.prior}
    if seeds <= {1}:
        return ", of one seed each: what another would change is not in them" if seeds else ""
    alone = "; of a row of one seed, what another would change is not" if 1 in seeds else ""
    return f" and seeds (sd: over seeds{alone})"


def _score_table(board: Board) -> CellTable:
    seeds = any(row.macro_auroc_sd is not None for row in board.rows)
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
            interval(row.macro_auroc, row.macro_auroc_low, row.macro_auroc_high),
            *([number(row.macro_auroc_sd, ".3f")] if seeds else []),
            number(row.macro_auroc_findings, ".3f"),
            interval(row.micro_auroc, row.micro_auroc_low, row.micro_auroc_high),
        )
        for row in board.rows
    )
    return CellTable(columns, tuple(rows))


def _cost_table(board: Board) -> CellTable:
    shared = _shared_conditions(board.rows)
    varying = [name for name in _CONDITIONS if name not in shared and _is_told(board.rows, name)]
    timed = any(row.latency_seconds is not None for row in board.rows)
    numbers = ("mean AP", "parameters", "training", "images/s", *(["latency"] if timed else []))
    rows = (
        (
            row.recipe,
            number(row.mean_ap, ".3f"),
            count_of_parameters(row.parameters),
            "–" if row.train_seconds is None else duration(row.train_seconds),
            number(row.images_per_second, ",.0f"),
            *([_latency(row.latency_seconds)] if timed else []),
            *(condition(row, name) for name in varying),
        )
        for row in board.rows
    )
    columns = (text_column("recipe"), *map(Column, numbers), *map(text_column, varying))
    return CellTable(columns, tuple(rows))


def _latency(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:,.0f} ms"


def _saliency_tables(board: Board) -> Iterator[CellTable]:
    """A table of scored saliency with what chance gives, if any row of the board has it."""
    scored = [row for row in board.rows if row.saliency_method is not None]
    if not scored:
        return
    rows = [
        (
            row.recipe,
            f"{row.saliency_method} ≥ {row.saliency_iou_threshold:g}",
            interval(row.saliency_hit_rate, row.saliency_hit_rate_low, row.saliency_hit_rate_high),
            interval(row.saliency_energy, row.saliency_energy_low, row.saliency_energy_high),
            interval(row.saliency_iou, row.saliency_iou_low, row.saliency_iou_high),
        )
        for row in scored
    ]
    rows += [
        (
            told.name,
            f"≥ {told.iou_threshold:g}",
            interval(told.hit_rate, told.hit_rate_low, told.hit_rate_high),
            interval(told.energy, told.energy_low, told.energy_high),
            interval(told.iou, told.iou_low, told.iou_high),
        )
        for told in board.saliency_references
    ]
    named = (text_column("recipe"), text_column("saliency"))
    yield CellTable((*named, *map(Column, ("hit rate", "energy", "IoU"))), tuple(rows))


def _shared_conditions(rows: Sequence[Row]) -> dict[str, str]:
    """What is the same in all rows that look at images; said once, it leaves room."""
    looking = [row for row in rows if row.kind is not RunKind.prior]
    told = {name: {condition(row, name) for row in looking} for name in _CONDITIONS}
    return {
        name: texts.pop() for name, texts in told.items() if len(texts) == 1 and "–" not in texts
    }


def _is_told(rows: Sequence[Row], name: str) -> bool:
    return any(condition(row, name) != "–" for row in rows)


def condition(row: Row, name: str) -> str:
    """What a row says of a condition; the prior has none, and of a submission little is known."""
    if row.kind is RunKind.prior and name != "seeds":
        return "–"
    if row.kind is RunKind.submitted and name not in ("seeds", "protocol"):
        return "–"
    return _computed_on(row) if name == "on" else str(getattr(row, name))


def _computed_on(row: Row) -> str:
    """Backend and device, and what else is not as usual."""
    told = [row.backend, row.device if row.devices == 1 else f"{row.devices} {row.device}s"]
    told += [row.precision] if row.precision != "float32" else []
    told += [row.engine] if row.engine != "keras" else []
    return " ".join(told)


def _label_table(rows: Sequence[LabelRow]) -> CellTable:
    scores = ("auroc", "average_precision", "threshold", "accuracy", "precision", "recall", "f1")
    heads = ("AUROC", "AP", "cut", "acc.", "prec.", "recall", "F1")
    cells = (
        (
            row.label if row.counted else f"{row.label} *",
            f"{row.positives} of {row.known}",
            *(number({**row.scores, "threshold": row.threshold}[name], ".3f") for name in scores),
        )
        for row in rows
    )
    recipe = Column(rows[0].recipe, is_text=True, least=18)
    return CellTable((recipe, *map(Column, ("positives", *heads))), tuple(cells))
