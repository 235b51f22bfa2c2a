"""Names beside points, where they cover no other name, no point and no line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
