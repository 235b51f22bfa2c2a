"""What each part of a recipe adds, beside its permuted control: cells, sentences and CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from cxrbench.metrics.ranking import SIGNIFICANCE
from cxrbench.output.sections import (
    CellTable,
    Column,
    Section,
    count_of_parameters,
    duration,
    interval,
    text_column,
)

if TYPE_CHECKING:
    from cxrbench.boards.ablation import Ablation, PartGain
    from cxrbench.boards.comparison import Difference

_NAMED = (text_column("part", 6), text_column("added to"))


def ablation_section(found: Ablation) -> Section:
    """Macro gains with their controls, micro gains and costs, and a sentence for each part."""
    title = "What each part adds to the recipe without it"
    if not found.rows:
        return Section(
            title,
            (),
            (
                "no two rows differ by one part alone; `cxrbench run RECIPE --ablation` adds what "
                "is needed",
            ),
        )
    unit = "images" if found.test_patients is None else "patients"
    return Section(
        title,
        (_macro_table(found.rows), _micro_and_cost_table(found.rows)),
        (
            *map(_sentence, found.rows),
            f"[low, high]: 95 % over {unit}, joined with the variance over seeds. permuted: the "
            "same recipe, trained with this part's features of other training patients, minus the "
            "recipe without the part. p: two-sided, paired; Holm: over the rows of this table, for "
            "gains and for gains minus their controls.",
        ),
    )


def _macro_table(rows: Sequence[PartGain]) -> CellTable:
    names = ("macro AUROC", "p", "Holm")
    columns = (*_NAMED, text_column("features"), *map(Column, names))
    return CellTable(columns, tuple(line for row in rows for line in _macro_lines(row)))


def _macro_lines(row: PartGain) -> Iterator[tuple[str, ...]]:
    gain = row.macro_auroc
    yield (row.part, row.without, "own", *_cells(gain.part, gain.part_p_holm))
    yield ("", "", "permuted", *_cells(gain.control, None))
    beyond = _cells(gain.beyond_control, gain.beyond_control_p_holm)
    yield ("", "", "own − permuted", *beyond)


def _micro_and_cost_table(rows: Sequence[PartGain]) -> CellTable:
    columns = (*_NAMED, *map(Column, ("micro AUROC", "Holm", "parameters", "training")))
    return CellTable(
        columns,
        tuple(
            (
                row.part,
                row.without,
                _told(row.micro_auroc.part),
                _p_cell(row.micro_auroc.part_p_holm),
                count_of_parameters(row.parameters, "+"),
                _seconds(row.train_seconds),
            )
            for row in rows
        ),
    )


def _cells(found: Difference | None, holm: float | None) -> tuple[str, str, str]:
    return _told(found), _p_cell(None if found is None else found.p), _p_cell(holm)


def _told(found: Difference | None) -> str:
    if found is None:
        return "–"
    return interval(found.difference, found.low, found.high, "+.3f")


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{'-' if seconds < 0 else '+'}{duration(abs(seconds))}"


def _p_cell(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _sentence(row: PartGain) -> str:
    """What the macro AUROCs say of the part, and what could not be said."""
    found, p = row.macro_auroc.part, row.macro_auroc.part_p_holm
    if found.difference is None or p is None or found.detectable is None:
        return f"{row.part}: what it adds to {row.without} is undefined on these images."
    if p >= SIGNIFICANCE:
        gain = (
            f"no gain of {row.part} over {row.without} can be shown ({_told(found)}, "
            f"{_p_words(p)}); the smallest that this test would find 8 times in 10, before Holm's "
            f"correction, is about {found.detectable:.3f}"
        )
    elif found.difference > 0:
        gain = f"{row.part} adds {_unsigned(found)} to {row.without} ({_p_words(p)})"
    else:
        gain = f"{row.part} makes {row.without} worse: {_told(found)} ({_p_words(p)})"
    return f"{gain}; {_beside_control(row)}."


def _beside_control(row: PartGain) -> str:
    gain = row.macro_auroc
    p = gain.beyond_control_p_holm
    if gain.control is None or gain.beyond_control is None:
        return (
            "whether that is more than its parameters do alone needs the control "
            f"{row.control}: `cxrbench run --config {row.config} --seeds {len(row.runs)} "
            "--ablation`, with the same --runs"
        )
    if p is None:
        return "its control is undefined on these images"
    added = f"with permuted features the same parameters add {_told(gain.control)}"
    beyond = _told(gain.beyond_control)
    if p >= SIGNIFICANCE:
        return f"{added}, and no difference from that can be shown ({beyond}, {_p_words(p)})"
    side = "more" if (gain.beyond_control.difference or 0) > 0 else "less"
    return f"{added}; its own features give {side} than that ({beyond}, {_p_words(p)})"


def _unsigned(found: Difference) -> str:
    return interval(found.difference, found.low, found.high)


def _p_words(p: float) -> str:
    return "Holm's p < 0.001" if p < 0.001 else f"Holm's p = {p:.3f}"


def print_ablation_csv(ablations: Sequence[Ablation]) -> None:
    """Print a row for each part of each board; nested keys of the JSON are joined by ``_``."""
    from cxrbench.boards.ablation import PartGain

    rows = [(one.board, row) for one in ablations for row in one.rows]
    writer = csv.DictWriter(sys.stdout, ["board", *_columns(PartGain)], lineterminator="\n")
    writer.writeheader()
    for board, row in rows:
        writer.writerow({"board": board, **_flat(asdict(row))})


def _columns(kind: Any) -> Iterator[str]:
    from cxrbench.boards.ablation import SCORES, Gain
    from cxrbench.boards.comparison import Difference

    for field in fields(kind):
        if field.name in SCORES:
            for gain in fields(Gain):
                name = f"{field.name}_{gain.name}"
                is_p = gain.name.endswith("_p_holm")
                yield from [name] if is_p else (f"{name}_{d.name}" for d in fields(Difference))
        else:
            yield field.name


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}_")
        elif isinstance(value, tuple):
            flat[prefix + name] = " ".join(value)
        elif value is not None:  # a control that was not measured has no columns to fill
            flat[prefix + name] = value
    return flat
