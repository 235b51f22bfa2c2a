"""What a report says: boards, tests, figures, groups, cases and how to repeat it, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from cxrbench import __version__
from cxrbench.boards.ablation import ablations
from cxrbench.boards.ablation_tables import ablation_section
from cxrbench.boards.cells import board_sections
from cxrbench.boards.comparison import Difference, paired_difference
from cxrbench.boards.figures import KINDS, all_figures
from cxrbench.boards.figures.rows import row_names
from cxrbench.boards.leaderboard import Board, LabelRow, boards
from cxrbench.boards.literature import LITERATURE, literature_section
from cxrbench.boards.report.groups import group_sections
from cxrbench.interfaces import Display
from cxrbench.metrics.measures import CALIBRATION, RANKING, THRESHOLDED
from cxrbench.metrics.ranking import SIGNIFICANCE, holm
from cxrbench.output.figure_style import as_bytes
from cxrbench.output.sections import (
    CellTable,
    Column,
    Section,
    count_or_unknown,
    interval,
    number,
    text_column,
)
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.run import Run
from cxrbench.runs.selection import Seeds
from cxrbench.runs.settings_file import CONFIG_FILE

MOST_PAIRS = 45
"""Pairs of rows that are told; of larger boards only those with the first row."""


@dataclass(frozen=True)
class Picture:
    """An image with what it shows; ``kind`` is ``svg`` or ``jpeg``."""

    kind: str
    data: bytes
    title: str
    caption: str = ""


@dataclass(frozen=True)
class Chapter:
    """A heading with tables, pictures and sentences below it.

    ``key`` names it in links. Pictures of ``more`` are shown on demand.
    """

    key: str
    title: str
    sections: tuple[Section, ...] = ()
    pictures: tuple[Picture, ...] = ()
    more: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    code: str = ""


@dataclass(frozen=True)
class Report:
    """A whole report: its title, what it says first, and its chapters."""

    title: str
    subtitle: str
    summary: tuple[str, ...]
    chapters: tuple[Chapter, ...]


def gather_report(
    rows: Sequence[Seeds],
    board: Board,
    cases: Callable[[], Chapter],
    *,
    literature: bool,
    display: Display,
) -> Report:
    """Everything about some rows of one board, from their run directories.

    Parameters
    ----------
    rows : the seeds of each row.
    board : the board that they are on, with all its rows.
    cases : makes the chapter of single images, which needs models and films.
    literature : whether published results are shown beside the board.
    """
    figures = _figures(rows, board, display)
    runs = [run for row in rows for run in row]
    (own,) = boards(runs, per_label=True)
    chapters = (
        Chapter("conditions", "Conditions", (_conditions(board, runs),)),
        Chapter(
            "board",
            "Board",
            board_sections(board, per_label=False)
            + ((literature_section(LITERATURE),) if literature else ()),
            tuple(_of_kind(figures, "forest")),
        ),
        Chapter("tests", "Paired tests", _tests(rows)),
        *_parts(runs),
        Chapter(
            "curves",
            "Curves",
            pictures=tuple(_of_kind(figures, "roc", "precision-recall")),
            more=tuple(_of_kind(figures, "training")),
        ),
        Chapter(
            "labels",
            "Labels",
            _labels(own),
            more=tuple(_of_kind(figures, "confusion", "co-occurrence")),
            notes=(_MEASURES_TOLD,),
        ),
        Chapter("groups", "Subgroups", group_sections(rows), notes=(_GROUPS_TOLD,)),
        Chapter(
            "calibration",
            "Calibration",
            (_calibration(own),),
            more=tuple(_of_kind(figures, "reliability")),
        ),
        cases(),
        Chapter("cost", "Cost", (_seconds(rows),), tuple(_of_kind(figures, "pareto"))),
        _reproduce(rows),
    )
    day = max(run.conditions.finished or "" for run in runs)[:10]
    return Report(
        title=f"{rows[0][0].conditions.dataset}: {_and(row_names(rows))}",
        subtitle=f"cxrbench {__version__} · {day}",
        summary=tuple(_summary(board, rows)),
        chapters=chapters,
    )


_MEASURES_TOLD = (
    "sens. at 90, 95: the highest sensitivity with at least 90 or 95 % specificity on these "
    "images. Decisions are at each label's threshold, chosen on the validation split. Brier and "
    "ECE: lower is better. *: not counted in macro."
)
_GROUPS_TOLD = (
    "Macro is over the labels that count in every group of an attribute. The largest gap is "
    "between the groups with the highest and the lowest estimate: with several groups some gap is "
    "always there."
)


def _parts(runs: Sequence[Run]) -> Iterator[Chapter]:
    """What each part adds, where any two rows differ by one part alone."""
    found = [one for one in ablations(runs) if one.rows]
    if found:
        yield Chapter("parts", "What each part adds", tuple(map(ablation_section, found)))


def _calibration(board: Board) -> Section:
    columns = (
        text_column("recipe"),
        text_column("calibration"),
        *map(Column, ("Brier, macro", "ECE, macro", "Brier, micro", "ECE, micro")),
    )
    rows = tuple(
        (
            row.recipe,
            row.calibration,
            *(
                interval(row.more[name], row.more[f"{name}_low"], row.more[f"{name}_high"])
                for name in ("macro_brier", "macro_ece", "micro_brier", "micro_ece")
            ),
        )
        for row in board.rows
    )
    return Section("", (CellTable(columns, rows),), ("Lower is better, for both.",))


def _and(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _summary(board: Board, rows: Sequence[Seeds]) -> Iterator[str]:
    """What the board says in words: the first row, and what cannot be told apart from it."""
    first = board.rows[0]
    if first.macro_auroc is None:
        yield "Macro AUROC is undefined on these test images."
        return
    told = interval(first.macro_auroc, first.macro_auroc_low, first.macro_auroc_high)
    yield f"{first.recipe} has the highest macro AUROC of this board, {told}."
    same = [row.recipe for row in board.rows[1:] if row.rank == first.rank]
    if same:
        yield f"It cannot be told apart from {_and(same)} on these test images."
    prior = next((row for row in board.rows if row.kind is RunKind.prior), None)
    if prior is not None and prior.micro_auroc is not None and first.micro_auroc is not None:
        yield (
            f"Micro AUROC is {first.micro_auroc:.3f}; knowing nothing but how common each label is "
            f"gives {prior.micro_auroc:.3f}."
        )
    alone = [row for row in board.rows if row.seeds == 1 and row.kind is not RunKind.prior]
    if alone:
        yield "Rows of one seed say nothing of what another seed would change."


def _figures(rows: Sequence[Seeds], board: Board, display: Display) -> dict[str, Picture]:
    return {
        name: Picture("svg", as_bytes(figure, "svg"), _title(name))
        for name, figure in all_figures(rows, board, display=display)
    }


def _title(name: str) -> str:
    """``co-occurrence-orb`` is the co-occurrence of ``orb``."""
    kinds = sorted((*KINDS, "reliability-calibrated"), key=len, reverse=True)
    kind = next(kind for kind in kinds if name == kind or name.startswith(f"{kind}-"))
    told = kind.replace("-calibrated", " after calibration")
    return f"{told}: {name.removeprefix(kind).removeprefix('-')}".removesuffix(": ")


def _of_kind(figures: dict[str, Picture], *kinds: str) -> Iterator[Picture]:
    for name, picture in figures.items():
        if any(name == kind or name.startswith(f"{kind}-") for kind in kinds):
            yield picture


def _conditions(board: Board, runs: Sequence[Run]) -> Section:
    # The prior has no conditions of its own.
    looking = [run.conditions for run in runs if run.kind is not RunKind.prior]
    looking = looking or [run.conditions for run in runs]

    def values(name: str) -> str:
        found = {getattr(one, name) for one in looking}
        return ", ".join(sorted("–" if value is None else str(value) for value in found))

    patients = count_or_unknown(board.test_patients)
    left_out = [name for name in board.labels if name not in board.labels_counted]
    rows = (
        ("dataset", values("dataset")),
        ("to cite", looking[0].citation or "–"),
        ("fingerprint", values("fingerprint")),
        ("split", f"{values('split')} (seed {values('split_seed')})"),
        ("SHA-256 of the split", values("split_hash")),
        ("test", f"{board.test_images:,} images of {patients} patients"),
        ("training images", values("train_images")),
        ("labels in macro", ", ".join(board.labels_counted) or "none"),
        ("other labels", ", ".join(left_out) or "none"),
        ("without predictions", ", ".join(board.labels_left_out) or "none"),
        ("protocol", values("protocol")),
        ("weights", values("weights")),
        ("computed on", f"{values('backend')}; {values('device')}; {values('precision')}"),
        ("calibration", ", ".join(sorted({one.scoring["calibration"] for one in looking}))),
        ("thresholds", ", ".join(sorted({one.scoring["thresholds"] for one in looking}))),
        ("board", board.key),
    )
    columns = (text_column("condition"), text_column("value"))
    return Section("", (CellTable(columns, rows),), board.notes)


def _tests(rows: Sequence[Seeds]) -> tuple[Section, ...]:
    names = row_names(rows)
    pairs = list(combinations(range(len(rows)), 2))
    notes = ["p: two-sided, by the paired patient bootstrap; Holm: over the pairs of this table."]
    if len(pairs) > MOST_PAIRS:
        pairs = [(0, other) for other in range(1, len(rows))]
        notes.append(f"With {len(rows)} rows, only the pairs with {names[0]} are told.")
    if not pairs:
        return (Section("", (), ("There is one row, and nothing to compare it with.",)),)
    found = [(names[a], names[b], _difference(rows[a], rows[b])) for a, b in pairs]
    adjusted = holm([np.nan if d.p is None else d.p for _, _, d in found])
    cells = tuple(
        (a, b, _signed(told), _p(told.p), _p(p), number(told.detectable, ".3f"))
        for (a, b, told), p in zip(found, adjusted, strict=True)
    )
    shown = sum(p < SIGNIFICANCE for p in adjusted)
    notes.insert(0, f"Significant after the correction: {shown} of {len(found)}.")
    columns = (
        text_column("A"),
        text_column("B"),
        *map(Column, ("A − B, macro AUROC", "p", "Holm", "would be found 8 times in 10")),
    )
    return (Section("", (CellTable(columns, cells),), tuple(notes)),)


def _difference(a: Seeds, b: Seeds) -> Difference:
    values, replicates = [], []
    for row in (a, b):
        told = [run.metrics["macro_auroc"] for run in row]
        values.append(np.array([np.nan if value is None else value for value in told]))
        replicates.append(np.stack([run.replicates(["macro_auroc"])["macro_auroc"] for run in row]))
    return paired_difference(values[0], replicates[0], values[1], replicates[1])


def _signed(told: Difference) -> str:
    return interval(told.difference, told.low, told.high, "+.3f")


def _p(p: float | None) -> str:
    if p is None or np.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


_LONGEST_LABEL = 20
_HEADS = {
    "auroc": "AUROC",
    "average_precision": "AP",
    "sensitivity_at_90": "sens. at 90",
    "sensitivity_at_95": "sens. at 95",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "f1": "F1",
    "brier": "Brier",
    "ece": "ECE",
}


def _labels(board: Board) -> tuple[Section, ...]:
    priors = [row.runs for row in board.rows if row.kind is RunKind.prior]
    by_row: dict[tuple[str, ...], list[LabelRow]] = {}
    for row in board.per_label:
        if row.runs not in priors:  # 0.5 by construction
            by_row.setdefault(row.runs, []).append(row)
    return tuple(
        Section(
            labels[0].recipe,
            (
                _label_table(labels, RANKING),
                _label_table(labels, THRESHOLDED, decided=True),
                _label_table(labels, CALIBRATION),
            ),
        )
        for labels in by_row.values()
    )


def _label_table(
    rows: Iterable[LabelRow], measures: Sequence[str], *, decided: bool = False
) -> CellTable:
    """Measures with their intervals; ``decided`` tells thresholds in place of positives."""
    columns = (
        text_column("label", _LONGEST_LABEL),
        Column("threshold" if decided else "positives"),
        *(Column(_HEADS[name]) for name in measures),
    )
    cells = (
        (
            row.label if row.counted else f"{row.label} *",
            number(row.threshold, ".3g") if decided else f"{row.positives:,} of {row.known:,}",
            *(
                interval(row.scores[n], row.scores[f"{n}_low"], row.scores[f"{n}_high"])
                for n in measures
            ),
        )
        for row in rows
    )
    return CellTable(columns, tuple(cells))


def _seconds(rows: Sequence[Seeds]) -> Section:
    """Where the time of each row's first run went."""
    times = [row[0].conditions.seconds for row in rows]
    steps = list(dict.fromkeys(step for seconds in times for step in seconds))
    cells = tuple(
        (name, *(number(seconds.get(step), ",.1f") for step in steps))
        for name, seconds in zip(row_names(rows), times, strict=True)
    )
    columns = (text_column("recipe"), *(Column(f"{step}, s") for step in steps))
    note = (
        "Wall time of the first seed's stages, since the run was last begun; start and prepare are "
        "shared by the runs of a command."
    )
    return Section("", (CellTable(columns, cells),) if steps else (), (note,) if steps else ())


def _reproduce(rows: Sequence[Seeds]) -> Chapter:
    lines = [f"pip install cxrbench=={__version__}", ""]
    for name, row in zip(row_names(rows), rows, strict=True):
        lines += [f"# {name}", *(_command(run) for run in row), ""]
    config = next((path for row in rows if (path := row[0].path / CONFIG_FILE).is_file()), None)
    if config is not None:
        lines += [f"# {config.parent.name}/{CONFIG_FILE}", *_settings(config)]
    return Chapter("reproduce", "How to repeat it", code="\n".join(lines).rstrip())


def _command(run: Run) -> str:
    submitted = run.conditions.submitted
    if submitted is not None:
        return f"# submitted: {submitted['table']}, SHA-256 {submitted['sha256']}"
    return f"cxrbench run --config {run.name}/{CONFIG_FILE}"


def _settings(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
