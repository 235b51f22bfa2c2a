"""``cxrbench leaderboard``: the leaderboards of all complete runs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from cxrbench.cli.options import Format, Literature, PerLabel, takes

Sort = StrEnum("Sort", ["macro", "micro", "ap", "recipe", "parameters", "training", "latency"])
"""The keys of `cxrbench.boards.leaderboard.ORDERS`."""


@takes("runs")
def leaderboard(  # noqa: PLR0913 - each argument is an option of the command
    *,
    output_format: Format,
    per_label: PerLabel = False,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Also show what each part adds.")
    ] = False,
    literature: Literature = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compute all scores from the predictions again, and leave out runs whose scores "
            "differ.",
        ),
    ] = False,
    recipes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RECIPE",
            help="Show only rows with this recipe, where * is any text; repeatable.",
        ),
    ] = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Also rank control rows, such as permuted ones.")
    ] = False,
    sort: Annotated[
        Sort, typer.Option(metavar="|".join(Sort), help="Order of the rows.")
    ] = Sort.macro,
    **options: Any,
) -> None:
    """Print the leaderboards of all complete runs, one for each test set.

    With --recipes, ranks and corrected p-values are those among the rows shown.
    """
    from cxrbench.boards.ablation import ablations
    from cxrbench.boards.board import boards
    from cxrbench.boards.leaderboard import Leaderboard, sorted_boards
    from cxrbench.boards.literature import LITERATURE
    from cxrbench.output.display import new_display
    from cxrbench.output.show import show
    from cxrbench.request import request_of
    from cxrbench.runs.scores import verified
    from cxrbench.runs.selection import read_board_runs, with_recipes

    complete, skipped = read_board_runs(request_of(options).runs, per_label=per_label)
    display = new_display()
    if verify:
        complete, others = verified(complete, display)
        skipped += others
    for run in skipped:
        display.say(f"left out: {run.reason}")
    if recipes:
        complete = with_recipes(recipes, complete)
    leaderboard = Leaderboard(
        sorted_boards(boards(complete, per_label=per_label, controls=controls), sort),
        skipped,
        per_label=per_label,
        ablations=ablations(complete) if ablation else None,
        published=LITERATURE if literature else (),
    )
    show(leaderboard, output_format)
