"""The style of all figures, and how they are written."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cxrbench.errors import SettingsError
from cxrbench.output.files import Destination, write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text


WIDTH = 7.1
"""Inches: the text of an A4 or letter page, so that point sizes are those in print."""

_LINE = 0.14
# Okabe & Ito, Color Universal Design, 2008, without yellow, which white paper swallows.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#7F7F7F"
_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
# Each line's strokes and gaps, in widths of the line.
_DASHES: tuple[Any, ...] = (
    *("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (2, 1))),
    *((0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1.5))),
)
MOST_LOOKS = len(_COLOURS)
"""The largest number of rows that a reader can distinguish in one panel."""

_FIGURES = Destination("figures in", SettingsError, "choose another folder with --output")

_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 7,
    "figure.titlesize": 8.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    # Fonts as journals take them: TrueType, not Type 3.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    # Dollars in names are no formulas.
    "text.parse_math": False,
    # The names of clip paths in an SVG would be other ones each time.
    "svg.hashsalt": "cxrbench",
}


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib's defaults as the figures want them; also a decorator, ``@styled()``."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def look(index: int, *, prior: bool = False) -> dict[str, Any]:
    """Colour and dashes of the ``index``-th row's line; the prior's are always the same."""
    if prior:
        return {"color": GREY, "linestyle": (0, (1, 1)), "linewidth": 1.0}
    place = index % MOST_LOOKS
    return {"color": _COLOURS[place], "linestyle": _DASHES[place]}


def new_figure(title: str, *, width: float = WIDTH, height: float) -> Figure:
    """An empty figure of so many inches; the lines of its title are folded to its width.

    The height has room for three lines of title; the figure is higher for each line more.
    """
    from matplotlib.figure import Figure

    lines = [text for line in title.splitlines() for text in textwrap.wrap(line, int(width * 15.5))]
    height += _LINE * max(0, len(lines) - 3)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.05, h_pad=0.08)  # type: ignore[union-attr, call-arg]
    figure.suptitle("\n".join(lines), x=0.01, ha="left")
    return figure


def small_multiples(
    title: str, count: int, *, columns: int, panel_height: float, x: str, y: str
) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` equal panels whose axes mean ``x`` and ``y``.

    There are about ``columns`` in a row: one more or less where that leaves fewer places empty.
    """
    if count <= columns:
        most, columns = columns, count
    else:
        near = (columns, columns + 1, columns - 1)
        most = columns = min(near, key=lambda number: -count % number)
    rows = math.ceil(count / columns)
    # Of few panels none is larger than it is among many.
    width = max(WIDTH * min(1, (columns + 0.3) / most), 4.2)
    figure = new_figure(title, width=width, height=1.0 + rows * panel_height)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[count:]:
        axes.remove()
    for axes in grid.flat[max(0, count - columns) : count]:  # the lowest of each column
        axes.set_xlabel(x)
    for axes in grid[:, 0]:
        axes.set_ylabel(y)
    return figure, list(grid.flat[:count])


def note(axes: Axes, text: str) -> None:
    """Say in an empty panel why nothing is drawn there."""
    # Ticks are hidden and not removed: other panels may share them.
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
    axes.text(0.5, 0.5, textwrap.fill(text, 22), ha="center", va="center", transform=axes.transAxes)


def outlined(text: Text) -> None:
    """Keep a text legible where it lies on lines."""
    from matplotlib.patheffects import withStroke

    text.set_path_effects([withStroke(linewidth=1.8, foreground="white")])


def spelt(label: str) -> str:
    """A label for people: NIH writes ``Pleural_Thickening``."""
    return label.replace("_", " ")


def folded(label: str) -> str:
    """The same, folded to the width of a small panel."""
    return textwrap.fill(spelt(label), 24)


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names with commas, the first ``most`` of them."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


FORMATS = ("png", "svg", "pdf", "eps")
"""The formats of figures."""

DPI = 300
"""Pixels per inch of a figure in PNG, unless others are given."""

_METADATA: Mapping[str, dict[str, None]] = MappingProxyType(
    {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}, "eps": {}}
)
_EPS_DATE = re.compile(rb"^%%CreationDate:.*\n", re.MULTILINE)


@styled()
def as_bytes(figure: Figure, kind: str, *, dpi: int = DPI) -> bytes:
    """The figure in one of `FORMATS`; the same figure always gives the same bytes.

    EPS has no transparency: there, fills are drawn in the colour that they have on white paper,
    below all lines. This changes ``figure``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    if kind == "eps":
        _make_opaque(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi, metadata=_METADATA[kind])
    content = buffer.getvalue()
    return _EPS_DATE.sub(b"", content) if kind == "eps" else content


def _make_opaque(figure: Figure) -> None:
    from matplotlib.collections import PolyCollection

    for fill in figure.findobj(PolyCollection):
        fill.set(facecolor=_on_white(fill.get_facecolor()), alpha=None, zorder=-2)
        fill.set_edgecolor(_on_white(fill.get_edgecolor()))


def _on_white(colours: Any) -> Any:
    """Opaque colours (n, 3) that look as these (n, 4) do on white paper."""
    return colours[:, :3] * colours[:, 3:] + 1 - colours[:, 3:]


def write_figure(
    figure: Figure, folder: Path, name: str, formats: Sequence[str], *, dpi: int = DPI
) -> tuple[Path, ...]:
    """Write ``folder/name.png`` and the like; each file appears once it is whole.

    Characters of the name that could lead elsewhere are replaced.

    Raises
    ------
    SettingsError : the folder cannot be written.
    """
    paths = []
    with _FIGURES.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for kind in sorted(formats, key=FORMATS.index):  # eps, which changes the figure, is last
            path = folder / f"{re.sub(r'[^A-Za-z0-9+@.=_-]', '_', name)}.{kind}"
            write_bytes(path, as_bytes(figure, kind, dpi=dpi))
            paths.append(path)
    return tuple(paths)
