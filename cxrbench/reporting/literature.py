"""Published results as cells: beside a board, and never on it."""

from __future__ import annotations

from collections.abc import Sequence

from cxrbench.evaluation.literature import Published
from cxrbench.reporting.cells import CellTable, Column, Section, number, text_column


def literature_section(published: Sequence[Published]) -> Section:
    """A table of published results with their source, split and number of labels."""
    columns = (
        text_column("published", 12),
        Column("macro AUROC"),
        Column("micro AUROC"),
        Column("labels"),
        text_column("split"),
        text_column("source", 20),
    )
    rows = tuple(
        (
            one.model,
            number(one.macro_auroc, ".3f"),
            number(one.micro_auroc, ".3f"),
            str(one.labels),
            one.split,
            one.source,
        )
        for one in published
    )
    return Section(
        "Published results on NIH ChestX-ray14",
        (CellTable(columns, rows),),
        (
            "As published, without intervals; not ranked, since test images, labels and splits are "
            "other ones than those of the boards.",
        ),
    )
