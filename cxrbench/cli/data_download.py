"""``cxrbench data download``: fetch a published cohort from its publisher, or go on with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import Json


def download(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="nih or chestmnist, with :option=value,…")
    ],
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where to put it \\[default: a folder of that name here]",
            show_default=False,
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="A mirror that has the files by their names.", show_default=False
        ),
    ] = None,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives", help="Keep archives that are unpacked.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List files, sizes and addresses; fetch nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fetch a cohort, verify it and unpack it; the same command again goes on, or verifies."""
    from cxrbench.data.download.catalog import find_source
    from cxrbench.data.download.download import Options, look
    from cxrbench.data.download.download import download as fetch_missing
    from cxrbench.data.download.listing import DownloadReport
    from cxrbench.output.display import RichDisplay
    from cxrbench.output.show import show

    source = find_source(data)
    folder = into if into is not None else Path(source.name)
    fetched = not dry_run and fetch_missing(
        source, folder, Options(base_url, keep_archives), RichDisplay()
    )
    states = look(source, folder, base_url)
    report = DownloadReport(source.name, folder, states, dry_run, fetched)
    show(report, "json" if as_json else "table")
