"""``cxrbench run``: train and score recipes, then print their leaderboard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrbench.cli.options import Config, Format, PerLabel, takes, with_config
from cxrbench.request import known_options

if TYPE_CHECKING:
    from cxrbench.request import Request


@takes(*known_options())
def run(
    config: Config = None,
    *,
    output_format: Format,
    per_label: PerLabel = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask for confirmation if --data is missing.")
    ] = False,
    **options: Any,
) -> None:
    """Train and score each recipe on one patient-wise split, then print the leaderboard.

    Join the parts of a recipe with +. Write parameters after a colon and the fusion after @, as in
    resnet+orb:encoding=vlad,nfeatures=1000@concat. The recipe prior, which looks at no image, is
    always added. A dataset can have other defaults: phantom, for example, uses small images.
    """
    from cxrbench.benchmark import leaderboard_of, measure
    from cxrbench.output.display import SilentDisplay, progress
    from cxrbench.output.show import show
    from cxrbench.request import request_of

    request = request_of(with_config(config, options))
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with progress(lines_on_stdout=output_format is Format.table) as display:
        quiet = isinstance(display, SilentDisplay)
        if terminal and not (yes or quiet or request.data or "limit" in request.settings):
            _confirm_phantom(request)
        runs = measure(request, display)
    show(leaderboard_of(runs, request, per_label=per_label), output_format)


def _confirm_phantom(request: Request) -> None:
    """Confirm that recipes are trained on drawn images, if there are no other data here."""
    from cxrbench.data.datasets import FALLBACK, find_dataset
    from cxrbench.registry import load_registry

    dataset = find_dataset(None, load_registry(), Path.cwd())
    if dataset.name != FALLBACK:
        return
    recipes, images = ", ".join(request.recipes), len(dataset.load())
    question = f"No --data. Draw {images:,} artificial images ({FALLBACK}), and train {recipes}?"
    if not typer.confirm(question, default=True, err=True):
        raise typer.Exit(1)
