"""``cxrbench leaderboard``: the leaderboards of all complete runs."""

from __future__ import annotations

from pathlib import Path

from cxrbench.cli.options import (
    Ablation,
    Format,
    Json,
    Literature,
    OutputFormat,
    PerLabel,
    Runs,
    chosen_format,
)


def leaderboard(
    runs: Runs = Path("runs"),
    output: OutputFormat = Format.table,
    as_json: Json = False,
    per_label: PerLabel = False,
    ablation: Ablation = False,
    literature: Literature = False,
) -> None:
    """Print the leaderboards of all complete runs, one for each test set."""
    from cxrbench.boards.ablation import ablations
    from cxrbench.boards.board import boards
    from cxrbench.boards.leaderboard import Leaderboard
    from cxrbench.boards.literature import LITERATURE
    from cxrbench.output.display import RichDisplay
    from cxrbench.output.show import show
    from cxrbench.runs.run import read_runs

    complete, skipped = read_runs(runs)
    display = RichDisplay()
    for run in skipped:
        display.say(f"left out: {run.reason}")
    leaderboard = Leaderboard(
        boards(complete, per_label=per_label),
        skipped,
        per_label=per_label,
        ablations=ablations(complete) if ablation else None,
        published=LITERATURE if literature else (),
    )
    show(leaderboard, chosen_format(output, as_json))
