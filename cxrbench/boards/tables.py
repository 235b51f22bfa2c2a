"""Boards on standard output, in the format that is asked for."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cxrbench.boards.ablation_tables import ablation_section, print_ablation_csv
from cxrbench.boards.cells import board_sections
from cxrbench.boards.literature import literature_section
from cxrbench.output.formats import WRITERS, print_section
from cxrbench.output.sections import Section
from cxrbench.output.show import plain_console

if TYPE_CHECKING:
    from cxrbench.boards.ablation import Ablation
    from cxrbench.boards.leaderboard import Board
    from cxrbench.boards.literature import Published
    from cxrbench.runs.run import SkippedRun


def print_boards(
    boards: Sequence[Board],
    skipped: Sequence[SkippedRun],
    output: str,
    *,
    per_label: bool,
    ablations: Sequence[Ablation] | None = None,
    published: Sequence[Published] = (),
) -> None:
    """Print boards as ``table``, ``json``, ``csv``, ``markdown``, ``html`` or ``latex``.

    All but the first carry nothing else. With ``ablations``, also what each part adds; a CSV has
    that instead of the rows, as it has the labels with ``per_label``. ``published`` results stand
    apart; a CSV, whose lines are rows of boards, has none of them.
    """
    if output == "json":
        told = _as_json(boards, skipped, per_label=per_label, ablations=ablations)
        if published:
            told = {**told, "literature": [asdict(one) for one in published]}
        print(json.dumps(told, indent=2, allow_nan=False))
    elif output == "csv":
        if ablations is None:
            _print_csv(boards, per_label=per_label)
        else:
            print_ablation_csv(ablations)
        _print_skipped(skipped)
    elif output == "table":
        console = plain_console()
        for section in _sections(boards, per_label, ablations, published):
            print_section(console, section)
        for run in skipped:
            console.print(f"left out: {run.reason}")
    else:
        sys.stdout.write(WRITERS[output](_sections(boards, per_label, ablations, published)))
        _print_skipped(skipped)


def _sections(
    boards: Sequence[Board],
    per_label: bool,
    ablations: Sequence[Ablation] | None,
    published: Sequence[Published],
) -> tuple[Section, ...]:
    apart = (literature_section(published),) if published else ()
    if not boards:
        return (Section("no complete run yet", ()), *apart)
    by_board = {one.board: one for one in ablations or ()}
    measured = tuple(
        section
        for board in boards
        for section in (
            *board_sections(board, per_label=per_label),
            *([ablation_section(by_board[board.key])] if board.key in by_board else []),
        )
    )
    return (*measured, *apart)


def _as_json(
    boards: Sequence[Board],
    skipped: Sequence[SkippedRun],
    *,
    per_label: bool,
    ablations: Sequence[Ablation] | None,
) -> dict[str, Any]:
    from cxrbench.boards.ablation import with_ablations
    from cxrbench.boards.leaderboard import as_json

    told: dict[str, Any] = as_json(boards, skipped, per_label=per_label)
    return told if ablations is None else with_ablations(told, ablations)


def _print_skipped(skipped: Sequence[SkippedRun]) -> None:
    for run in skipped:
        print(f"left out: {run.reason}", file=sys.stderr)


def _print_csv(boards: Sequence[Board], *, per_label: bool) -> None:
    from cxrbench.boards.leaderboard import column_names, columns_of

    columns = column_names(per_label=per_label)
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    for board in boards:
        for row in board.per_label if per_label else board.rows:
            writer.writerow({**columns_of(row), "runs": " ".join(row.runs)})
