"""``cxrbench leaderboard``: the boards of all complete runs."""

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
    """Print the boards of all complete runs; the rows of a board have the same test set."""
    from cxrbench.boards.ablation import ablations
    from cxrbench.boards.leaderboard import boards
    from cxrbench.boards.literature import LITERATURE
    from cxrbench.boards.tables import print_boards
    from cxrbench.runs.run import read_runs

    complete, skipped = read_runs(runs)
    chosen = chosen_format(output, as_json)
    result = boards(complete, per_label=per_label)
    gains = ablations(complete) if ablation else None
    print_boards(
        result,
        skipped,
        chosen.value,
        per_label=per_label,
        ablations=gains,
        published=LITERATURE if literature else (),
    )
