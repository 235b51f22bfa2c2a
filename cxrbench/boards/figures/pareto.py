"""Score against cost, with the name of each row at a free place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrbench.boards.board import Board, Row
from cxrbench.output.figure_style import BLUE, GREY, VERMILION, new_figure, note, styled
from cxrbench.runs.conditions import RunKind

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox


_POINT = 3
"""Half the side of what a point covers, in points of print."""

# Directions that are tried, at growing distances in points of print.
_DISTANCES = (6, 12, 20, 30, 42, 56)
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_ALIGNED = {1: "left", 0: "center", -1: "right"}
_STANDS = {1: "bottom", 0: "center", -1: "top"}


def place_names(
    axes: Axes,
    names: Sequence[str],
    points: Sequence[tuple[float, float]],
    named: Iterable[int],
    *,
    force: bool = False,
) -> bool:
    """Write the names of the points ``named``, each at the nearest place that is free.

    The limits of the panel are fixed by this. A name that is not close to its point gets a thin
    line to it. Ends with False at the first name that finds no free place; ``force`` writes such
    names over lines, and at last over anything.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    figure = axes.get_figure(root=True)
    if figure is None or not points:
        return True
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    figure.draw_without_rendering()  # lays the figure out: before that nothing has a place
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    half = _POINT * figure.dpi / 72
    boxes = [
        Bbox.from_extents(x - half, y - half, x + half, y + half)
        for x, y in axes.transData.transform(points)
    ]
    lines = [
        line.get_transform().transform_path(line.get_path())
        for line in axes.lines
        if line.get_linestyle() != "None"
    ]
    for index in named:
        obstacles = [(boxes, lines), *([(boxes, []), ([], [])] if force else [])]
        for obstacle in obstacles:
            box = _write_free(axes, names[index], points[index], renderer, obstacle)
            if box is not None:
                boxes.append(box)
                break
        else:
            return False
    return True


def _write_free(
    axes: Axes,
    name: str,
    point: tuple[float, float],
    renderer: Any,
    obstacles: tuple[Sequence[Bbox], Sequence[Path]],
) -> Bbox | None:
    """Write a name where it meets none of the boxes and lines; its place, or None."""
    boxes, lines = obstacles
    inside = axes.get_window_extent()
    for distance, direction in product(_DISTANCES, _DIRECTIONS):
        text = _write(axes, name, point, distance, direction)
        box = _extent(text, renderer)
        if (
            _within(box, inside)
            and not any(box.overlaps(other) for other in boxes)
            and not any(line.intersects_bbox(box, filled=False) for line in lines)
        ):
            return box
        text.remove()
    return None


def _write(
    axes: Axes,
    name: str,
    point: tuple[float, float],
    distance: int,
    direction: tuple[int, int],
) -> Annotation:
    right, up = direction
    line: dict[str, Any] = {"arrowstyle": "-", "linewidth": 0.4, "color": "0.4", "shrinkB": 2}
    text = axes.annotate(
        name,
        point,
        xytext=(right * distance, up * distance),
        textcoords="offset points",
        ha=_ALIGNED[right],
        va=_STANDS[up],
        fontsize=6.5,
        arrowprops=line if distance > _DISTANCES[0] else None,
    )
    text.set_in_layout(False)
    return text


def _extent(text: Annotation, renderer: Any) -> Bbox:
    """Of the words alone: the extent of an annotation holds its line to the point."""
    from matplotlib.text import Text

    text.update_positions(renderer)
    return Text.get_window_extent(text, renderer)


def _within(box: Bbox, outer: Bbox) -> bool:
    return box.x0 >= outer.x0 and box.x1 <= outer.x1 and box.y0 >= outer.y0 and box.y1 <= outer.y1


NOT_TIMED = "pareto: latency was not measured; `cxrbench run --latency` measures it"

# A cost's field in a row, and what it is called.
_COSTS = (
    ("train_seconds", "training (seconds)"),
    ("latency_seconds", "latency (seconds per image)"),
    ("parameters", "parameters"),
)

MOST_NAMES = 12
"""The most rows that are all named; on larger boards only the front is named."""


@dataclass(frozen=True)
class _Point:
    name: str
    cost: float
    score: float
    low: float
    high: float


