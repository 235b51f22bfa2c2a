"""Forest plot of a board: macro and micro AUROC of every row with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cxrbench.boards.board import Board, Row
from cxrbench.output.figure_style import BLACK, BLUE, GREY, new_figure, styled
from cxrbench.runs.conditions import RunKind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 60
"""The most rows that fit on a page."""


@styled()
def draw_forest(board: Board) -> Figure:
    """Macro AUROC with intervals in one panel, micro in another; the best row comes first."""
    rows = _shown(board.rows)
    unit = "patients" if board.patients_known else "images"
    left_out = len(board.rows) - len(rows)
    title = (
        f"AUROC and rank of the {len(board.rows)} rows of the board"
        + (f", without {left_out} lower rows" if left_out else "")
        + f"\n{board.title}\n"
        f"line: 95 % interval over {unit} (Wilson, bootstrap variance, t), and seeds; dotted: prior"
    )
    figure = new_figure(title, height=1.25 + 0.23 * len(rows))
    macro, micro = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _panel(macro, rows, "macro_auroc", "macro AUROC")
    _panel(micro, rows, "micro_auroc", "micro AUROC")
    macro.set_yticks(range(len(rows)), [_name(row) for row in rows])
    macro.set_ylim(len(rows) - 0.4, -0.6)
    macro.annotate(
        "rank",
        (0, 1),
        xycoords="axes fraction",
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
    )
    macro.tick_params(axis="y", length=0)
    micro.tick_params(axis="y", length=0)
    return figure


def _shown(rows: Sequence[Row]) -> list[Row]:
    """The best rows, with the prior in place of the last of them where it is not among them."""
    best = list(rows[:MOST_ROWS])
    prior = [row for row in rows[MOST_ROWS:] if row.kind is RunKind.prior]
    return best[: MOST_ROWS - len(prior)] + prior if prior else best


def _name(row: Row) -> str:
    rank = "–" if row.rank is None else row.rank
    return f"{row.recipe}{f' ({row.seeds} seeds)' if row.seeds > 1 else ''}   {rank}"


def _panel(axes: Axes, rows: Sequence[Row], measure: str, title: str) -> None:
    axes.set_title(title)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="x", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    if all(math.isnan(row.measures[measure].value) for row in rows):
        axes.set_xticks([])
    for place, row in enumerate(rows):
        estimate = row.measures[measure]
        value = estimate.value
        prior = row.kind is RunKind.prior
        if math.isnan(value):
            axes.text(0.02, place, "undefined", va="center", transform=axes.get_yaxis_transform())
            continue
        if prior:
            axes.axvline(value, color=GREY, linestyle=":", linewidth=0.9, zorder=0)
        axes.plot(
            [estimate.low, estimate.high],
            [place, place],
            color=GREY if prior else BLUE,
            linewidth=1.4,
        )
        axes.plot(
            value,
            place,
            marker="D" if prior else "s",
            color="white" if prior else BLUE,
            markeredgecolor=BLACK if prior else BLUE,
            markersize=4.5,
        )
        axes.annotate(
            f"{value:.3f}",
            (1, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
        )
