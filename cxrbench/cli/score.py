"""``cxrbench score``: score saved predictions again, without training."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cxrbench.cli.options import Format, PerLabel, complete_runs, takes


@takes("runs", "calibration", "thresholds")
def score(
    rows: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN…",
            autocompletion=complete_runs,
            help="Directories of complete runs, or recipes. A recipe stands for all its seeds.",
        ),
    ],
    *,
    output_format: Format,
    per_label: PerLabel = False,
    **options: Any,
) -> None:
    """Score the saved predictions of runs again, with other thresholds or another calibration."""
    from cxrbench.boards.board import boards
    from cxrbench.boards.leaderboard import Leaderboard
    from cxrbench.output.display import new_display
    from cxrbench.output.files import lock_of, locked
    from cxrbench.output.show import show
    from cxrbench.request import request_of
    from cxrbench.runs.assessment import scoring_of
    from cxrbench.runs.directory import RUN
    from cxrbench.runs.run import read_predicted, read_run
    from cxrbench.runs.scores import score_again
    from cxrbench.runs.selection import find_row

    request = request_of(options)
    scoring = scoring_of(request.calibration, request.thresholds)
    named = [find_row(text, request.runs, read=read_predicted) for text in rows]
    paths = list(dict.fromkeys(run.path for row in named for run in row))
    with new_display().task("scoring", len(paths)) as advance:
        for path in paths:
            with RUN.writing(path), locked([lock_of(path)]):
                score_again(path, scoring)
            advance()
    scored = boards([read_run(path) for path in paths], per_label=per_label)
    show(Leaderboard(scored, per_label=per_label), output_format)
