"""A comparison of two rows as sentences and a table, or as JSON, on standard output."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from cxrbench.metrics.ranking import SIGNIFICANCE
from cxrbench.output.show import plain_console
from cxrbench.recipe import PRIOR

if TYPE_CHECKING:
    from cxrbench.boards.comparison import Comparison, Difference, LabelDifference


def print_comparison(found: Comparison, *, as_json: bool) -> None:
    """Print a comparison; as JSON, standard output carries nothing else."""
    if as_json:
        print(json.dumps(asdict(found), indent=2, allow_nan=False))
        return
    out = plain_console()
    out.print(f"A  {_row(found.a, found.runs_a)}")
    out.print(f"B  {_row(found.b, found.runs_b)}")
    patients = "unknown" if found.test_patients is None else f"{found.test_patients:,}"
    out.print(f"{found.test_images:,} test images of {patients} patients\n")
    out.print(_pooled(found))
    out.print()
    out.print(_sentence("macro AUROC", found.macro_auroc, found))
    out.print(_sentence("micro AUROC", found.micro_auroc, found))
    out.print()
    out.print(_labels(found))
    out.print(
        f"\n[low, high]: 95 % of A − B over {_drawn(found).split()[-1]}. p: two-sided, paired; "
        "Holm: over the counted labels. *: not counted in macro."
    )
    alone = [
        name for name, runs in ((found.a, found.runs_a), (found.b, found.runs_b)) if len(runs) == 1
    ]
    if alone != [PRIOR] * len(alone):
        out.print("A row of one seed: what another seed would change is not in its interval.")


def _row(name: str, runs: tuple[str, ...]) -> str:
    seeds = "1 seed" if len(runs) == 1 else f"{len(runs)} seeds"
    return f"{name} ({seeds}: {runs[0]}{', …' if len(runs) > 1 else ''})"


def _sentence(name: str, found: Difference, comparison: Comparison) -> str:
    """What the numbers mean, and what the test set could have shown."""
    difference, p = found.difference, found.p
    if difference is None or p is None or found.detectable is None:
        return f"{name}: undefined on these images for one of the rows."
    patients = f"these {_drawn(comparison)}"
    smallest = (
        f"the smallest that this test would find 8 times in 10 is about {found.detectable:.3f}"
    )
    if p >= SIGNIFICANCE:
        return f"{name}: no difference can be shown with {patients} (p = {p:.2g}); {smallest}."
    better, worse = ("A", "B") if difference > 0 else ("B", "A")
    return (
        f"{name}: {better} is better than {worse} by {abs(difference):.3f} with {patients} "
        f"(p {_p(p)}); {smallest}."
    )


def _drawn(found: Comparison) -> str:
    """What was resampled: patients, or images where patients are unknown."""
    if found.test_patients is None:
        return f"{found.test_images:,} test images"
    return f"{found.test_patients:,} test patients"


def _pooled(found: Comparison) -> Table:
    table = _table("AUROC", "A", "B", "A − B", "[low, high]", "p")
    for name, difference in (("macro", found.macro_auroc), ("micro", found.micro_auroc)):
        table.add_row(name, *_numbers(difference), _cell(difference.p))
    return table


def _labels(found: Comparison) -> Table:
    table = _table("label", "with", "A", "B", "A − B", "[low, high]", "p", "Holm")
    for row in found.labels:
        name = row.label if row.counted else f"{row.label} *"
        with_it = f"{row.positives:,} of {row.known:,}"
        table.add_row(name, with_it, *_numbers(row), _cell(row.p), _cell(row.p_holm))
    return table


def _numbers(row: Difference | LabelDifference) -> tuple[str, str, str, str]:
    known = row.low is not None and row.high is not None
    interval = f"[{row.low:+.3f}, {row.high:+.3f}]" if known else "–"
    told = "–" if row.difference is None else f"{row.difference:+.3f}"
    return _score(row.a), _score(row.b), told, interval


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _cell(p: float | None) -> str:
    return "–" if p is None else _p(p).removeprefix("= ")


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _table(first: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(first, overflow="fold", min_width=8)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table
