"""Published results: beside boards with the same test images and labels, never a row of one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

import cxrbench
from cxrbench.boards.leaderboard import Leaderboard
from cxrbench.boards.literature import TEST_IMAGES, published_results, results_beside
from cxrbench.errors import SettingsError

FINDINGS = tuple(f"finding {number}" for number in range(14))


@pytest.fixture(scope="module")
def drawn_board(grid):
    return cxrbench.leaderboard(grid.runs).boards[0]


def on_list(board, name, images, *, labels=(*FINDINGS, "No Finding")):
    """The board as if its test images and labels were these."""
    rows = tuple(
        replace(row, conditions=replace(row.conditions, list_name=name, no_finding="No Finding"))
        for row in board.rows
    )
    return replace(board, rows=rows, test_images=images, labels=labels, labels_counted=labels)


def test_every_entry_has_its_conditions_and_its_source():
    results = published_results()
    assert len(results) == 43
    for one in results:
        assert one.source
        assert one.split
        assert one.labels in (14, 15)
        assert 0.5 < one.macro_auroc < 1
        assert one.seen in ("primary", "secondary")
        assert one.list in (*TEST_IMAGES, "random", "unknown")
        assert one.share in (0.01, 0.1, 1)
    assert Counter(one.list for one in results) == {
        **{"nih-official": 21, "nih-22433": 12, "medmnist": 1},
        **{"random": 7, "unknown": 2},
    }
    assert list(dict.fromkeys(one.list for one in results)) == [*TEST_IMAGES, "random", "unknown"]
    keys = [(one.list, one.model, one.share, one.source) for one in results]
    assert len(set(keys)) == len(keys)
    for name in TEST_IMAGES:
        scores = [one.macro_auroc for one in results if one.list == name]
        assert scores == sorted(scores, reverse=True)


def test_what_was_wrong_in_earlier_versions_is_right():
    by_model = {one.model: one for one in published_results()}
    chexnet = by_model["DenseNet121 (CheXNet)"]
    assert (chexnet.macro_auroc, chexnet.list) == (0.841, "random")
    assert "unpublished" in chexnet.split
    assert "420" not in chexnet.split
    (medmnist,) = [one for one in published_results() if one.list == "medmnist"]
    assert (medmnist.macro_auroc, medmnist.pixels) == (
        0.773,
        "28 enlarged to 224 by nearest neighbour",
    )


def test_the_pipeline_that_this_grew_from_is_among_them():
    grown = {(r.micro_auroc, r.macro_auroc) for r in published_results() if "grew" in r.source}
    assert grown == {(0.8284, 0.6049), (0.8167, 0.5836)}


@pytest.mark.parametrize(
    ("name", "images", "labels", "count"),
    [
        ("nih-official", 25_596, (*FINDINGS, "No Finding"), 21),
        ("nih-official", 25_400, FINDINGS, 21),
        ("nih-official", 25_000, FINDINGS, 0),
        ("nih-official", 97, FINDINGS, 0),
        ("nih-official", 25_596, FINDINGS[1:], 0),
        ("nih-official", 25_596, (*FINDINGS[1:], "No Finding"), 21),
        ("nih-22433", 22_433, FINDINGS, 12),
        ("nih-22433-train-10", 22_433, FINDINGS, 12),
        ("nih-22433:0a1b2c3d", 22_433, FINDINGS, 0),
        ("medmnist", 22_433, FINDINGS, 1),
        ("random", 22_433, FINDINGS, 0),
        (None, 25_596, FINDINGS, 0),
    ],
)
def test_a_result_stands_beside_its_own_list_and_labels_alone(
    drawn_board, name, images, labels, count
):
    results = results_beside(on_list(drawn_board, name, images, labels=labels))
    assert len(results) == count
    base = (name or "").partition("-train-")[0]
    assert {one.list for one in results} <= {base}


def test_the_table_beside_a_board_says_what_it_is(drawn_board):
    board = on_list(drawn_board, "nih-22433", 22_433)
    other = on_list(drawn_board, "nih-official", 97)
    shown = Leaderboard((board, other), literature="same")

    titles = [section.title for section in shown.sections()]
    assert titles[1] == "Published results on NIH ChestX-ray14, list nih-22433"
    notes = " ".join(shown.sections()[1].notes)
    assert "Not ranked" in notes
    assert "column findings: 14 labels" in notes
    assert "97 of the 25,596 test images" in " ".join(shown.sections()[3].notes)
    assert {one.list for one in shown.to_json()["literature"]} == {"nih-22433"}


@pytest.mark.parametrize("output", ["table", "markdown", "html", "latex"])
def test_all_stand_apart_in_every_format(cli, grid, output):
    said = cli("leaderboard", "--runs", grid.runs, "--literature", "all", "--format", output)
    assert said.code == 0, said.err
    assert "Published results on NIH ChestX-ray14" in said.out
    assert said.out.index("tinynet") < said.out.index("Published results")
    assert "Not ranked" in " ".join(said.out.split())
    assert "EVA-X-B" in said.out


def test_without_a_value_the_boards_own_list_counts(cli, grid):
    """The option took no value once; a run's name may follow it."""
    said = cli("leaderboard", "--runs", grid.runs, "--literature")
    assert said.code == 0, said.err
    assert "are not those of a list with published results" in " ".join(said.out.split())
    assert "--literature all" in " ".join(said.out.split())
    assert "EVA-X" not in said.out
    told = json.loads(cli("leaderboard", "--runs", grid.runs, "--literature", "--json").out)
    assert told["literature"] == []
    assert "literature" not in json.loads(cli("leaderboard", "--runs", grid.runs, "--json").out)


def test_a_report_takes_the_recipe_after_the_option(cli, grid, tmp_path):
    page = tmp_path / "report.html"
    places = ("--runs", grid.runs, "--cache", grid.cache, "--cases", 0, "--output", page)
    said = cli("report", "--literature", "tinynet", *places)
    assert said.code == 0, said.err
    assert "are not those of a list with published results" in page.read_text()
    assert cli("report", "--literature=all", "tinynet", *places).code == 0
    assert "EVA-X-B" in page.read_text()


def test_in_json_it_has_a_key_of_its_own_and_in_csv_there_is_none(cli, grid):
    told = json.loads(cli("leaderboard", "--runs", grid.runs, "--literature", "all", "--json").out)
    assert [r["labels"] for r in told["literature"]] == [r.labels for r in published_results()]
    assert all(row["recipe"] != "DenseNet121 (CheXNet)" for row in told["boards"][0]["rows"])
    plain = cli("leaderboard", "--runs", grid.runs, "--literature", "all", "--format", "csv").out
    assert plain == cli("leaderboard", "--runs", grid.runs, "--format", "csv").out


def test_in_python_true_is_the_same_list(grid):
    assert cxrbench.leaderboard(grid.runs, literature=True).literature == "same"
    assert cxrbench.leaderboard(grid.runs).literature == ""
    assert cxrbench.leaderboard(grid.runs, literature="all").literature == "all"
    with pytest.raises(SettingsError, match="literature cannot be 'some'"):
        cxrbench.leaderboard(grid.runs, literature="some")
