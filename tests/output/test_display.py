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


def test_a_finished_bar_is_full_and_work_without_a_step_has_none(capsys):
    display = RichDisplay()
    display.say("before")
    with display.task("nothing to fit", 200):
        pass
    with display.task("stopped early", 600) as advance:
        advance(324)
    display.say("after")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["before", "stopped", "after"]
    assert "324/324" in lines[1]


def test_a_bar_that_an_error_ended_stays_where_it_was(capsys):
    def broken():
        with RichDisplay().task("broken", 5) as advance:
            advance(2)
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        broken()
    assert "2/5" in capsys.readouterr().err
