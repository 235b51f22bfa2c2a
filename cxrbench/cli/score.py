"""``cxrbench score``: score saved predictions again, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.cli.options import Format, PerLabel, complete_runs, takes


@takes(
    *("runs", "calibration", "thresholds"),
    seed="Score only this seed; it is then a row without the others. [default: all seeds]",
)
def score(
    rows: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN…",
            autocompletion=complete_runs,
            help="Directories of complete runs, or recipes. Each stands for all seeds of its row.",
        ),
    ],
    *,
    output_format: Format,
    per_label: PerLabel = False,
    **options: Any,
) -> None:
    """Score the saved predictions of runs again, with other thresholds or another calibration.

    All seeds of a row are scored alike. AUROC does not change.
    """
    from functools import cache

    from cxrbench.boards.board import boards
    from cxrbench.boards.rescoring import RescoredBoards, rescored_row
    from cxrbench.output.display import new_display
    from cxrbench.output.files import lock_of, locked
    from cxrbench.output.show import show
    from cxrbench.request import request_of
    from cxrbench.runs.assessment import scoring_of
    from cxrbench.runs.directory import STORED_RUN
    from cxrbench.runs.run import read_predicted, read_run, read_runs
    from cxrbench.runs.scores import score_again
    from cxrbench.runs.selection import find_row, only_run, with_other_seeds

    request = request_of(options)
    scoring = scoring_of(request.calibration, request.thresholds)
    # Each row looks at all runs. Those of a row are scored once, so what was read is as before.
    read, read_scored = cache(read_predicted), cache(read_run)
    named: dict[str, tuple[Path, ...]] = {}
    seed = options.get("seed")
    for text in rows:
        row = find_row(text, request.runs, read=read, scored_alike=False)
        row = with_other_seeds(row, read=read)
        if seed is not None:
            row = (only_run(row, text, seed),)
        named[row[0].conditions.row_key] = tuple(run.path for run in row)
    display, changes = new_display(), []
    with display.task("scoring", sum(map(len, named.values()))) as advance:
        for paths in named.values():
            complete = read_runs(paths[0].parent, read=read_scored)[0]
            # Not those whose scoring was interrupted.
            before = [run for run in complete if run.path in paths]
            for path in paths:
                with STORED_RUN.writing(path), locked([lock_of(path)]):
                    score_again(path, scoring)
                advance()
            changes.append(rescored_row(before, [read_run(path) for path in paths]))
    scored = boards(
        [read_run(path) for paths in named.values() for path in paths], per_label=per_label
    )
    result = RescoredBoards(scored, per_label=per_label, changes=tuple(changes))
    show(result, output_format)
