"""Tables that are wider than a terminal are split, and every block names its rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrbench.output.layout import folded_name, split_to_width
from cxrbench.output.sections import CellTable, Column, text_column

NAMES = ("mobilenet:alpha=0.25+sift:permuted=true", "prior")
TABLE = CellTable(
    (Column("rank"), text_column("recipe"), Column("macro AUROC"), Column("micro AUROC")),
    tuple(("1", name, "0.707 [0.649, 0.758]", "0.828 [0.778, 0.868]") for name in NAMES),
)


def widths(table: CellTable) -> int:
    def widest(place: int) -> int:
        cells = (line for row in table.rows for line in row[place].split("\n"))
        return max(len(table.columns[place].name), *map(len, cells))

    columns = range(len(table.columns))
    return sum(map(widest, columns)) + 2 * (len(columns) - 1)


def test_a_table_that_fits_stays_as_it_is():
    assert split_to_width(TABLE, 100) == (TABLE,)


def test_each_block_begins_with_the_whole_names():
    first, second = split_to_width(TABLE, 79)
    assert [column.name for column in first.columns] == ["rank", "recipe", "macro AUROC"]
    assert [column.name for column in second.columns] == ["rank", "recipe", "micro AUROC"]
    assert [row[1] for row in first.rows] == [row[1] for row in second.rows] == list(NAMES)


def test_names_fold_after_a_separator_where_they_need_more_than_half():
    first, _ = split_to_width(TABLE, 56)
    assert first.rows[0][1].split("\n") == ["mobilenet:alpha=0.25+sift:", "permuted=true"]


@given(width=st.integers(60, 160), columns=st.integers(1, 9))
def test_no_column_is_lost_and_every_block_fits(width, columns):
    heads = [Column(f"measure {place}") for place in range(columns)]
    rows = tuple((name, *(["0.707 [0.649, 0.758]"] * columns)) for name in NAMES)
    blocks = split_to_width(CellTable((text_column("recipe"), *heads), rows), width)
    assert [c for block in blocks for c in block.columns[1:]] == heads
    assert all(widths(block) <= width for block in blocks)
    assert all(block.columns[0].name == "recipe" for block in blocks)


def test_sentences_are_left_to_fold_between_words():
    words = CellTable((text_column("check"), text_column("message")), (("a", "word " * 40),))
    assert split_to_width(words, 60) == (words,)


@pytest.mark.parametrize("name", ["a" * 40, "resnet50+orb@concat", "runs/nih-orb-probe-seed0"])
def test_a_folded_name_can_be_put_together_again(name):
    assert folded_name(name, 12).replace("\n", "") == name
