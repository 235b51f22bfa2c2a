"""``cxrbench leaderboard``: the leaderboards of all complete runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cxrbench.cli.options import Format, Literature, PerLabel, takes


@takes("runs")
def leaderboard(
    *,
    output_format: Format,
    per_label: PerLabel = False,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Also show what each part adds.")
    ] = False,
    literature: Literature = False,
    **options: Any,
) -> None:
    """Print the leaderboards of all complete runs, one for each test set."""
    from cxrbench.boards.ablation import ablations
    from cxrbench.boards.board import boards
    from cxrbench.boards.leaderboard import Leaderboard
    from cxrbench.boards.literature import LITERATURE
    from cxrbench.output.display import new_display
    from cxrbench.output.show import show
    from cxrbench.request import request_of
    from cxrbench.runs.selection import read_board_runs

    complete, skipped = read_board_runs(request_of(options).runs, per_label=per_label)
    display = new_display()
    for run in skipped:
        display.say(f"left out: {run.reason}")
    leaderboard = Leaderboard(
        boards(complete, per_label=per_label),
        skipped,
        per_label=per_label,
        ablations=ablations(complete) if ablation else None,
        published=LITERATURE if literature else (),
    )
    show(leaderboard, output_format)
