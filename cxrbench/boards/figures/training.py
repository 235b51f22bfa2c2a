"""Training curves of one row: loss, accuracy and AUC by epoch, a line for each seed."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from cxrbench.boards.figures.rows import conditions
from cxrbench.errors import RunError
from cxrbench.output.figure_style import BLACK, BLUE, GREEN, VERMILION, new_figure, styled
from cxrbench.runs.run import Run
from cxrbench.runs.selection import Seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HISTORY_FILE = "history.csv"

# Each panel's lines: the column, what it is called, and how it is drawn.
_PANELS = (
    (
        "loss (binary cross-entropy)",
        (("loss", "training", BLUE, "-"), ("val_loss", "validation", VERMILION, "--")),
    ),
    ("accuracy at 0.5", (("val_accuracy", "validation", VERMILION, "--"),)),
    (
        "AUROC",
        (
            ("val_macro_auroc", "validation, macro", VERMILION, "--"),
            ("val_auc", "validation, micro", GREEN, "-."),
        ),
    ),
)


def has_history(row: Seeds) -> bool:
    """Whether all seeds were trained here: ``prior`` was not, nor were others' predictions."""
    return all(HISTORY_FILE in run.files for run in row)


def read_history(run: Run) -> dict[str, np.ndarray]:
    """The columns of ``history.csv``, each (epochs,) float64.

    Raises
    ------
    RunError : the file is missing, was changed after the run, or is not what a run writes.
    """
    path = run.require_unchanged(HISTORY_FILE)
    columns = ["epoch", *(name for _, lines in _PANELS for name, *_ in lines)]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if not (run.conditions.best_epoch or 1) <= len(rows):
            raise ValueError(f"{len(rows)} epochs, without the best")
        return {name: np.array([float(row[name]) for row in rows]) for name in columns}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise RunError(
            f"{HISTORY_FILE} of the run {run.name!r} is damaged",
            found=str(error),
            fix="run the same command with --force",
        ) from error


@styled()
def draw_training(row: Seeds, name: str) -> Figure:
    """Loss, accuracy and AUC by epoch; the epoch whose weights were kept has a mark."""
    seeds = f" · {len(row)} seeds, one line each" if len(row) > 1 else ""
    sizes = row[0].conditions
    title = (
        f"Training · {name}{seeds}\n{conditions(row)}\n{sizes.train_images:,} training and "
        f"{sizes.val_images:,} validation images; mark: epoch whose weights were kept"
    )
    figure = new_figure(title, height=2.7)
    panels = figure.subplots(1, len(_PANELS))
    for axes, (panel, _) in zip(panels, _PANELS, strict=True):
        axes.set(title=panel, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for run in row:
        history = read_history(run)
        for axes, (_, lines) in zip(panels, _PANELS, strict=True):
            for column, _, colour, dashes in lines:
                _line(axes, history, column, colour, dashes)
                _mark_best(axes, history[column], run.conditions.best_epoch, colour)
    for axes, (_, lines) in zip(panels, _PANELS, strict=True):
        for _, label, colour, dashes in lines:
            axes.plot([], [], color=colour, linestyle=dashes, label=label)
        axes.legend(loc="best")
    return figure


def _line(
    axes: Axes, history: dict[str, np.ndarray], column: str, colour: str, dashes: str
) -> None:
    axes.plot(history["epoch"], history[column], color=colour, linestyle=dashes, linewidth=0.9)


def _mark_best(axes: Axes, values: np.ndarray, best: int | None, colour: str) -> None:
    if best:
        axes.plot(best, values[best - 1], "o", color=colour, markersize=4, markeredgecolor=BLACK)