@styled()
def draw_pareto(board: Board) -> Figure:
    """Macro AUROC over each cost; rows that no other beats at its cost or less are joined."""
    unit = "patients" if board.patients_known else "images"
    title = (
        "Macro AUROC against cost\n"
        f"{board.title}\n"
        "line: Pareto front (no row is better at the same or lower cost); thin bars: 95 % "
        f"interval over {unit} (Wilson, bootstrap variance, t), and seeds; dotted: prior"
    )
    figure = new_figure(title, height=3.3)
    costs = [(name, points) for field, name in _COSTS if (points := _points(board, field))]
    costs = costs or [(_COSTS[-1][1], [])]
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    panels[0].set_ylabel("macro AUROC")
    for axes, (name, _) in zip(panels, costs, strict=True):
        axes.set_xlabel(name)
        for row in board.rows:
            if row.kind is RunKind.prior:
                score = row.measures["macro_auroc"].value
                axes.axhline(score, color=GREY, linestyle=":", linewidth=0.9, zorder=0)
    panel_points = [(axes, points) for axes, (_, points) in zip(panels, costs, strict=True)]
    for axes, points in panel_points:
        _panel(axes, points)
    _name_points(figure, panel_points, board.rows)
    return figure


def front(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Places of the points that no other beats at its cost or less, from cheap to dear."""
    best, places = -np.inf, []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -scores[i])):
        if scores[index] > best:
            best = scores[index]
            places.append(index)
    return places


def _points(board: Board, field: str) -> list[_Point]:
    points = []
    for row in board.rows:
        cost, score = getattr(row, field), row.measures["macro_auroc"]
        if row.kind is not RunKind.prior and cost and not math.isnan(score.value):
            low, high = np.nan_to_num([score.low, score.high], nan=score.value)
            points.append(_Point(row.recipe, cost, score.value, low, high))
    return points


def _panel(axes: Axes, points: Sequence[_Point]) -> None:
    if not points:
        note(axes, "not measured for any row")
        return
    _scale(axes, [point.cost for point in points])
    axes.grid(color="0.93", linewidth=0.5)
    for point in points:
        axes.plot([point.cost] * 2, [point.low, point.high], color="0.75", linewidth=0.7)
    costs, scores = [point.cost for point in points], [point.score for point in points]
    best = front(costs, scores)
    # The corners are drawn, so that names keep away from them too.
    axes.plot(
        np.repeat([costs[i] for i in best], 2)[1:],
        np.repeat([scores[i] for i in best], 2)[:-1],
        color=VERMILION,
        linewidth=1,
    )
    axes.plot(
        [costs[i] for i in best],
        [scores[i] for i in best],
        marker="s",
        linestyle="none",
        color=VERMILION,
        markersize=4.5,
    )
    rest = [i for i in range(len(points)) if i not in best]
    axes.plot([costs[i] for i in rest], [scores[i] for i in rest], "o", color=BLUE, markersize=4)


def _scale(axes: Axes, costs: Sequence[float]) -> None:
    """A logarithmic axis around the costs with ticks that can be read at a glance."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = min(costs) / 2, max(costs) * 2
    axes.set(xscale="log", xlim=(low, high))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1e3 else (1,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _cost_text(x)))


def _cost_text(cost: float) -> str:
    if cost >= 1e6:
        return f"{cost / 1e6:g} M"
    return f"{cost / 1e3:g} k" if cost >= 1e5 else f"{cost:,g}"


def _name_points(
    figure: Figure, panels: Sequence[tuple[Axes, Sequence[_Point]]], rows: Sequence[Row]
) -> None:
    """Names beside the points; where one finds no room numbers, and the names below."""
    if all(_write_names(axes, points, {}) for axes, points in panels):
        return
    for axes, points in panels:
        for text in list(axes.texts) if points else ():
            text.remove()
    recipes = {points[i].name for _, points in panels for i in _named(points)}
    names = [row.recipe for row in rows if row.recipe in recipes]
    numbers = {name: str(place + 1) for place, name in enumerate(dict.fromkeys(names))}
    key = [f"{number}  {name}" for name, number in numbers.items()]
    columns = 3 if max(map(len, key)) < 36 else 2
    figure.set_figheight(figure.get_figheight() + 0.16 * math.ceil(len(key) / columns))
    figure.legend(*_without_marks(key), loc="outside lower left", ncols=columns, handlelength=0)
    for axes, points in panels:
        _write_names(axes, points, numbers)


def _without_marks(names: Sequence[str]) -> tuple[list[Artist], Sequence[str]]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], linestyle="none") for _ in names], names


def _named(points: Sequence[_Point]) -> Sequence[int]:
    if len(points) <= MOST_NAMES:
        return range(len(points))
    return front([point.cost for point in points], [point.score for point in points])


def _write_names(axes: Axes, points: Sequence[_Point], numbers: Mapping[str, str]) -> bool:
    return place_names(
        axes,
        [numbers.get(point.name, point.name) for point in points],
        [(point.cost, point.score) for point in points],
        _named(points),
        force=bool(numbers),
    )
