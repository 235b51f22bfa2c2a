"""Published results: beside the boards in every format but CSV, never a row of one."""

from __future__ import annotations

import json

import pytest

from cxrbench.boards.literature import LITERATURE


def test_every_entry_has_source_split_and_label_count():
    for one in LITERATURE:
        assert one.source
        assert one.split
        assert one.labels in (14, 15)
        assert one.macro_auroc is not None
        assert 0.5 < one.macro_auroc < 1


def test_the_pipeline_that_this_grew_from_is_among_them():
    grown = {(one.micro_auroc, one.macro_auroc) for one in LITERATURE if "grew" in one.source}
    assert grown == {(0.8284, 0.6049), (0.8167, 0.5836)}


@pytest.mark.parametrize("output", ["table", "markdown", "html", "latex"])
def test_it_stands_apart_in_every_format(cli, grid, output):
    said = cli("leaderboard", "--runs", grid.runs, "--literature", "--format", output)
    assert said.code == 0, said.err
    assert "Published results on NIH ChestX-ray14" in said.out
    assert said.out.index("tinynet") < said.out.index("Published results")
    assert "Not ranked" in " ".join(said.out.split())


def test_in_json_it_has_a_key_of_its_own_and_in_csv_there_is_none(cli, grid):
    told = json.loads(cli("leaderboard", "--runs", grid.runs, "--literature", "--json").out)
    assert [one["labels"] for one in told["literature"]] == [one.labels for one in LITERATURE]
    assert all(row["recipe"] != "DenseNet121 (CheXNet)" for row in told["boards"][0]["rows"])
    plain = cli("leaderboard", "--runs", grid.runs, "--literature", "--format", "csv").out
    assert plain == cli("leaderboard", "--runs", grid.runs, "--format", "csv").out
