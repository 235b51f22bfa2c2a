"""Small folders in NIH's layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrbench import DataError
from cxrbench.builtin.nih import NIH

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
ROWS = (
    "00000001_000.png,Cardiomegaly,0,1,57,M,PA,2682,2749,0.143,0.143",
    "00000001_001.png,Cardiomegaly|Emphysema,1,1,58,M,PA,2894,2729,0.143,0.143",
    "00000002_000.png,No Finding,0,2,80,F,AP,2500,2048,0.171,0.171",
    "00000013_005.png,Hernia|Infiltration,5,13,60,F,AP,3056,2544,0.139,0.139",
)
STEMS = ("00000001_000", "00000001_001", "00000002_000", "00000013_005")


def folder(
    root: Path,
    table: str | bytes | None = None,
    *,
    name: str = "Ground_Truth.csv",
    images: str = "xray_images",
    files: tuple[str, ...] = tuple(f"{stem}.png" for stem in STEMS),
) -> Path:
    """A small NIH folder; images are empty, for no pixel is read."""
    table = "\n".join((HEADER, *ROWS)) + "\n" if table is None else table
    data = table.encode() if isinstance(table, str) else table
    (root / name).write_bytes(data)
    (root / images).mkdir(parents=True, exist_ok=True)
    for file in files:
        (root / images / file).touch()
    return root


def rows(*lines: str, header: str = HEADER) -> str:
    return "\n".join((header, *lines)) + "\n"


def message(root: Path) -> str:
    with pytest.raises(DataError) as error:
        NIH(path=str(root)).load()
    return str(error.value)
