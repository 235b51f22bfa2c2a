"""The files of figures: formats, names, sizes, panels, and how many rows and labels they hold."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from cxrbench.boards.figures import all_figures, figure_count
from cxrbench.boards.figures.forest import draw_forest
from cxrbench.boards.figures.rows import choose_rows, whole_board
from cxrbench.output.figure_style import as_bytes, small_multiples


@pytest.fixture(scope="module")
def rows(grid):
    return choose_rows(["grid", "tinynet", "prior"], grid.runs)


@pytest.fixture(scope="module")
def board(grid, rows):
    return whole_board(rows, grid.runs)


def test_the_same_figure_is_the_same_svg_and_knows_no_date(board):
    one, other = (as_bytes(draw_forest(board), "svg") for _ in range(2))
    assert one == other
    assert b"<dc:date>" not in one


def test_matplotlib_is_left_as_it_was():
    """Neither settings nor pyplot, which would keep every figure in memory."""
    code = (
        "import sys, matplotlib\n"
        "matplotlib.rcParams['font.size'] = 23\n"
        "from cxrbench.output.figure_style import as_bytes, small_multiples, styled\n"
        "with styled():\n"
        "    figure, _ = small_multiples('t', 2, columns=4, panel_height=1, x='x', y='y')\n"
        "assert as_bytes(figure, 'png', dpi=50).startswith(b'\\x89PNG')\n"
        "print(matplotlib.rcParams['font.size'], 'matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "23.0 False\n"


def test_a_name_of_a_figure_leads_nowhere_else(tmp_path):
    from matplotlib.figure import Figure

    from cxrbench.output.figure_style import write_figure

    (path,) = write_figure(Figure(), tmp_path / "figures", "keypoints-../../a\x1b[31m/b", ("png",))
    assert path.parent == tmp_path / "figures"
    assert path.name == "keypoints-.._.._a__31m_b.png"


@pytest.mark.parametrize(
    ("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("eps", b"%!PS")]
)
def test_each_format_is_written_and_the_same_each_time(rows, board, kind, start):
    def drawn() -> bytes:
        ((_, figure),) = all_figures(rows, board, only=["roc"])
        return as_bytes(figure, kind)

    content = drawn()
    assert content.startswith(start)
    assert drawn() == content
    assert kind != "pdf" or b"/Type3" not in content


def test_eps_has_no_see_through_colours(rows, board, caplog):
    ((_, figure),) = all_figures(rows, board, only=["roc"])
    as_bytes(figure, "eps")
    assert "transparency" not in caplog.text


def test_png_has_the_pixels_of_its_dpi():
    from matplotlib.figure import Figure
    from PIL import Image

    for dpi in (100, 300):
        with Image.open(io.BytesIO(as_bytes(Figure(figsize=(2, 1)), "png", dpi=dpi))) as image:
            assert image.size == (2 * dpi, dpi)


def test_costs_that_no_row_has_get_no_panel(rows, board):
    ((_, figure),) = all_figures(rows, board, only=["pareto"])
    assert [axes.get_xlabel() for axes in figure.axes] == ["training (seconds)", "parameters"]


@pytest.mark.parametrize(("count", "shape"), [(3, (1, 3)), (9, (3, 3)), (10, (2, 5)), (15, (3, 5))])
def test_panels_fill_their_rows(count, shape):
    _, panels = small_multiples("t", count, columns=4, panel_height=1, x="x", y="y")
    assert panels[0].get_gridspec().get_geometry() == shape
    assert [axes.get_xlabel() for axes in panels][-shape[1] :] == ["x"] * shape[1]


def test_of_very_many_labels_those_with_the_most_positives_are_drawn(
    grid, rows, board, recorder, monkeypatch
):
    monkeypatch.setattr("cxrbench.boards.figures.MOST_LABELS", 2)
    kinds = ["roc", "confusion"]
    made = dict(all_figures(rows[:1], board, only=kinds, display=recorder))
    positives = {label["label"]: label["positives"] for label in rows[0][0].labels}
    counted = rows[0][0].conditions.labels_counted
    often = sorted(counted, key=lambda label: -positives[label])[:2]
    titles = [axes.get_title() for axes in made["roc"].axes]
    assert len(titles) == 2
    assert all(any(label in title for title in titles) for label in often)
    assert f"figures show the 2 of {len(counted)} labels" in recorder.lines[0]
    given = dict(all_figures(rows[:1], board, only=["roc"], labels=counted, display=recorder))
    assert len(given["roc"].axes) == len(counted)


def test_of_very_many_rows_the_first_are_drawn(rows, board, recorder, monkeypatch):
    monkeypatch.setattr("cxrbench.boards.figures.MOST_ROWS", 1)
    made = dict(all_figures(rows, board, only=["forest", "confusion"], display=recorder))
    assert [name.partition("-")[0] for name in made] == ["forest", "confusion"]
    assert any(f"its first 1 of {len(board.rows)} rows" in line for line in recorder.lines)
    assert figure_count(rows, ["forest", "confusion"]) == 2


@pytest.mark.parametrize("labels", [(), ("Effusion",)])
def test_no_letter_lies_outside_a_figure(rows, board, labels):
    for name, figure in all_figures(rows, board, labels=labels):
        as_bytes(figure, "png", dpi=50)
        width, height = figure.get_size_inches()
        left, bottom, right, top = figure.get_tightbbox().extents
        assert min(left, bottom, width - right, height - top) >= -0.01, name
