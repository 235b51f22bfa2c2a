"""Write figures as PNG and SVG files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrbench.errors import SettingsError
from cxrbench.reporting.figures.style import as_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figure(
    figure: Figure, folder: Path, name: str, formats: Sequence[str]
) -> tuple[Path, ...]:
    """Write ``folder/name.png`` and the like; each file appears once it is whole.

    Raises
    ------
    SettingsError : the folder cannot be written.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in formats:
            path = folder / f"{name}.{kind}"
            building = folder / f".{path.name}.building"
            building.write_bytes(as_bytes(figure, kind))
            os.replace(building, path)
            paths.append(path)
    except OSError as error:
        raise SettingsError(
            f"cannot write figures in {folder}",
            found=error.strerror or str(error),
            fix="make room there or choose another folder with --output",
        ) from error
    return tuple(paths)
