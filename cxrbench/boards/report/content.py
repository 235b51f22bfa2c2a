"""The content of a report as values: boards, tests, figures, groups, cases, commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cxrbench import __version__
from cxrbench.boards.ablation import ablations
from cxrbench.boards.ablation_tables import ablation_section
from cxrbench.boards.board import Board, boards
from cxrbench.boards.figures import KINDS, all_figures
from cxrbench.boards.figures.rows import row_names
from cxrbench.boards.leaderboard import board_sections
from cxrbench.boards.literature import LITERATURE, literature_section
from cxrbench.boards.report.sections import (
    calibration_section,
    commands,
    conditions_section,
    group_sections,
    labels_sections,
    tests_sections,
    time_section,
)
from cxrbench.interfaces import Display
from cxrbench.output.figure_style import as_bytes
from cxrbench.output.sections import (
    Section,
    interval,
    number,
)
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.run import Run
from cxrbench.runs.selection import Seeds


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
        Chapter("conditions", "Conditions", (conditions_section(board, runs),)),
        Chapter(
            "board",
            "Board",
            board_sections(board, per_label=False)
            + ((literature_section(LITERATURE),) if literature else ()),
            tuple(_of_kind(figures, "forest")),
        ),
        Chapter("tests", "Paired tests", tests_sections(rows)),
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
            labels_sections(own),
            more=tuple(_of_kind(figures, "confusion", "co-occurrence")),
            notes=(_MEASURES_NOTE,),
        ),
        Chapter("groups", "Subgroups", group_sections(rows), notes=(_GROUPS_NOTE,)),
        Chapter(
            "calibration",
            "Calibration",
            (calibration_section(own),),
            more=tuple(_of_kind(figures, "reliability")),
        ),
        cases(),
        Chapter("cost", "Cost", (time_section(rows),), tuple(_of_kind(figures, "pareto"))),
        Chapter("reproduce", "How to repeat it", code=commands(rows)),
    )
    day = max(run.conditions.finished or "" for run in runs)[:10]
    return Report(
        title=f"{rows[0][0].conditions.dataset}: {_and(row_names(rows))}",
        subtitle=f"cxrbench {__version__} · {day}",
        summary=tuple(_summary(board, rows)),
        chapters=chapters,
    )


_MEASURES_NOTE = (
    "sens. at 90, 95: the highest sensitivity with at least 90 or 95 % specificity on these "
    "images. Decisions are at each label's threshold, chosen on the validation split. Brier and "
    "ECE: lower is better. *: not counted in macro."
)
_GROUPS_NOTE = (
    "Macro is over the labels that count in every group of an attribute. The largest gap is "
    "between the groups with the highest and the lowest estimate; some gap is expected by chance."
)


def _parts(runs: Sequence[Run]) -> Iterator[Chapter]:
    """What each part adds, where any two rows differ by one part alone."""
    sections = [ablation_section(one) for one in ablations(runs) if one.rows]
    if sections:
        yield Chapter("parts", "What each part adds", tuple(sections))


def _and(names: Sequence[str]) -> str:
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _summary(board: Board, rows: Sequence[Seeds]) -> Iterator[str]:
    """The board in words: the best row, those that are tied with it, and the prior."""
    first = board.rows[0]
    if first.rank is None:
        yield "Macro AUROC is undefined on these test images."
        return
    score = interval(first.measures["macro_auroc"])
    yield f"{first.recipe} has the highest macro AUROC of this board, {score}."
    tied = [row.recipe for row in board.rows[1:] if row.rank == first.rank]
    if tied:
        yield f"It is not significantly better than {_and(tied)} on these test images."
    prior = next((row for row in board.rows if row.kind is RunKind.prior), None)
    if prior is not None:
        own, blind = (number(row.measures["micro_auroc"].value, ".3f") for row in (first, prior))
        yield f"Its micro AUROC is {own}; the image-blind prior has {blind}."
    if any(row.seeds == 1 and row.kind is not RunKind.prior for row in board.rows):
        yield "Rows with one seed do not include seed-to-seed variation; use --seeds 3."


def _figures(rows: Sequence[Seeds], board: Board, display: Display) -> dict[str, Picture]:
    return {
        name: Picture("svg", as_bytes(figure, "svg"), _title(name))
        for name, figure in all_figures(rows, board, display=display)
    }


def _title(name: str) -> str:
    """``co-occurrence-orb`` is the co-occurrence of ``orb``."""
    kinds = sorted((*KINDS, "reliability-calibrated"), key=len, reverse=True)
    kind = next(kind for kind in kinds if name == kind or name.startswith(f"{kind}-"))
    title = kind.replace("-calibrated", " after calibration")
    return f"{title}: {name.removeprefix(kind).removeprefix('-')}".removesuffix(": ")


def _of_kind(figures: dict[str, Picture], *kinds: str) -> Iterator[Picture]:
    for name, picture in figures.items():
        if any(name == kind or name.startswith(f"{kind}-") for kind in kinds):
            yield picture
