"""Options that mean the same in every command."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

SCORING = "Scoring"


class Format(StrEnum):
    """What standard output carries."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"
    html = "html"
    latex = "latex"


Data = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="A folder, or a dataset's name with :option=value,… "
        "\\[default: the current folder if it holds a cohort, else phantom]",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Recipes and options in TOML, such as a run's settings.toml; what is given here "
        "goes before it.",
    ),
]
Runs = Annotated[Path, typer.Option(metavar="DIR", help="Where run directories are.")]
Cache = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        envvar="CXRBENCH_CACHE",
        help="Where decoded images and features are kept \\[default: the user's cache folder]",
        show_default=False,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, help="Threads that read images \\[default: one for each core]", show_default=False
    ),
]
Calibration = Annotated[
    str | None,
    typer.Option(
        help="Of probabilities, on the validation split: none, temperature or isotonic "
        "\\[default: none]",
        rich_help_panel=SCORING,
    ),
]
Thresholds = Annotated[
    str | None,
    typer.Option(
        help="Chosen on the validation split: youden, or sensitivity=0.9 \\[default: youden]",
        rich_help_panel=SCORING,
    ),
]
OutputFormat = Annotated[Format, typer.Option("--format", help="What standard output carries.")]
Json = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
Ablation = Annotated[bool, typer.Option("--ablation", help="Also what each part of a recipe adds.")]
BoardRows = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN…]",
        help="Run directories, or recipes: then all their seeds "
        "\\[default: all rows of the largest board]",
        show_default=False,
    ),
]
Literature = Annotated[
    bool,
    typer.Option("--literature", help="Also published results on NIH's images, not ranked."),
]
PerLabel = Annotated[bool, typer.Option("--per-label", help="Also the scores of each label.")]


def chosen_format(output: Format, as_json: bool) -> Format:
    """``--json`` goes before ``--format``."""
    return Format.json if as_json else output
