"""The report: its content, from run directories, as one self-contained HTML page."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from cxrbench import __version__
from cxrbench.boards.ablation import ablations
from cxrbench.boards.ablation_tables import ablation_section
from cxrbench.boards.board import Board, boards
from cxrbench.boards.figures import KINDS, all_figures
from cxrbench.boards.leaderboard import board_sections
from cxrbench.boards.literature import literature_sections
from cxrbench.boards.report.repeating import commands
from cxrbench.boards.report.sections import (
    calibration_section,
    conditions_section,
    group_sections,
    labels_sections,
    tests_sections,
    time_section,
)
from cxrbench.errors import SettingsError
from cxrbench.interfaces import Display
from cxrbench.output.figure_style import as_bytes
from cxrbench.output.files import Destination, write_text
from cxrbench.output.formats import html_section
from cxrbench.output.sections import (
    Section,
    counted,
    interval,
    number,
)
from cxrbench.runs.conditions import RunKind
from cxrbench.runs.run import Run
from cxrbench.runs.selection import Seeds, group_rows


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
    cases: Callable[[Sequence[Seeds]], Chapter],
    *,
    controls: Sequence[Run] = (),
    literature: str,
    display: Display,
) -> Report:
    """Everything about some rows of one board, from their run directories.

    Ranks and tests are those among these rows, which are shown in the order of the board.

    Parameters
    ----------
    rows : the seeds of each row.
    cases : makes the chapter of single images, which needs models and images, from the rows.
    controls : runs of control rows, for the chapter of what each part adds.
    literature : the published results beside the board: ``same``, ``all`` or ``""`` (none).
    """
    runs = list({run.conditions.run_key: run for row in rows for run in row}.values())
    (board,) = boards(runs, per_label=True, controls=True)
    # Seeds that were named one by one are one row of the board.
    by_first_run = {row[0].conditions.run_key: row for row in group_rows(runs)}
    rows = [by_first_run[row.conditions.run_key] for row in board.rows]
    figures = _figures(rows, board, display)
    chapters = (
        Chapter("conditions", "Conditions", (conditions_section(board, runs),)),
        Chapter(
            "board",
            "Board",
            board_sections(board, per_label=False)
            + literature_sections(literature, board)
            + literature_sections(literature),
            tuple(_of_kind(figures, "forest")),
        ),
        Chapter("tests", "Paired tests", tests_sections(rows)),
        *_parts([*runs, *controls]),
        Chapter(
            "curves",
            "Curves",
            pictures=tuple(_of_kind(figures, "roc", "precision-recall")),
            more=tuple(_of_kind(figures, "training")),
        ),
        Chapter(
            "labels",
            "Labels",
            labels_sections(board),
            more=tuple(_of_kind(figures, "confusion", "co-occurrence")),
            notes=(_MEASURES_NOTE,),
        ),
        Chapter("groups", "Subgroups", group_sections(rows), notes=(_GROUPS_NOTE,)),
        Chapter(
            "calibration",
            "Calibration",
            (calibration_section(board),),
            more=tuple(_of_kind(figures, "reliability")),
        ),
        cases(rows),
        Chapter("cost", "Cost", (time_section(rows),), tuple(_of_kind(figures, "pareto"))),
        Chapter("reproduce", "How to repeat it", code=commands(rows)),
    )
    day = max(run.conditions.finished or "" for run in runs)[:10]
    return Report(
        title=f"Benchmark of {counted(len(rows), 'recipe')} on {rows[0][0].conditions.dataset}",
        subtitle=f"{board.title} · cxrbench {__version__} · {day}",
        summary=tuple(_summary(board, rows)),
        chapters=chapters,
    )


_MEASURES_NOTE = (
    "sens. at 90, 95: the highest sensitivity with at least 90 or 95 % specificity on these "
    "images. Decisions are at each label's threshold, chosen on the validation split. Brier and "
    "ECE: lower is better. The ECE has no interval: its bias on a small test set is larger than "
    "its spread. *: not counted in macro."
)
_GROUPS_NOTE = (
    "Macro is over the labels that count in every group of an attribute. The largest gap is "
    "between the groups with the highest and the lowest estimate; some gap is expected by chance. "
    "Its interval is corrected for the number of pairs of groups (Bonferroni, t quantile)."
)


def _parts(runs: Sequence[Run]) -> Iterator[Chapter]:
    """What each part adds, where any two rows differ by one part alone."""
    sections = [ablation_section(one, tested=False) for one in ablations(runs) if one.rows]
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
    yield f"{first.recipe} has the highest macro AUROC of these rows, {score}."
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


_REPORT = Destination("the report", SettingsError, "choose another file with --output")
_TEMPLATE = "report.html.jinja"
_SVG_HEAD = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_ID = re.compile(r'\bid="([^"]*)"')
_IDS = re.compile(r'(\bid="|xlink:href="#|href="#|url\(#)')


def report_page(report: Report) -> str:
    """The HTML text of a report; every text in it is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["section"] = _section
    environment.filters["picture"] = _Pictures().html
    source = files("cxrbench.boards.report").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(report=report)


def _section(section: Section) -> object:
    from markupsafe import Markup

    return Markup(html_section(section, level=3))  # which escapes every text itself


class _Pictures:
    """Puts pictures into one document: ids of several SVGs must not meet."""

    def __init__(self) -> None:
        self._count = 0

    def html(self, picture: Picture) -> object:
        """The picture as an element: SVG as it is, others as a data URL."""
        from markupsafe import Markup, escape

        if picture.kind == "svg":
            self._count += 1
            text = _SVG_HEAD.sub("", picture.data.decode("utf-8"), count=1)
            text = _once_each(_IDS.sub(rf"\g<1>p{self._count}-", text))
            return Markup(text.replace("<svg ", '<svg role="img" ', 1))
        data = base64.b64encode(picture.data).decode()
        alt = escape(picture.caption or picture.title)
        return Markup(f'<img alt="{alt}" src="data:image/{picture.kind};base64,{data}">')


def _once_each(svg: str) -> str:
    """Matplotlib names an image by its content, so that two alike in one figure share their id."""
    seen: Counter[str] = Counter()

    def rename(match: re.Match[str]) -> str:
        seen[match[1]] += 1
        count = seen[match[1]]
        return match[0] if count == 1 else f'id="{match[1]}-{count}"'

    return _ID.sub(rename, svg)


def write_report(report: Report, path: Path) -> None:
    """Write the page; it appears once it is whole.

    Raises
    ------
    SettingsError : it cannot be written there.
    """
    text = report_page(report)
    with _REPORT.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
