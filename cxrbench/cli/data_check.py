"""``cxrbench data check``: what is wrong with a cohort before anything is trained on it."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.cli.options import Json, takes


@takes("split", "fractions", "split_seed", "max_pixels", "max_bad", "cache", "threads")
def check(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="A folder, or a dataset's name with :option=value,…"),
    ],
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Check the table and the parts alone.")
    ] = False,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1, help="Look at so many images only \\[default: all]", show_default=False
        ),
    ] = None,
    *,
    as_json: Json = False,
    **options: Any,
) -> None:
    """Look for what makes a benchmark on this cohort wrong; exit with 1 where something does."""
    from cxrbench.checks.checkup import Scope, check_up
    from cxrbench.checks.documents import print_checkup
    from cxrbench.data.datasets import describe, find_dataset
    from cxrbench.output.display import RichDisplay
    from cxrbench.registry import load_registry
    from cxrbench.request import request_of
    from cxrbench.settings import resolve_settings, thread_count

    request = request_of(options)
    display = RichDisplay()
    # Plugins print at times; standard output carries the report alone.
    with redirect_stdout(sys.stderr):
        dataset = find_dataset(data, load_registry(), Path.cwd())
        settings = resolve_settings(request.settings, dataset.defaults)
        display.say(describe(dataset, data))
        scope = Scope(not no_images, sample, thread_count(request.threads))
        found = check_up(dataset, settings, scope, display, request.cache)
    print_checkup(found, "json" if as_json else "table")
    if not found.sound:
        raise typer.Exit(1)
