"""``cxrbench plugins new``: a package to begin a plugin with."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class PluginKind(StrEnum):
    """What a plugin can provide."""

    backbone = "backbone"
    feature = "feature"
    fusion = "fusion"
    dataset = "dataset"


def new(
    kind: Annotated[PluginKind, typer.Argument(metavar="KIND", help="What it will provide.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What recipes will call it.")],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder to write \\[default: cxrbench-NAME here]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a package that installs, passes its checks and gets onto a board as it comes."""
    from cxrbench.registry import load_registry
    from cxrbench.scaffold import write_plugin

    written = write_plugin(kind.value, name, load_registry(), output)
    typer.echo(f"{written.folder}: {', '.join(written.files)}")
    typer.echo(f"  pip install -e {written.folder}\n  cxrbench plugins check {name}")
    typer.echo(f"  {written.command}")
