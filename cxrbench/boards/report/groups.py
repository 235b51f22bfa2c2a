"""Subgroups of each row, from what its runs stored: tables, and the largest gap in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cxrbench.boards.figures.rows import row_names
from cxrbench.errors import RunError
from cxrbench.metrics.estimate import Estimate
from cxrbench.output.sections import CellTable, Column, Section, interval, text_column
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.run import SUBGROUPS_FILE, Run
from cxrbench.runs.selection import Seeds

_SHOWN = {
    "auroc": "macro AUROC",
    "sensitivity_at_90": "sens. at 90",
    "recall": "recall",
    "specificity": "specificity",
    "brier": "Brier",
}


def group_sections(rows: Sequence[Seeds]) -> tuple[Section, ...]:
    """One section for each row that looks at images; of several seeds the first is told.

    Raises
    ------
    RunError : a file of a run is missing, damaged or was changed after the run.
    """
    return tuple(
        _section(name, row)
        for name, row in zip(row_names(rows), rows, strict=True)
        if row[0].kind is not RunKind.prior
    )


def _section(name: str, row: Seeds) -> Section:
    attributes = _read(row[0])
    seed = f" (seed {row[0].conditions.seed} of {len(row)} seeds)" if len(row) > 1 else ""
    lines = [line for one in attributes for line in _lines(one)]
    columns = (
        text_column("group"),
        Column("images"),
        Column("patients"),
        *map(Column, _SHOWN.values()),
    )
    tables = (CellTable(columns, tuple(lines)),) if lines else ()
    return Section(name + seed, tables, tuple(note for one in attributes for note in _notes(one)))


def _read(run: Run) -> list[dict[str, Any]]:
    attributes = run.read_json(SUBGROUPS_FILE)
    if not isinstance(attributes, list):
        raise RunError(f"{run.name}/{SUBGROUPS_FILE} is damaged", expected="a list")
    return attributes


def _lines(attribute: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            f"{attribute['attribute']}: {group['name']}",
            f"{group['images']:,}",
            f"{group['patients']:,}",
            *(_interval(group["macro"][name]) for name in _SHOWN),
        )
        for group in attribute["groups"]
    ]


def _notes(attribute: Mapping[str, Any]) -> list[str]:
    name, notes = attribute["attribute"], []
    gap = attribute["gaps"].get("macro_auroc")
    if gap is not None:
        notes.append(
            f"{name}: the largest gap in macro AUROC is {_interval(gap['difference'])}, between "
            f"{gap['higher']} (higher) and {gap['lower']}, on {', '.join(attribute['counted'])}."
        )
    if attribute["too_small"]:
        small = ", ".join(attribute["too_small"])
        notes.append(f"{name}: no label counts in {small}, which have too few patients.")
    if attribute["unknown"]:
        notes.append(f"{name}: unknown for {attribute['unknown']:,} test images.")
    return notes


def _interval(values: Mapping[str, float | None]) -> str:
    numbers = (math.nan if value is None else value for value in values.values())
    return interval(Estimate(*numbers))
