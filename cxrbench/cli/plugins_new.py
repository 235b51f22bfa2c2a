"""``cxrbench plugins new``: write the package of a new plugin."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

PluginKind = StrEnum("PluginKind", ["backbone", "feature", "fusion", "dataset"])


def new(
    kind: Annotated[
        PluginKind,
        typer.Argument(
            metavar="KIND", help="Kind of the part: backbone, feature, fusion or dataset."
        ),
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the part in recipes.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder to write. \\[default: cxrbench-NAME here]",
        ),
    ] = None,
) -> None:
    """Write a plugin package that installs, passes its checks and runs without changes."""
    from cxrbench.registry import load_registry
    from cxrbench.scaffold import write_plugin

    package = write_plugin(kind.value, name, load_registry(), output)
    typer.echo(f"{package.folder}: {', '.join(package.files)}")
    typer.echo(f"  pip install -e {package.folder}\n  cxrbench plugins check {name}")
    typer.echo(f"  {package.command}")
