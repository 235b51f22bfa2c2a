"""Boards and plugins as rich tables, JSON or CSV on standard output."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from cxrbench.evaluation.leaderboard import Board, LabelRow, Row
    from cxrbench.registry import Plugin
    from cxrbench.runs import SkippedRun

# What a board needs where standard output is no terminal, so that a file of it is not cut.
_WIDTH_OF_A_FILE = 120

_CONDITIONS = ("seeds", "protocol", "weights", "trains", "on")


def print_boards(
    boards: Sequence[Board], skipped: Sequence[SkippedRun], output: str, *, per_label: bool
) -> None:
    """Print boards as ``table``, ``json`` or ``csv``; the last two carry nothing else."""
    from cxrbench.evaluation.leaderboard import as_json

    if output == "json":
        print(json.dumps(as_json(boards, skipped, per_label=per_label), indent=2, allow_nan=False))
    elif output == "csv":
        _print_csv(boards, per_label=per_label)
        for run in skipped:
            print(f"left out: {run.reason}", file=sys.stderr)
    else:
        console = plain_console()
        for board in boards:
            _print_board(console, board, per_label=per_label)
        if not boards:
            console.print("no complete run yet")
        for run in skipped:
            console.print(f"left out: {run.reason}")


def print_plugins(plugins: Sequence[Plugin]) -> None:
    """Print one row for each plugin, and the whole error of each broken one below."""
    console = plain_console()
    table = Table("plugin", "provides", "package", "version", "state", box=box.SIMPLE_HEAD)
    for plugin in plugins:
        state = Text("ok") if plugin.error is None else Text("broken", style="red")
        provides = ", ".join(plugin.provides) or "–"
        table.add_row(plugin.name, provides, plugin.package, plugin.version, state)
    console.print(table)
    for plugin in plugins:
        if plugin.error is not None:
            console.print(f"{plugin.name} is broken: {plugin.error}")


def plain_console() -> Console:
    """Standard output; a file of it is not cut at the width of a terminal."""
    # Names, paths and errors are shown as they are, whatever brackets and colons they hold.
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    return Console(highlight=False, markup=False, emoji=False, width=width)


def _print_csv(boards: Sequence[Board], *, per_label: bool) -> None:
    from cxrbench.evaluation.leaderboard import column_names, columns_of

    columns = column_names(per_label=per_label)
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    for board in boards:
        for row in board.per_label if per_label else board.rows:
            writer.writerow({**columns_of(row), "runs": " ".join(row.runs)})


def _print_board(console: Console, board: Board, *, per_label: bool) -> None:
    unit = "patients" if board.patients_known else "images"
    patients = "unknown" if board.test_patients is None else f"{board.test_patients:,}"
    console.print(
        f"{board.test_images:,} test images of {patients} patients · "
        f"{len(board.labels_counted)} of {len(board.labels)} labels counted"
    )
    for table in (_score_table(board), _cost_table(board)):
        console.print()
        console.print(table)
    console.print()
    _print_saliency(console, board)
    if same := _shared_conditions(board.rows):
        console.print(
            "all rows but prior: " + ", ".join(f"{name} {text}" for name, text in same.items())
        )
    left_out = [label for label in board.labels if label not in board.labels_counted]
    if left_out:
        console.print(
            f"not counted in macro (fewer than 5 test {unit} with or without): "
            f"{', '.join(left_out)}"
        )
    for note in board.notes:
        console.print(note)
    console.print(
        f"[low, high]: 95 % over {unit}{_told_of_seeds(board.rows)}. "
        "findings: macro without No Finding. "
        "Rank: 1 + the rows that are significantly better (paired, Holm), so no row is shown to be "
        "better than those of rank 1."
    )
    if per_label:
        console.print("\n*: not counted in macro. cut: the threshold, chosen on val.")
        for _, rows in groupby(board.per_label, key=lambda row: row.runs):
            console.print()
            console.print(_label_table(tuple(rows)))


def _print_saliency(console: Console, board: Board) -> None:
    """Print a table of scored saliency, if any row of the board has it."""
    scored = [row for row in board.rows if row.saliency_method is not None]
    if not scored:
        return
    table = _table("recipe", "saliency", "hit rate", "energy", "IoU")
    for row in scored:
        cells = (
            _interval(row.saliency_hit_rate, row.saliency_hit_rate_low, row.saliency_hit_rate_high),
            _interval(row.saliency_energy, row.saliency_energy_low, row.saliency_energy_high),
            _interval(row.saliency_iou, row.saliency_iou_low, row.saliency_iou_high),
        )
        table.add_row(row.recipe, f"{row.saliency_method} ≥ {row.saliency_iou_threshold:g}", *cells)
    for told in board.saliency_references:
        table.add_row(
            told.name,
            f"≥ {told.iou_threshold:g}",
            _interval(told.hit_rate, told.hit_rate_low, told.hit_rate_high),
            _interval(told.energy, told.energy_low, told.energy_high),
            _interval(told.iou, told.iou_low, told.iou_high),
        )
    console.print(table)
    console.print()
    console.print(
        "saliency: against boxes, macro over labels with boxes; IoU of what has at least (≥) this "
        "share of the map's maximum. Per label: `cxrbench localise`"
    )


def _told_of_seeds(rows: Sequence[Row]) -> str:
    """What intervals hold of seeds: those of a row of one seed hold nothing of another."""
    seeds = {row.seeds for row in rows if row.protocol != "none"}
    if seeds <= {1}:
        return ", of one seed each: what another would change is not in them" if seeds else ""
    alone = "; of a row of one seed, what another would change is not" if 1 in seeds else ""
    return f" and seeds (sd: over seeds{alone})"


def _score_table(board: Board) -> Table:
    names = ["rank", "recipe", "macro AUROC", "sd", "findings", "micro AUROC"]
    seeds = any(row.macro_auroc_sd is not None for row in board.rows)
    table = _table(*(name for name in names if seeds or name != "sd"))
    for row in board.rows:
        table.add_row(
            "–" if row.rank is None else str(row.rank),
            row.recipe,
            _interval(row.macro_auroc, row.macro_auroc_low, row.macro_auroc_high),
            *([_number(row.macro_auroc_sd, ".3f")] if seeds else []),
            _number(row.macro_auroc_findings, ".3f"),
            _interval(row.micro_auroc, row.micro_auroc_low, row.micro_auroc_high),
        )
    return table


def _cost_table(board: Board) -> Table:
    shared = _shared_conditions(board.rows)
    varying = [name for name in _CONDITIONS if name not in shared]
    table = _table("recipe", "mean AP", "parameters", "training", "images/s", *varying)
    for row in board.rows:
        table.add_row(
            row.recipe,
            _number(row.mean_ap, ".3f"),
            _parameters(row.parameters),
            "–" if row.train_seconds is None else _duration(row.train_seconds),
            _number(row.images_per_second, ",.0f"),
            *(_condition(row, name) for name in varying),
        )
    return table


def _table(*columns: str) -> Table:
    """A table whose recipe and conditions fold where it is too wide, and whose numbers do not."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in columns:
        if name in ("recipe", *_CONDITIONS):
            table.add_column(name, overflow="fold", min_width=max(len(name), 7))
        else:
            table.add_column(name, justify="right", no_wrap=True)
    return table


