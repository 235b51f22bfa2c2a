"""What is printed: tables that fit a terminal of 80 columns, CSV and JSON that hold the same."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields, replace

import pytest

from cxrbench.boards import tables
from cxrbench.boards.cells import condition
from cxrbench.boards.leaderboard import Board, LabelRow, Row, column_names
from cxrbench.output import show as show_module
from cxrbench.runs.run import SkippedRun

_TEXT = {"weights": "none", "trains": "head", "backend": "tensorflow", "device": "cpu"}


def row(recipe: str, rank: int | None = 1, **changes) -> Row:
    values = dict.fromkeys((field.name for field in fields(Row)), 0.5)
    values |= _TEXT | {"protocol": "probe", "precision": "float32", "dataset": "nih"}
    values |= {"devices": 1, "engine": "keras"}
    values |= {"rank": rank, "recipe": recipe, "seeds": 2, "labels_counted": 2, "split_seed": 0}
    values |= {"parameters": 23_600_000, "images_per_second": 31.0, "train_seconds": 750.0}
    values |= {"board": "k", "runs": (f"{recipe}-0", f"{recipe}-1"), "macro_auroc_sd": 0.012}
    values |= {"more": dict.fromkeys(column_names(per_label=False)[len(fields(Row)) - 1 :], 0.125)}
    return Row(**values | changes)


def label_row(recipe: str, label: str, **changes) -> LabelRow:
    values = dict.fromkeys((field.name for field in fields(LabelRow)), 0.25)
    values |= {"recipe": recipe, "label": label, "counted": label != "Hernia", "positives": 6}
    values |= {"known": 128, "board": "k", "runs": (f"{recipe}-0", f"{recipe}-1")}
    values |= {
        "scores": dict.fromkeys(column_names(per_label=True)[len(fields(LabelRow)) - 1 :], 0.25)
    }
    return LabelRow(**values | changes)


_NOTHING = {"protocol": "none", "backend": "none", "device": "none", "trains": "nothing"}
_NO_COST = {"parameters": 0, "train_seconds": None, "images_per_second": None}
PRIOR = row("prior", 2, seeds=1, macro_auroc_sd=None, **_NOTHING, **_NO_COST)
ROWS = (
    row("resnet50+orb:encoding=vlad,nfeatures=1000+sift@concat:units=64"),
    row("orb", None, macro_auroc=None, macro_auroc_low=None, macro_auroc_high=None),
    PRIOR,
)
LABELS = ("Pleural_Thickening", "Hernia", "No Finding")
BOARD = Board("k", LABELS, LABELS[::2], (), 1280, 300, ROWS,
              tuple(label_row(r.recipe, name) for r in ROWS for name in LABELS))  # fmt: skip
SKIPPED = (SkippedRun(path=tables.__file__, reason="the run 'x[bold]' is :x: incomplete"),)


@pytest.mark.parametrize(
    ("seeds", "told"),
    [
        ((1, 1), "over patients, of one seed each: what another would change is not in them."),
        ((2, 3), "over patients and seeds (sd: over seeds)."),
        (
            (1, 3),
            "and seeds (sd: over seeds; of a row of one seed, what another would change is not",
        ),
    ],
    ids=str,
)
def test_what_intervals_hold_of_seeds_is_told(seeds, told, capsys):
    rows = tuple(row(f"orb{n}", seeds=n) for n in seeds)
    tables.print_boards((replace(BOARD, rows=(*rows, PRIOR)),), (), "table", per_label=False)
    assert told in " ".join(capsys.readouterr().out.split())


def test_unknown_patients_are_told(capsys):
    tables.print_boards((replace(BOARD, test_patients=None),), (), "table", per_label=False)
    told = " ".join(capsys.readouterr().out.split())
    assert "1,280 test images of unknown patients" in told
    assert "patients are unknown: whether one has images in several parts" in told
    assert "95 % over images" in told
    assert "fewer than 5 test images with or without" in told


@pytest.fixture
def printed(monkeypatch, capsys):
    def show(width: int | None = None, **options) -> str:
        if width is not None:
            monkeypatch.setattr(show_module, "_WIDTH_OF_A_FILE", width)
        given = {"output": "table", "per_label": False, **options}
        tables.print_boards((BOARD,), given.pop("skipped", ()), **given)
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_and_cut_nothing(printed, width):
    out = printed(width, per_label=True, skipped=SKIPPED)
    assert max(map(len, out.splitlines())) <= width
    assert "…" not in out
    for words in ("0.500 [0.500, 0.500]", "12 min 30 s", "23.6 M", "300 patients", "2 of 3 labels"):
        assert words in out
    for label in LABELS:
        assert label in out
    assert "6 of 128" in out
    assert "Hernia *" in out
    flat = "".join(out.split())
    assert "allrowsbutprior:seeds2,protocolprobe,weightsnone,trainshead,ontensorflowcpu" in flat


def test_a_recipe_is_whole_where_there_is_room(printed):
    assert ROWS[0].recipe in printed(140)


def test_what_differs_between_rows_is_a_column(monkeypatch, capsys):
    rows = (row("orb"), row("resnet50", protocol="finetune", trains="from conv5_block1_1_conv"))
    board = Board("k", LABELS, LABELS, (), 10, 5, rows, ())
    tables.print_boards((board,), (), "table", per_label=False)
    out = capsys.readouterr().out
    assert "from conv5_block1_1_conv" in out
    assert "all rows but prior: seeds 2, weights none, on tensorflow cpu" in out


def test_ranks_and_what_is_unknown(printed):
    lines = printed(120).splitlines()
    assert any(line.split()[:3] == ["–", "orb", "–"] for line in lines)
    assert any(line.split()[:2] == ["2", "prior"] for line in lines)
    assert not any("nan" in line or "None" in line for line in lines)


def test_reasons_are_shown_as_they_are(printed):
    assert "left out: the run 'x[bold]' is :x: incomplete" in printed(skipped=SKIPPED)


def test_no_board_is_said(capsys):
    tables.print_boards((), (), "table", per_label=False)
    assert "no complete run yet" in capsys.readouterr().out


@pytest.mark.parametrize("per_label", [False, True])
def test_csv_and_json_hold_the_same(printed, per_label):
    told = json.loads(printed(output="json", per_label=per_label))["boards"][0]
    rows = told["per_label" if per_label else "rows"]
    read = list(csv.DictReader(io.StringIO(printed(output="csv", per_label=per_label))))
    assert len(read) == len(rows)
    for text, plain in zip(read, rows, strict=True):
        assert list(text) == list(plain)
        plain["runs"] = " ".join(plain["runs"])
        assert text == {k: "" if v is None else str(v) for k, v in plain.items()}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "tensorflow cpu"),
        ({"engine": "openvino"}, "tensorflow cpu openvino"),
        ({"backend": "jax", "device": "gpu", "precision": "bfloat16"}, "jax gpu bfloat16"),
        ({"backend": "jax", "device": "gpu", "devices": 4}, "jax 4 gpus"),
    ],
)
def test_what_a_row_was_computed_on_names_what_is_not_as_usual(changed, told):
    assert condition(row("orb", **changed), "on") == told
