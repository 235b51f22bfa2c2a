"""What each part of a recipe adds, beside its controls: tables, sentences and records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from shlex import quote
from typing import TYPE_CHECKING, Any

from cxrbench.boards.comparison_text import p_cell
from cxrbench.metrics.intervals import ROUNDING
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


def ablation_section(ablation: Ablation, *, tested: bool = True) -> Section:
    """Macro gains with their controls, micro gains and costs, and a sentence for each part.

    Without ``tested`` there are estimates with intervals alone, for a page that tests elsewhere.
    """
    title = "What each part adds to the recipe without it"
    if not ablation.rows:
        note = (
            "No two rows differ by one part alone. `cxrbench run RECIPE --ablation` runs the "
            "recipes that are needed."
        )
        return Section(title, (), (note,))
    tables = (_macro_table(ablation.rows, tested), _micro_and_cost_table(ablation.rows, tested))
    sentences = map(_sentence if tested else _estimate_sentence, ablation.rows)
    return Section(title, tables, (*sentences, _explanation(ablation, tested)))


def _explanation(ablation: Ablation, tested: bool) -> str:
    noise = (
        " noise: the recipe with 256 random numbers per image in the place of the part, minus the "
        "recipe without the part."
        if any(row.noise for row in ablation.rows)
        else ""
    )
    tests = (
        " p: two-sided, paired. Holm: p corrected for all tests of this table: own, and own − "
        "permuted."
        if tested
        else " These intervals are estimates, not corrected for their number."
    )
    unit = "images" if ablation.test_patients is None else "patients"
    return (
        f"[low, high]: 95 % interval over {unit} (paired bootstrap, t quantile), including "
        "seed-to-seed variation where there are several seeds. permuted: the same recipe, "
        "trained with this part's features of other training patients, minus the recipe "
        f"without the part.{noise}{tests}"
    )


def _macro_table(rows: Sequence[PartGain], tested: bool) -> CellTable:
    names = ("macro AUROC", *(("p", "Holm") if tested else ()))
    columns = (*_NAMED, text_column("features"), *map(Column, names))
    lines = (line[: len(columns)] for row in rows for line in _macro_lines(row))
    return CellTable(columns, tuple(lines))


def _macro_lines(row: PartGain) -> Iterator[tuple[str, ...]]:
    """A line for the part and, where they were measured, for its controls."""
    gain = row.macro_auroc
    yield (row.part, row.without, "own", *_cells(gain.part, gain.part_p_holm))
    if gain.control is not None:
        yield ("", "", "permuted", *_cells(gain.control, math.nan))
    if gain.noise is not None:
        yield ("", "", "noise", *_cells(gain.noise, math.nan))
    if gain.beyond_control is not None:
        beyond = _cells(gain.beyond_control, gain.beyond_control_p_holm)
        yield ("", "", "own − permuted", *beyond)


def _micro_and_cost_table(rows: Sequence[PartGain], tested: bool) -> CellTable:
    names = ("micro AUROC", *(("Holm",) if tested else ()), "parameters", "training")
    return CellTable(
        (*_NAMED, *map(Column, names)),
        tuple(
            (
                row.part,
                row.without,
                _gain(row.micro_auroc.part),
                *((p_cell(row.micro_auroc.part_p_holm),) if tested else ()),
                count_of_parameters(row.parameters, "+"),
                _seconds(row.train_seconds),
            )
            for row in rows
        ),
    )


def _cells(difference: Difference | None, holm: float) -> tuple[str, str, str]:
    p = math.nan if difference is None else difference.p
    return _gain(difference), p_cell(p), p_cell(holm)


def _gain(difference: Difference | None) -> str:
    return "–" if difference is None else interval(difference.estimate, "+.3f")


def _seconds(seconds: float) -> str:
    if math.isnan(seconds):
        return "–"
    return f"{'-' if seconds < 0 else '+'}{duration(abs(seconds))}"


def _sentence(row: PartGain) -> str:
    """What the macro AUROCs say of the part, and what could not be said."""
    gain, p = row.macro_auroc.part, row.macro_auroc.part_p_holm
    if math.isnan(p):
        return f"{row.part}: its gain over {row.without} is undefined on these images."
    if max(abs(gain.low), abs(gain.high)) < ROUNDING:
        text = (
            f"{row.part}: no significant gain over {row.without}. Both have the same score in "
            "every resample. A linear head leaves a part out if cross-validation is better without "
            "it."
        )
    elif p >= SIGNIFICANCE:
        text = (
            f"{row.part}: no significant gain over {row.without} ({_gain(gain)}, {_p_words(p)}). "
            "Minimum detectable difference (80 % power, before Holm's correction): "
            f"{gain.detectable:.3f}."
        )
    elif gain.difference > 0:
        text = f"{row.part} adds {interval(gain.estimate)} to {row.without} ({_p_words(p)})."
    else:
        text = f"{row.part} makes {row.without} worse: {_gain(gain)} ({_p_words(p)})."
    return f"{text} {_beside_control(row)}"


def _estimate_sentence(row: PartGain) -> str:
    gain = row.macro_auroc
    if gain.control is None:
        beside = "its permuted control was not run."
    else:
        beside = f"its permuted control: {_gain(gain.control)}."
    return f"{row.part}: {_gain(gain.part)} beside {row.without}; {beside}"


def _beside_control(row: PartGain) -> str:
    gain = row.macro_auroc
    p = gain.beyond_control_p_holm
    if gain.control is None or gain.beyond_control is None:
        return (
            "To see whether the part's parameters alone explain this, run its permuted control "
            f"{row.control}: `cxrbench run --config {quote(row.config)} --seeds {len(row.runs)} "
            "--ablation`, with the same --runs."
        )
    if math.isnan(p):
        return "Its permuted control is undefined on these images."
    added = f"With permuted features, the same parameters add {_gain(gain.control)}."
    beyond = f"{_gain(gain.beyond_control)}, {_p_words(p)}"
    if p >= SIGNIFICANCE:
        return f"{added} The part's own features are not significantly different ({beyond})."
    side = "more" if gain.beyond_control.difference > 0 else "less"
    return f"{added} The part's own features add significantly {side} ({beyond})."


def _p_words(p: float) -> str:
    return "Holm's p < 0.001" if p < 0.001 else f"Holm's p = {p:.3f}"


def ablation_columns() -> list[str]:
    """The columns of the CSV: the keys of the JSON, nested ones joined by ``_``."""
    from cxrbench.boards.ablation import SCORES, Gain, PartGain
    from cxrbench.boards.comparison import Difference

    columns = ["board"]
    for name in (field.name for field in fields(PartGain)):
        if name not in SCORES:
            columns.append(name)
            continue
        for gain in (f"{name}_{field.name}" for field in fields(Gain)):
            is_p = gain.endswith("_p_holm")
            columns += [gain] if is_p else [f"{gain}_{field.name}" for field in fields(Difference)]
    return columns


def ablation_records(ablations: Sequence[Ablation]) -> list[Mapping[str, Any]]:
    """A record for each part of each board."""
    empty = dict.fromkeys(ablation_columns())  # a control that was not measured has no values
    return [
        {**empty, "board": one.board, **_flat(asdict(row))} for one in ablations for row in one.rows
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}_")
        elif isinstance(value, tuple):
            flat[prefix + name] = " ".join(value)
        elif value is not None:
            flat[prefix + name] = value
    return flat