def _shared_conditions(rows: Sequence[Row]) -> dict[str, str]:
    """What is the same in all rows that look at images; said once, it leaves room."""
    looking = [row for row in rows if row.protocol != "none"]
    told = {name: {_condition(row, name) for row in looking} for name in _CONDITIONS}
    return {name: texts.pop() for name, texts in told.items() if len(texts) == 1}


def _condition(row: Row, name: str) -> str:
    if row.protocol == "none" and name != "seeds":
        return "–"
    return _computed_on(row) if name == "on" else str(getattr(row, name))


def _computed_on(row: Row) -> str:
    """Backend and device, and what else is not as usual."""
    told = [row.backend, row.device if row.devices == 1 else f"{row.devices} {row.device}s"]
    told += [row.precision] if row.precision != "float32" else []
    told += [row.engine] if row.engine != "keras" else []
    return " ".join(told)


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f} [{_number(low, '.3f')}, {_number(high, '.3f')}]"


def _number(value: float | None, spec: str) -> str:
    return "–" if value is None else format(value, spec)


def _parameters(count: int | None) -> str:
    if count is None:
        return "–"
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f} min {rest:.0f} s" if minutes else f"{rest:.1f} s"


def _label_table(rows: Sequence[LabelRow]) -> Table:
    scores = ("auroc", "average_precision", "threshold", "accuracy", "precision", "recall", "f1")
    heads = ("AUROC", "AP", "cut", "acc.", "prec.", "recall", "F1")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(rows[0].recipe, overflow="fold", min_width=18)
    for name in ("positives", *heads):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        label = row.label if row.counted else f"{row.label} *"
        values = [
            _number({**row.scores, "threshold": row.threshold}[name], ".3f") for name in scores
        ]
        table.add_row(label, f"{row.positives} of {row.known}", *values)
    return table
