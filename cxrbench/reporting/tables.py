"""Boards and plugins as rich tables, JSON or CSV on standard output."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from cxrbench.evaluation.leaderboard import Board, Row
    from cxrbench.registry import Plugin
    from cxrbench.runs import SkippedRun

# What a board needs where standard output is no terminal, so that a file of it is not cut.
_WIDTH_OF_A_FILE = 200


def print_boards(
    boards: Sequence[Board], skipped: Sequence[SkippedRun], output: str, *, per_label: bool
) -> None:
    """Print boards as ``table``, ``json`` or ``csv``; the last two carry nothing else."""
    from cxrbench.evaluation.leaderboard import as_json

    if output == "json":
        print(json.dumps(as_json(boards, skipped, per_label=per_label), indent=2, allow_nan=False))
    elif output == "csv":
        _print_csv(boards, per_label=per_label)
    else:
        console = _console()
        for board in boards:
            _print_board(console, board, per_label=per_label)
        if not boards:
            console.print("no complete run yet")
        for run in skipped:
            console.print(f"left out: {run.reason}", markup=False)


def print_plugins(plugins: Sequence[Plugin]) -> None:
    """Print one row for each plugin, and the whole error of each broken one below."""
    console = _console()
    table = Table("plugin", "provides", "package", "version", "state")
    for plugin in plugins:
        state = "ok" if plugin.error is None else "[red]broken[/red]"
        provides = ", ".join(plugin.provides) or "–"
        table.add_row(plugin.name, provides, plugin.package, plugin.version, state)
    console.print(table)
    for plugin in plugins:
        if plugin.error is not None:
            console.print(f"{plugin.name} is broken: {plugin.error}", markup=False)


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE)


def _print_csv(boards: Sequence[Board], *, per_label: bool) -> None:
    from cxrbench.evaluation.leaderboard import LabelRow, Row

    columns = [field.name for field in fields(LabelRow if per_label else Row)]
    writer = csv.DictWriter(sys.stdout, ["board", *columns], lineterminator="\n")
    writer.writeheader()
    for board in boards:
        for row in board.per_label if per_label else board.rows:
            values = asdict(row)
            if "runs" in values:
                values["runs"] = " ".join(values["runs"])
            writer.writerow({"board": board.key, **values})


def _print_board(console: Console, board: Board, *, per_label: bool) -> None:
    findings = sum(label != "No Finding" for label in board.labels_counted)
    title = (
        f"{board.test_images:,} test images of {board.test_patients:,} patients · "
        f"{len(board.labels_counted)} of {len(board.labels)} labels counted"
    )
    table = Table(title=title, title_justify="left", caption_justify="left")
    for name in ("rank", "recipe"):
        table.add_column(name, no_wrap=name == "rank", overflow="fold")
    table.add_column("macro AUROC", justify="right", no_wrap=True)
    table.add_column(f"macro of {findings}", justify="right")
    table.add_column("micro AUROC", justify="right", no_wrap=True)
    for name in ("mean AP", "labels", "parameters", "training", "images/s", "seeds"):
        table.add_column(name, justify="right")
    for name in ("protocol", "weights", "trains", "on"):
        table.add_column(name, overflow="fold")
    for row in board.rows:
        table.add_row(*_cells(row))
    console.print(table)
    left_out = [label for label in board.labels if label not in board.labels_counted]
    if left_out:
        console.print(
            f"not counted in macro (fewer than 5 test patients with or without): "
            f"{', '.join(left_out)}",
            markup=False,
        )
    console.print(
        "[low, high]: 95 % over patients. Rank: 1 + the rows that are significantly better "
        "(paired, Holm); rows of one rank cannot be told apart.",
        markup=False,
    )
    if per_label:
        console.print(_label_table(board))


def _cells(row: Row) -> list[str]:
    spread = "" if row.macro_auroc_sd is None else f" ±{row.macro_auroc_sd:.3f}"
    macro = _interval(row.macro_auroc, row.macro_auroc_low, row.macro_auroc_high)
    return [
        "–" if row.rank is None else str(row.rank),
        row.recipe,
        macro + spread,
        _number(row.macro_auroc_findings, ".3f"),
        _interval(row.micro_auroc, row.micro_auroc_low, row.micro_auroc_high),
        _number(row.mean_ap, ".3f"),
        str(row.labels_counted),
        _parameters(row.parameters),
        "–" if row.train_seconds is None else _duration(row.train_seconds),
        _number(row.images_per_second, ",.0f"),
        str(row.seeds),
        row.protocol,
        row.weights,
        row.trains,
        "–" if row.backend == "none" else f"{row.backend} {row.device}",
    ]


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    return f"{_number(value, '.3f')} [{_number(low, '.3f')}, {_number(high, '.3f')}]"


def _number(value: float | None, spec: str) -> str:
    return "–" if value is None else format(value, spec)


def _parameters(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f} min {rest:.0f} s" if minutes else f"{rest:.1f} s"


def _label_table(board: Board) -> Table:
    names = ("auroc", "average_precision", "threshold", "accuracy", "precision", "recall", "f1")
    table = Table("recipe", "label", "counted", "positives", *names)
    for row in board.per_label:
        values = [_number(getattr(row, name), ".3f") for name in names]
        counted = "yes" if row.counted else "no"
        table.add_row(row.recipe, row.label, counted, f"{row.positives} of {row.known}", *values)
    return table
