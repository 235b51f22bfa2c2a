"""Bars on standard error: one after another, or side by side."""

from __future__ import annotations

import pytest

from cxrbench.output.display import RichDisplay


def test_bars_side_by_side_share_one_place_and_lines_go_on(capsys):
    display = RichDisplay()
    with display.task("first", 2) as first:
        with display.task("second", 3) as second:
            second(3, "all of it")
            display.say("a line [in brackets]")
        first(2)
    display.say("afterwards")
    with display.task("third", 1) as third:
        third()
    err = capsys.readouterr().err
    assert "a line [in brackets]" in err
    assert err.index("first") < err.index("afterwards") < err.index("third")
    assert "2/2" in err
    assert "1/1" in err


def test_an_error_inside_a_bar_leaves_the_next_one_usable(capsys):
    display = RichDisplay()
    with pytest.raises(ValueError, match="no more"), display.task("broken", 2):
        raise ValueError("no more")
    with display.task("next", 1) as advance:
        advance()
    assert "1/1" in capsys.readouterr().err
