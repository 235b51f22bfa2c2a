"""``cxrbench run``: train and score recipes, then print their board."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.cli import run_options as of
from cxrbench.cli.options import (
    Cache,
    Calibration,
    Config,
    Data,
    Format,
    Json,
    OutputFormat,
    PerLabel,
    Threads,
    Thresholds,
    chosen_format,
)

_OWN = ("config", "output", "as_json", "per_label")


def run(  # noqa: PLR0913 - each argument is an option of the command
    context: typer.Context,
    recipes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE…",
            help="Such as resnet, resnet+orb or orb:words=512+sift.",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    data: Data = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where run directories are \\[default: runs]", show_default=False
        ),
    ] = None,
    cache: Cache = None,
    threads: Threads = None,
    split: of.Split = None,
    fractions: of.Fractions = None,
    split_seed: of.SplitSeed = None,
    image_size: of.ImageSize = None,
    fit: of.Fit = None,
    clahe: of.Clahe = None,
    max_pixels: of.MaxPixels = None,
    max_bad: of.MaxBad = None,
    protocol: of.Protocol = None,
    weights: of.Weights = None,
    epochs: of.Epochs = None,
    batch_size: of.BatchSize = None,
    learning_rate: of.LearningRate = None,
    patience: of.Patience = None,
    activations: of.Activations = None,
    augment: of.Augment = None,
    rotation: of.Rotation = None,
    translation: of.Translation = None,
    zoom: of.Zoom = None,
    brightness: of.Brightness = None,
    contrast: of.Contrast = None,
    noise: of.Noise = None,
    clahe_share: of.ClaheShare = None,
    device: of.Device = None,
    devices: of.Devices = None,
    precision: of.Precision = None,
    engine: of.Engine = None,
    executor: of.ExecutorName = None,
    ray_address: of.RayAddress = None,
    calibration: Calibration = None,
    thresholds: Thresholds = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Initialisation, order, augmentation \\[default: 0]")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many seeds, from --seed up \\[default: 1]")
    ] = None,
    force: Annotated[
        bool | None, typer.Option("--force", help="Measure again what is complete.")
    ] = None,
    ablation: Annotated[
        bool | None,
        typer.Option(
            "--ablation",
            help="Also each recipe without one part, and with one part permuted; then what each "
            "part adds.",
        ),
    ] = None,
    saliency: Annotated[
        bool | None,
        typer.Option("--saliency", help="Also score saliency maps against test images' boxes."),
    ] = None,
    latency: Annotated[
        bool | None,
        typer.Option("--latency", help="Also time each model on one image after another."),
    ] = None,
    output: OutputFormat = Format.table,
    as_json: Json = False,
    per_label: PerLabel = False,
) -> None:
    """Train and score each recipe on one patient-wise split, then print the board.

    A recipe joins parts by +, gives them parameters after : and a fusion after @, such as
    resnet+orb:encoding=vlad,nfeatures=1000@concat. The image-blind recipe prior is always added.
    """
    from cxrbench.benchmark import measure, request
    from cxrbench.boards.ablation import ablations
    from cxrbench.boards.leaderboard import boards
    from cxrbench.boards.tables import print_boards
    from cxrbench.output.display import RichDisplay

    chosen = chosen_format(output, as_json)
    asked = request(**_options(context.params, config))
    # Keras and plugins print at times; where standard output carries data, they must not.
    with nullcontext() if chosen is Format.table else redirect_stdout(sys.stderr):
        made = measure(asked, RichDisplay(lines_on_stdout=chosen is Format.table))
    gains = ablations(made) if asked.ablation else None
    print_boards(boards(made), (), chosen.value, per_label=per_label, ablations=gains)


def _options(parameters: dict[str, Any], config: Path | None) -> dict[str, Any]:
    """What is given on the command line, else in the file."""
    given = {
        name: value
        for name, value in parameters.items()
        if name not in _OWN and value is not None and value != ()
    }
    if "fractions" in given:
        given["fractions"] = of.fractions_of(given["fractions"])
    if "batch_size" in given:
        given["batch_size"] = _number_or_auto(given["batch_size"])
    if config is None:
        return {"recipes": (), **given}
    from cxrbench.runs.settings_file import read_config

    return {"recipes": (), **read_config(config), **given}


def _number_or_auto(text: str) -> int | str:
    # Settings say what is wrong with anything else.
    return int(text) if text.removeprefix("-").isdecimal() else text
