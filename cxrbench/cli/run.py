"""``cxrbench run``: train and score recipes, then print their board."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import (
    Cache,
    Data,
    Format,
    Json,
    OutputFormat,
    PerLabel,
    Runs,
    Threads,
    chosen_format,
)

# None stands for "not given": the dataset's defaults come before the general ones.
_Text = str | None


def run(  # noqa: PLR0913 - each argument is an option of the command
    recipes: Annotated[
        list[str],
        typer.Argument(metavar="RECIPE…", help="Such as resnet, resnet+orb or orb:words=512+sift."),
    ],
    data: Data = None,
    runs: Runs = Path("runs"),
    cache: Cache = None,
    threads: Threads = None,
    split: Annotated[
        _Text, typer.Option(help="patient, official or official:DIR \\[default: patient]")
    ] = None,
    fractions: Annotated[
        _Text, typer.Option(help="Shares of train,val,test \\[default: 0.7,0.1,0.2]")
    ] = None,
    split_seed: Annotated[
        int | None, typer.Option(help="The only thing that changes the split \\[default: 0]")
    ] = None,
    protocol: Annotated[
        _Text,
        typer.Option(help="finetune, or probe: the backbone is frozen \\[default: finetune]"),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WEIGHTS",
            help="imagenet, none, FILE or BACKBONE=FILE; repeatable \\[default: imagenet; "
            "phantom: none]",
        ),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side in pixels for the backbone \\[default: its own]")
    ] = None,
    fit: Annotated[
        _Text, typer.Option(help="stretch or pad images that are not square \\[default: stretch]")
    ] = None,
    clahe: Annotated[
        bool | None, typer.Option("--clahe/--no-clahe", help="Apply CLAHE to all images.")
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(help="Exclude larger images \\[default: 100000000]")
    ] = None,
    max_bad: Annotated[
        float | None,
        typer.Option(help="Stop above this share of unreadable images \\[default: 0.01]"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="At most \\[default: 20; probe: 100]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="\\[default: 32]")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of Adam, at the start \\[default: 1e-4]")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="Epochs without a better validation score \\[default: 5; probe: 10]"),
    ] = None,
    device: Annotated[_Text, typer.Option(help="auto, cpu or gpu \\[default: auto]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Initialisation and order.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from --seed up.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Measure again what is complete.")] = False,
    output: OutputFormat = Format.table,
    as_json: Json = False,
    per_label: PerLabel = False,
) -> None:
    """Train and score each recipe on one patient-wise split, then print the board.

    A recipe joins parts by +, gives them parameters after : and a fusion after @, such as
    resnet+orb:encoding=vlad,nfeatures=1000@concat. The image-blind recipe prior is always added.
    """
    from cxrbench.benchmark import measure, request
    from cxrbench.reporting.display import RichDisplay
    from cxrbench.reporting.tables import print_boards

    chosen = chosen_format(output, as_json)
    asked = request(
        recipes,
        data=data,
        runs=runs,
        cache=cache,
        threads=threads,
        seed=seed,
        seeds=seeds,
        force=force,
        split=split,
        fractions=_numbers(fractions),
        split_seed=split_seed,
        protocol=protocol,
        weights=weights,
        image_size=image_size,
        fit=fit,
        clahe=clahe,
        max_pixels=max_pixels,
        max_bad=max_bad,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        device=device,
    )
    # Keras and plugins print at times; where standard output carries data, they must not.
    with nullcontext() if chosen is Format.table else redirect_stdout(sys.stderr):
        boards = measure(asked, RichDisplay(lines_on_stdout=chosen is Format.table))
    print_boards(boards, (), chosen.value, per_label=per_label)


def _numbers(text: str | None) -> tuple[float, ...] | None:
    from cxrbench.errors import SettingsError

    if text is None:
        return None
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise SettingsError(
            f"--fractions cannot be {text!r}",
            expected="three numbers separated by commas, such as 0.7,0.1,0.2",
            found=repr(text),
        ) from error
