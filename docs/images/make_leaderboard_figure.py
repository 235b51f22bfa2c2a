"""Draw a leaderboard as it looks in a terminal.

    python docs/images/make_leaderboard_figure.py RUNS OUT

RUNS is a folder of run directories, OUT an SVG file such as ``docs/images/leaderboard.svg``.
"""

from __future__ import annotations

import io
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path

from rich.console import Console

from cxrbench.boards.board import boards
from cxrbench.boards.leaderboard import Leaderboard
from cxrbench.output.show import show
from cxrbench.runs.run import read_runs


def board_text(folder: Path) -> str:
    """The first board, the one with most rows, as ``cxrbench leaderboard`` prints it."""
    runs, _ = read_runs(folder)
    if not runs:
        raise SystemExit(f"{folder} has no complete run")
    printed = io.StringIO()
    with redirect_stdout(printed):
        show(Leaderboard(boards(runs)[:1]), "table")
    return printed.getvalue()


def draw(text: str, title: str) -> str:
    """An SVG of the text in a terminal's window; it loads nothing from elsewhere."""
    lines = [line.rstrip() for line in text.splitlines()]
    width = max(map(len, lines))
    console = Console(record=True, width=width, file=io.StringIO(), highlight=False)
    console.print("\n".join(lines), markup=False, emoji=False)
    svg = console.export_svg(title=title)
    # rich names a font on a web server and itself; any monospace font will do.
    svg = re.sub(r"@font-face\s*\{.*?\}", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def main() -> None:
    """Write the picture."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    runs, out = map(Path, sys.argv[1:])
    out.write_text(draw(board_text(runs), "cxrbench leaderboard"), encoding="utf-8")


if __name__ == "__main__":
    main()
