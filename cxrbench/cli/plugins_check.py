"""``cxrbench plugins check``: the conformance checks of plugins and parts."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from cxrbench.cli.options import Format, Json, OutputFormat, chosen_format


def check(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME…", help="Plugins, or parts with parameters as in a recipe.", min=1
        ),
    ],
    image_size: Annotated[
        int,
        typer.Option(min=16, help="Side in pixels of the images for backbones."),
    ] = 64,
    output: OutputFormat = Format.table,
    as_json: Json = False,
) -> None:
    """Run the conformance checks of plugins or parts; exit with 1 if a check fails."""
    from cxrbench.output.display import RichDisplay
    from cxrbench.output.show import show
    from cxrbench.registry import load_registry
    from cxrbench.testing import check_plugin
    from cxrbench.testing.documents import CheckReport

    # Plugins print at times; standard output carries the result alone.
    with redirect_stdout(sys.stderr):
        registry, display = load_registry(), RichDisplay()
        results = [
            result
            for name in names
            for result in check_plugin(
                name, registry=registry, image_size=image_size, display=display
            )
        ]
    show(CheckReport(results), chosen_format(output, as_json).value)
    if any(result.state == "failed" for result in results):
        raise typer.Exit(1)
