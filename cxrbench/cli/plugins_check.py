"""``cxrbench plugins check``: whether parts keep the promises of their interface."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from cxrbench.cli.options import Json


def check(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME…", help="Plugins, or parts with parameters as in a recipe.", min=1
        ),
    ],
    image_size: Annotated[
        int, typer.Option(min=16, help="Side in pixels of the images for backbones.")
    ] = 64,
    as_json: Json = False,
) -> None:
    """Check that parts keep the promises of their interface; exit with 1 where one does not."""
    from cxrbench.output.display import RichDisplay
    from cxrbench.registry import load_registry
    from cxrbench.testing import check_plugin
    from cxrbench.testing.documents import print_checks

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
    print_checks(results, "json" if as_json else "table")
    if any(result.state == "failed" for result in results):
        raise typer.Exit(1)
