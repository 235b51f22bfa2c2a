"""``cxrbench submit``: anybody's predictions on the board."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import (
    Cache,
    Calibration,
    Data,
    Format,
    Json,
    OutputFormat,
    PerLabel,
    Runs,
    Thresholds,
    chosen_format,
)
from cxrbench.cli.run_options import fractions_of


def submit(  # noqa: PLR0913 - each argument is an option of the command
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the board calls the row.")],
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS",
            help="A CSV file: a row for each test image, a column of probabilities for each label.",
        ),
    ],
    data: Data = None,
    split: Annotated[
        str,
        typer.Option(
            help="patient, official, official:DIR, or predictions: the test split is the images "
            "that have predictions"
        ),
    ] = "patient",
    fractions: Annotated[str, typer.Option(help="Shares of train,val,test.")] = "0.7,0.1,0.2",
    split_seed: Annotated[int, typer.Option(help="The only thing that changes the split.")] = 0,
    val: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Predictions for the validation images, for thresholds and calibration.",
        ),
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column of images \\[default: found by its name]"),
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option(help="What stands before labels, as prob_ \\[default: found by itself]"),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A column that is no label's; repeatable."),
    ] = None,
    parameters: Annotated[
        int | None, typer.Option(min=0, help="How many the model has, for the table of costs.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of several seeds of one model, submitted one by one.")
    ] = 0,
    calibration: Calibration = None,
    thresholds: Thresholds = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace predictions of the same name and seed.")
    ] = False,
    runs: Runs = Path("runs"),
    cache: Cache = None,
    output: OutputFormat = Format.table,
    as_json: Json = False,
    per_label: PerLabel = False,
) -> None:
    """Score predictions that were made elsewhere, and put them on the board, marked external.

    The labels' table is enough: no image is read.
    """
    from cxrbench.boards.leaderboard import boards
    from cxrbench.boards.tables import print_boards
    from cxrbench.experiment.submission import Submission, submit
    from cxrbench.output.display import RichDisplay
    from cxrbench.registry import load_registry
    from cxrbench.runs.assessment import scoring_of
    from cxrbench.runs.run import read_runs
    from cxrbench.store.cache import cache_folder

    chosen = chosen_format(output, as_json)
    submission = Submission(
        name=name,
        table=predictions,
        data=data,
        runs=runs,
        cache=cache_folder(cache),
        scoring=scoring_of(calibration or "none", thresholds or "youden"),
        force=force,
        val_table=val,
        split=split,
        split_seed=split_seed,
        fractions=fractions_of(fractions),  # type: ignore[arg-type]
        seed=seed,
        parameters=parameters,
        image_column=image_column,
        prefix=prefix,
        ignore=tuple(ignore or ()),
    )
    table = chosen is Format.table
    with nullcontext() if table else redirect_stdout(sys.stderr):
        key = submit(submission, load_registry(), RichDisplay(lines_on_stdout=table))
    complete, _ = read_runs(runs)
    made = boards((run for run in complete if run.conditions.board_key == key), per_label=per_label)
    print_boards(made, (), chosen.value, per_label=per_label)
