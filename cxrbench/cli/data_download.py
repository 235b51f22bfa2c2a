"""``cxrbench data download``: download a published cohort, or continue a download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrbench.cli.options import Format, takes


@takes()
def download(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="nih or chestmnist, also with options, as in nih:archives=1."
        ),
    ],
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder to write. \\[default: a folder of that name here]",
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Address of a mirror of the files."),
    ] = None,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives", help="Keep unpacked archives.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List files, sizes and addresses; download nothing.")
    ] = False,
    *,
    output_format: Format,
) -> None:
    """Download, verify and unpack a cohort. Repeat the command to continue or to verify it."""
    from cxrbench.data.download.catalog import find_source
    from cxrbench.data.download.download import DownloadOptions, DownloadReport, look
    from cxrbench.data.download.download import download as fetch_missing
    from cxrbench.output.display import new_display
    from cxrbench.output.show import show

    source = find_source(data)
    folder = into if into is not None else Path(source.name)
    fetched = not dry_run and fetch_missing(
        source, folder, DownloadOptions(base_url, keep_archives), new_display()
    )
    states = look(source, folder, base_url)
    report = DownloadReport(source.name, folder, states, dry_run, fetched)
    show(report, output_format)
