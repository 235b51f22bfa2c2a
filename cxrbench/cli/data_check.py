"""``cxrbench data check``: find problems of a cohort before anything is trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cxrbench.cli.options import Format, complete_data, takes


@takes(
    *("split", "fractions", "split_seed", "allow_overlap"),
    *("max_pixels", "max_bad", "cache", "threads"),
)
def check(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder, a table, or the name of a dataset, such as phantom.",
            autocompletion=complete_data,
        ),
    ],
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Check only the table and the split.")
    ] = False,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10**9,
            metavar="N",
            help="Check only a sample of this many images. The same images are chosen every time. "
            "\\[default: all]",
        ),
    ] = None,
    *,
    output_format: Format,
    **options: Any,
) -> None:
    """Find problems that invalidate a benchmark on a cohort; exit with 1 if there are errors."""
    from cxrbench.checks.checkup import Scope, check_up
    from cxrbench.data.datasets import describe, find_dataset
    from cxrbench.output.display import progress
    from cxrbench.output.show import show
    from cxrbench.registry import load_registry
    from cxrbench.request import request_of
    from cxrbench.settings import resolve_settings

    request = request_of(options)
    with progress() as display:
        dataset = find_dataset(data, load_registry(), Path.cwd())
        settings = resolve_settings(request.settings, dataset.defaults)
        display.say(describe(dataset, data))
        scope = Scope(not no_images, sample, request.thread_count)
        checkup = check_up(dataset, settings, scope, display, request.cache)
    show(checkup, output_format)
    if not checkup.sound:
        raise typer.Exit(1)
