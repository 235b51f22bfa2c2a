"""``cxrbench plugins check``: the conformance checks of plugins and parts."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrbench.cli.options import Format, complete_parts, takes


@takes()
def check(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME…",
            help="Plugins, or parts with parameters as in a recipe.",
            min=1,
            autocompletion=complete_parts,
        ),
    ],
    image_size: Annotated[
        int,
        typer.Option(
            metavar="N", min=16, max=4096, help="Side in pixels of the images for backbones."
        ),
    ] = 64,
    *,
    output_format: Format,
) -> None:
    """Run the conformance checks of plugins or parts; exit with 1 if a check fails."""
    from cxrbench.output.display import progress
    from cxrbench.output.show import show
    from cxrbench.registry import load_registry
    from cxrbench.testing import check_plugin
    from cxrbench.testing.documents import CheckReport

    with progress() as display:
        registry = load_registry()
        results = [
            result
            for name in names
            for result in check_plugin(
                name, registry=registry, image_size=image_size, display=display
            )
        ]
    show(CheckReport(results), output_format)
    if any(result.state == "failed" for result in results):
        raise typer.Exit(1)
