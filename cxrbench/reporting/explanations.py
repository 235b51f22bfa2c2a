"""What ``cxrbench explain`` wrote, as a table or JSON on standard output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from cxrbench.reporting.tables import plain_console

if TYPE_CHECKING:
    from cxrbench.explain.command import Picture, Written


def print_written(written: Sequence[Written], *, as_json: bool) -> None:
    """Print the pictures with what they tell; JSON is ``{"images": […]}``."""
    console = plain_console()
    if as_json:
        told = {"images": [asdict(image) for image in written]}
        # Not through rich, which folds lines.
        console.file.write(json.dumps(told, indent=2, allow_nan=False) + "\n")
        return
    scored = any(picture.hit is not None for image in written for picture in image.pictures)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("label", no_wrap=True)
    for name in ("probability", "threshold", "truth", *(("hit", "energy", "IoU") * scored)):
        table.add_column(name, justify="right", no_wrap=True)
    for image in written:
        for picture in image.pictures:
            table.add_row(Path(picture.file).name, picture.label or "", *_numbers(picture, scored))
    if table.row_count:
        console.print(table)
        console.print()
        folders = {str(Path(picture.file).parent) for one in written for picture in one.pictures}
        console.print(f"written to {', '.join(sorted(folders))}", soft_wrap=True)
    for image in written:
        if image.error is not None:
            console.print(f"{image.image}: {image.error}", soft_wrap=True)


def _numbers(picture: Picture, scored: bool) -> list[str]:
    values = [picture.probability, picture.threshold]
    told = ["" if value is None else f"{value:.3f}" for value in values]
    told.append({1: "present", 0: "absent", None: ""}[picture.truth])
    if scored:
        scores = [picture.hit, picture.energy, picture.iou]
        told += ["" if value is None else f"{value:.3f}" for value in scores]
    return told
