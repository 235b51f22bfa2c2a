"""What scoring saved predictions again has changed: calibration, Brier score, calibration error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxrbench.boards.label_rows import mean_if_known
from cxrbench.boards.leaderboard import Leaderboard
from cxrbench.output.sections import CellTable, Column, Section, number, text_column
from cxrbench.runs.run import Run

_MEASURES = ("brier", "ece")


@dataclass(frozen=True)
class RescoredRow:
    """One recipe before and after; scores are macro means over seeds, None where undefined.

    ``before`` is empty if a run had no complete scores.
    """

    recipe: str
    seeds: int
    scoring_before: Mapping[str, str]
    scoring: Mapping[str, str]
    before: Mapping[str, float | None]
    after: Mapping[str, float | None]


@dataclass(frozen=True)
class RescoredBoards(Leaderboard):
    """The boards of runs that were scored again, and what that changed."""

    changes: tuple[RescoredRow, ...] = ()

    def sections(self) -> tuple[Section, ...]:
        """The boards, then the change of each row."""
        return (*super().sections(), _section(self.changes))

    def to_json(self) -> dict[str, Any]:
        """The keys of a leaderboard, and ``changes``."""
        return {**super().to_json(), "changes": self.changes}


def rescored_row(before: Sequence[Run], after: Sequence[Run]) -> RescoredRow:
    """The change of one row; ``before`` are those of its runs that had complete scores."""
    first = before[0].conditions if before else after[0].conditions
    return RescoredRow(
        recipe=after[0].conditions.recipe,
        seeds=len(after),
        scoring_before=first.scoring if before else {},
        scoring=after[0].conditions.scoring,
        before=_means(before) if len(before) == len(after) else {},
        after=_means(after),
    )


def _means(runs: Sequence[Run]) -> dict[str, float | None]:
    values = {name: [run.metrics.get(f"macro_{name}") for run in runs] for name in _MEASURES}
    return {name: mean_if_known(some) for name, some in values.items()}


def _section(changes: Sequence[RescoredRow]) -> Section:
    columns = (
        text_column("recipe"),
        Column("seeds"),
        *(text_column(name, 12) for name in ("calibration", "thresholds")),
        *(Column(name) for name in ("Brier", "ECE")),
    )
    rows = tuple(
        (
            row.recipe,
            str(row.seeds),
            *(_change(row.scoring_before.get(n), text) for n, text in row.scoring.items()),
            *(
                _change(
                    number(row.before[name], ".4f") if name in row.before else None,
                    number(row.after[name], ".4f"),
                )
                for name in _MEASURES
            ),
        )
        for row in changes
    )
    notes = (
        "Brier and ECE: macro means over labels and seeds; lower is better. AUROC and average "
        "precision do not depend on calibration or thresholds.",
    )
    return Section("Scored again: before → after", (CellTable(columns, rows),), notes)


def _change(before: str | None, after: str) -> str:
    return after if before in (None, after) else f"{before} → {after}"
