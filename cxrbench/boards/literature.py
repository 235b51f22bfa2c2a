"""Published results on NIH ChestX-ray14 beside a board, by the lists that they were tested on."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from cxrbench.boards.board import Board
from cxrbench.data.lists import NIH_22433, NIH_OFFICIAL
from cxrbench.errors import SettingsError
from cxrbench.output.sections import CellTable, Column, Section, number, text_column

TEST_IMAGES: Mapping[str, int] = MappingProxyType(
    {NIH_OFFICIAL: 25_596, NIH_22433: 22_433, "medmnist": 22_433}
)
"""The number of test images in each list that results can be compared on."""

# Runs go on without as many unreadable images as --max-bad allows by default.
_LEAST_SHARE = 0.99
_TITLE = "Published results on NIH ChestX-ray14"
_AS_PUBLISHED = "As published, without intervals. Not ranked: "
_SEEN = (
    "seen: primary if the text or repository of the authors was read; secondary if another paper's "
    "or project's table was. share: of the training images."
)


@dataclass(frozen=True)
class Published:
    """What a publication reports; None where it does not.

    Parameters
    ----------
    macro_auroc : the mean over labels.
    labels : how many were scored; 14 are the findings without No Finding.
    split : which images were tested, in words.
    source : where the result was published, and where it was read if that is another place.
    list : one of `TEST_IMAGES`, ``random`` or ``unknown``.
    pixels : the side of the images, and how they got it.
    pretraining : where the weights started.
    share : of the training images whose labels were used.
    seen : ``primary`` or ``secondary``.
    """

    model: str
    macro_auroc: float
    micro_auroc: float | None
    labels: int
    split: str
    source: str
    list: str
    pixels: str | None
    pretraining: str | None
    share: float
    seen: str


@cache
def published_results() -> tuple[Published, ...]:
    """All results, sorted by list; within a list, the highest first."""
    text = files("cxrbench.boards").joinpath("literature.csv").read_text(encoding="utf-8")
    return tuple(
        Published(
            **{name: row[name] for name in ("model", "split", "source", "list", "seen")},
            macro_auroc=float(row["macro_auroc"]),
            micro_auroc=float(row["micro_auroc"]) if row["micro_auroc"] else None,
            labels=int(row["labels"]),
            pixels=row["pixels"] or None,
            pretraining=row["pretraining"] or None,
            share=float(row["share"]),
        )
        for row in csv.DictReader(text.splitlines())
    )


def literature_choice(value: bool | str | None) -> str:
    """``same``, ``all`` or ``""`` (none); True is ``same``.

    Raises
    ------
    SettingsError : another value.
    """
    choice = "same" if value is True else value or ""
    if choice not in ("same", "all", ""):
        raise SettingsError(
            f"literature cannot be {value!r}",
            expected="same (results on the list of the board), or all",
            found=repr(value),
        )
    return choice


def results_beside(board: Board) -> tuple[Published, ...]:
    """The results on the test images of this board and on as many labels."""
    name = _list_of(board)
    if name is None or board.test_images < _LEAST_SHARE * TEST_IMAGES[name]:
        return ()
    sizes = {len(board.labels_counted), len(_findings(board))}
    return tuple(r for r in published_results() if r.list == name and r.labels in sizes)


def literature_json(choice: str, boards: Sequence[Board]) -> dict[str, Any]:
    """The key ``literature``, if results were requested: those that `literature_sections` shows."""
    if choice == "all":
        return {"literature": published_results()}
    beside = {result: None for board in boards for result in results_beside(board)}
    return {"literature": tuple(beside)} if choice else {}


def literature_sections(choice: str, board: Board | None = None) -> tuple[Section, ...]:
    """The results beside a board if ``same`` were requested; without a board, ``all`` of them."""
    if choice == "all" and board is None:
        differ = "test images, labels and splits differ from those of the boards."
        return (Section(_TITLE, (_table(published_results()),), (_AS_PUBLISHED + differ, _SEEN)),)
    if choice != "same" or board is None:
        return ()
    results = results_beside(board)
    if not results:
        return (Section(_TITLE, (), tuple(_why_none(board))),)
    name = results[0].list
    notes = [_AS_PUBLISHED + "test images and labels are those of the board, the rest differs."]
    if results[0].labels != len(board.labels_counted):
        notes.append(f"Compare them with the column findings: {results[0].labels} labels.")
    return (Section(f"{_TITLE}, list {name}", (_table(results),), (*notes, _SEEN)),)


def _list_of(board: Board) -> str | None:
    """The list that the test images are of; all rows of a board have the same."""
    for row in board.rows:
        name = (row.conditions.list_name or "").partition("-train-")[0]
        if name in TEST_IMAGES:
            return name
    return None


def _findings(board: Board) -> list[str]:
    no_finding = {row.conditions.no_finding for row in board.rows}
    return [label for label in board.labels_counted if label not in no_finding]


def _why_none(board: Board) -> list[str]:
    name = _list_of(board)
    if name is None:
        why = "The test images of this board are not those of a list with published results."
    elif board.test_images < _LEAST_SHARE * TEST_IMAGES[name]:
        count = f"{board.test_images:,} of the {TEST_IMAGES[name]:,} test images"
        why = f"This board has {count} of the list {name}."
    else:
        labels = f"{len(_findings(board))} findings count in macro"
        why = f"No published result on the list {name} has the labels of this board: {labels}."
    return [why, "--literature all shows all results."]


def _table(results: Sequence[Published]) -> CellTable:
    columns = (
        *(text_column("published", 12), text_column("list"), Column("macro AUROC")),
        *(Column("micro AUROC"), Column("labels"), text_column("pixels")),
        *(text_column("pretraining"), Column("share"), text_column("seen")),
        *(text_column("split"), text_column("source", 20)),
    )
    rows = tuple(
        (
            *(one.model, one.list, number(one.macro_auroc, ".3f"), number(one.micro_auroc, ".3f")),
            *(str(one.labels), one.pixels or "–", one.pretraining or "–", f"{100 * one.share:g} %"),
            *(one.seen, one.split, one.source),
        )
        for one in results
    )
    return CellTable(columns, rows)
