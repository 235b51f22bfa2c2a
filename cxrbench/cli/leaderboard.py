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
    literature: Literature = None,
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
    from cxrbench.notebook.functions import leaderboard as read_leaderboard
    from cxrbench.output.display import new_display
    from cxrbench.output.show import show
    from cxrbench.request import request_of

    result = read_leaderboard(
        request_of(options).runs,
        recipes=recipes or (),
        sort=sort,
        controls=controls,
        per_label=per_label,
        ablation=ablation,
        literature=literature or "",
        verify=verify,
        display=new_display(),
    )
    show(result, output_format)
