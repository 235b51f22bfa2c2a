"""``cxrbench submit``: add predictions of another program to the leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.cli.options import Format, PerLabel, takes


@takes(
    *("data", "fractions", "split_seed", "allow_overlap"),
    *("calibration", "thresholds", "runs", "cache"),
    seed="Seed of the model, if several seeds are submitted one by one. [default: 0]",
    force="Replace predictions of the same name and seed.",
)
def submit(  # noqa: PLR0913 - each argument is an option of the command
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the row on the leaderboard.")
    ],
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS",
            help="CSV file: one row per test image, one column of probabilities per label.",
        ),
    ],
    split: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="How to split: patient, official, official:DIR, lists:DIR, or predictions (the "
            "images with predictions are the test split).",
        ),
    ] = "patient",
    val: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Predictions for the validation images; needed for thresholds and calibration.",
        ),
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Column of image names. \\[default: recognised]"),
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Prefix of the label columns, such as prob_. \\[default: recognised]",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Ignore this column, because it is not a label; repeatable."
        ),
    ] = None,
    parameters: Annotated[
        int | None,
        typer.Option(min=0, max=10**15, metavar="N", help="Number of parameters of the model."),
    ] = None,
    *,
    output_format: Format,
    per_label: PerLabel = False,
    **options: Any,
) -> None:
    """Score predictions of another program, and add them to the leaderboard as a row.

    Only the label table of the data is needed; no image is read.
    """
    from cxrbench.boards.board import boards
    from cxrbench.boards.leaderboard import Leaderboard
    from cxrbench.experiment.submission import Submission, submit
    from cxrbench.output.display import progress
    from cxrbench.output.show import show
    from cxrbench.registry import load_registry
    from cxrbench.request import request_of
    from cxrbench.runs.assessment import scoring_of
    from cxrbench.runs.selection import read_board_runs

    request = request_of(options)
    submission = Submission(
        name=name,
        table=predictions,
        data=request.data,
        runs=request.runs,
        cache=request.cache,
        scoring=scoring_of(request.calibration, request.thresholds),
        force=request.force,
        val_table=val,
        split=split,
        seed=request.seed,
        parameters=parameters,
        image_column=image_column,
        prefix=prefix,
        ignore=tuple(ignore or ()),
        **request.settings,
    )
    with progress(lines_on_stdout=output_format is Format.table) as display:
        key = submit(submission, load_registry(), display)
    complete, _ = read_board_runs(request.runs)
    of_board = [run for run in complete if run.conditions.board_key == key]
    show(Leaderboard(boards(of_board, per_label=per_label), per_label=per_label), output_format)
