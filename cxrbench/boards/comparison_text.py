"""A comparison of two rows as sections: who is compared, both scores, the labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cxrbench.metrics.ranking import SIGNIFICANCE
from cxrbench.output.sections import (
    CellTable,
    Column,
    Section,
    count_or_unknown,
    number,
    text_column,
)
from cxrbench.recipe import PRIOR

if TYPE_CHECKING:
    from cxrbench.boards.comparison import Comparison, Difference, LabelDifference


def comparison_sections(comparison: Comparison) -> tuple[Section, ...]:
    """Macro and micro AUROC with a sentence each, then the labels."""
    patients = count_or_unknown(comparison.test_patients)
    return (
        Section(
            f"A and B on {comparison.test_images:,} test images of {patients} patients",
            (_rows(comparison), _pooled(comparison)),
            (
                _sentence("macro AUROC", comparison.macro_auroc, comparison),
                _sentence("micro AUROC", comparison.micro_auroc, comparison),
            ),
        ),
        Section("AUROC of each label", (_labels(comparison),), _notes(comparison)),
    )


def _rows(comparison: Comparison) -> CellTable:
    rows = (
        ("A", comparison.a, comparison.runs_a),
        ("B", comparison.b, comparison.runs_b),
    )
    return CellTable(
        (text_column("row", 3), text_column("recipe"), Column("seeds"), text_column("first run")),
        tuple((letter, name, str(len(runs)), runs[0]) for letter, name, runs in rows),
    )


def _pooled(comparison: Comparison) -> CellTable:
    scores = (("macro", comparison.macro_auroc), ("micro", comparison.micro_auroc))
    return CellTable(
        (text_column("AUROC", 8), *map(Column, ("A", "B", "A − B", "[low, high]", "p"))),
        tuple((name, *_numbers(score), p_cell(score.p)) for name, score in scores),
    )


def _labels(comparison: Comparison) -> CellTable:
    heads = ("positives", "A", "B", "A − B", "[low, high]", "p", "Holm")
    return CellTable(
        (text_column("label", 8), *map(Column, heads)),
        tuple(
            (
                row.label if row.counted else f"{row.label} *",
                f"{row.positives:,} of {row.known:,}",
                *_numbers(row),
                p_cell(row.p),
                p_cell(row.p_holm),
            )
            for row in comparison.labels
        ),
    )


def _numbers(row: Difference | LabelDifference) -> tuple[str, str, str, str]:
    bounds = "–" if math.isnan(row.low) else f"[{row.low:+.3f}, {row.high:+.3f}]"
    return number(row.a, ".3f"), number(row.b, ".3f"), number(row.difference, "+.3f"), bounds


def _sentence(name: str, score: Difference, comparison: Comparison) -> str:
    """What the numbers mean, and what the test set could have shown."""
    if math.isnan(score.p):
        return f"{name}: undefined on these images for one of the rows."
    if score.p >= SIGNIFICANCE:
        text = f"no significant difference on {_units(comparison)} (p {_p_words(score.p)})"
    else:
        better, worse = ("A", "B") if score.difference > 0 else ("B", "A")
        text = (
            f"{better} is better than {worse} by {abs(score.difference):.3f} on "
            f"{_units(comparison)} (p {_p_words(score.p)})"
        )
    return f"{name}: {text}; minimum detectable difference (80 % power): {score.detectable:.3f}."


def _notes(comparison: Comparison) -> tuple[str, ...]:
    unit = _units(comparison).split()[-1]
    notes = [
        f"[low, high]: 95 % interval of A − B over {unit}, by Student's t. Variance: paired "
        "bootstrap (macro, micro), closed form for clustered data (labels). p: two-sided, paired. "
        "Holm: p corrected for the number of counted labels. *: not counted in macro."
    ]
    rows = ((comparison.a, comparison.runs_a), (comparison.b, comparison.runs_b))
    if any(name != PRIOR and len(runs) == 1 for name, runs in rows):
        notes.append(
            "The interval of a row with one seed does not include seed-to-seed variation; use "
            "--seeds 3."
        )
    return tuple(notes)


def _units(comparison: Comparison) -> str:
    """What was resampled: patients, or images where patients are unknown."""
    if comparison.test_patients is None:
        return f"{comparison.test_images:,} test images"
    return f"{comparison.test_patients:,} test patients"


def p_cell(p: float) -> str:
    """A p-value in a table; a dash where undefined."""
    return number(p, ".3f") if not p < 0.001 else "< 0.001"


def _p_words(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
