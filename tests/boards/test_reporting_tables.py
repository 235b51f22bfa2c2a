"""What is printed: tables that fit a terminal of 80 columns, CSV and JSON that hold the same."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from run_conditions import conditions

from cxrbench.boards.board import OTHER_MEASURES, Board, Row
from cxrbench.boards.label_rows import LabelRow
from cxrbench.boards.leaderboard import (
    ORDERS,
    Leaderboard,
    board_sections,
    condition,
    sorted_boards,
)
from cxrbench.boards.saliency_columns import SALIENCY
from cxrbench.cli.leaderboard import Sort
from cxrbench.metrics.estimate import UNDEFINED, Estimate
from cxrbench.metrics.measures import MEASURES
from cxrbench.output.show import show
from cxrbench.runs.run import SkippedRun

_HALF = Estimate(0.5, 0.5, 0.5)
_MEASURES = ("macro_auroc", "macro_auroc_findings", "micro_auroc", "mean_ap", "micro_ap")


def row(recipe: str, rank: int | None = 1, *, seeds: int = 2, macro: Estimate = _HALF, **changes):
    told = {"weights": "none", "trains": "head", "backend": "tensorflow", "device": "cpu"}
    told |= {"protocol": "probe", "precision": "float32", "dataset": "nih", "devices": 1}
    told |= {"engine": "keras", "recipe": recipe, "labels_counted": ("A", "B")}
    told |= {"parameters": 23_600_000, "board_key": "k", "split": "patient"}
    return Row(
        rank=rank,
        conditions=conditions(**{**told, **changes}),
        runs=tuple(f"{recipe}-{seed}" for seed in range(seeds)),
        measures={
            **dict.fromkeys((*_MEASURES, *SALIENCY), _HALF),
            **dict.fromkeys(OTHER_MEASURES, Estimate(0.125, 0.125, 0.125)),
            "macro_auroc": macro,
        },
        macro_auroc_sd=0.012 if seeds > 1 else math.nan,
        train_seconds=None if recipe == "prior" else 750.0,
        images_per_second=None if recipe == "prior" else 31.0,
        latency_seconds=0.5,
        saliency_method="gradcam",
        saliency_iou_threshold=0.5,
    )


def label_row(recipe: str, label: str) -> LabelRow:
    return LabelRow(
        recipe=recipe,
        label=label,
        counted=label != "Hernia",
        positives=6,
        known=128,
        threshold=0.25,
        board="k",
        runs=(f"{recipe}-0", f"{recipe}-1"),
        scores=dict.fromkeys(MEASURES, Estimate(0.25, 0.25, 0.25)),
    )


_NOTHING = {"protocol": "none", "backend": "none", "device": "none", "trains": "nothing"}
PRIOR = row("prior", 2, seeds=1, parameters=0, **_NOTHING)
ROWS = (
    row("resnet50+orb:encoding=vlad,nfeatures=1000+sift@concat:units=64"),
    row("orb", None, macro=UNDEFINED),
    PRIOR,
)
LABELS = ("Pleural_Thickening", "Hernia", "No Finding")
BOARD = Board("k", LABELS, LABELS[::2], (), 1280, 300, ROWS,
              tuple(label_row(r.recipe, name) for r in ROWS for name in LABELS))  # fmt: skip
SKIPPED = (SkippedRun(path=Path("x"), reason="the run 'x[bold]' is :x: incomplete"),)


@pytest.mark.parametrize(
    ("seeds", "told"),
    [
        (
            (1, 1),
            "over patients. One seed per row: seed-to-seed variation is not included; use --seeds",
        ),
        ((2, 3), "patients and seed-to-seed variation. sd: standard deviation between seeds."),
        ((1, 3), "between seeds. Rows with one seed do not include seed-to-seed variation."),
    ],
    ids=str,
)
def test_what_intervals_hold_of_seeds_is_told(seeds, told, capsys):
    rows = tuple(row(f"orb{n}", seeds=n) for n in seeds)
    show(Leaderboard((replace(BOARD, rows=(*rows, PRIOR)),)), "table")
    assert told in " ".join(capsys.readouterr().out.split())


def test_the_method_of_intervals_is_named_once(capsys):
    show(Leaderboard((BOARD,), per_label=True), "table")
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("95 % bootstrap interval") == 1
    assert text.count("Wilson's score interval with the bootstrap variance and a t quantile.") == 1


def test_a_row_with_one_seed_is_a_model_and_no_recipe(capsys):
    sentence = "The rank of a row with one seed compares that trained model, not its recipe."
    for seeds, shown in ((1, True), (2, False)):
        rows = (row("orb", seeds=seeds), PRIOR)
        show(Leaderboard((replace(BOARD, rows=rows),)), "table")
        assert (sentence in " ".join(capsys.readouterr().out.split())) == shown


def test_unknown_patients_are_told(capsys):
    show(Leaderboard((replace(BOARD, test_patients=None),)), "table")
    told = " ".join(capsys.readouterr().out.split())
    assert "1,280 test images of unknown patients" in told
    assert "cannot check whether a patient has images in several splits" in told
    assert "95 % bootstrap interval over images" in told
    assert "fewer than 5 test images with or without" in told


@pytest.fixture
def printed(terminal, capsys):
    def printing(width: int | None = None, output: str = "table", **options) -> str:
        if width is not None:
            terminal(width)
        show(Leaderboard((BOARD,), **options), output)
        return capsys.readouterr().out

    return printing


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_and_cut_nothing(printed, width):
    out = printed(width, per_label=True, skipped=SKIPPED)
    assert max(map(len, out.splitlines())) <= width
    assert "…" not in out
    for words in ("0.500 [0.500, 0.500]", "12 min 30 s", "23.6 M", "300 patients", "2 of 3 labels"):
        assert words in " ".join(out.split())
    for label in LABELS:
        assert label in out
    assert "6 of 128" in out
    assert "Hernia *" in out
    flat = " ".join(out.split())
    assert "All trained rows: seeds 2, protocol probe, head mlp, on tensorflow cpu." in flat
    assert flat.startswith("nih (x) · patient split, seed 0 · 1,280 test images of 300 patients")


def test_a_recipe_is_whole_where_there_is_room(printed):
    assert ROWS[0].recipe in printed(140)


def test_what_differs_between_rows_is_a_column(monkeypatch, capsys):
    about = {"image_size": 224, "weights": "imagenet"}
    rows = (
        row("resnet50", **about),
        row("resnet50+orb", protocol="finetune", trains="from conv5_block1_1_conv", **about),
        row("orb"),
    )
    board = Board("k", LABELS, LABELS, (), 10, 5, rows, (), hidden=("orb:permuted=true+sift",))
    show(Leaderboard((board,)), "table")
    out = capsys.readouterr().out
    assert "from conv5_block1_1_conv" in out
    assert "All trained rows: seeds 2, head mlp, on tensorflow cpu." in out
    assert "Weights of all backbones: imagenet." in out
    assert "Not shown: 1 control row; --controls shows it." in out


def test_a_row_says_what_its_linear_head_left_out():
    rows = (replace(row("mobilenet+orb"), unused_parts=("orb (in 1 of 2 seeds)",)), row("orb"))
    (section,) = board_sections(Board("k", LABELS, LABELS, (), 10, 5, rows, ()), per_label=False)
    (note,) = (note for note in section.notes if "left out" in note)
    assert note.startswith("mobilenet+orb: the linear head left out orb (in 1 of 2 seeds).")


@pytest.mark.parametrize(
    ("order", "first"), [("macro", "b"), ("micro", "a"), ("recipe", "a"), ("parameters", "c")]
)
def test_rows_are_shown_in_the_order_asked_for(order, first):
    a, b, c = row("a"), row("b"), row("c", parameters=3)
    a = replace(a, measures={**a.measures, "micro_auroc": Estimate(0.9)})
    board = Board("k", LABELS, LABELS, (), 10, 5, (b, a, c), ())
    assert sorted_boards((board,), order)[0].rows[0].recipe == first


def test_each_order_has_a_choice_on_the_command_line():
    assert list(Sort) == list(ORDERS)


def test_ranks_and_what_is_unknown(printed):
    lines = printed(120).splitlines()
    assert any(line.split()[:3] == ["–", "orb", "–"] for line in lines)
    assert any(line.split()[:2] == ["2", "prior"] for line in lines)
    assert not any("nan" in line or "None" in line for line in lines)


def test_skipped_runs_are_in_the_json_with_their_reasons(printed):
    told = json.loads(printed(output="json", skipped=SKIPPED))
    assert told["skipped"] == [{"run": "x", "reason": "the run 'x[bold]' is :x: incomplete"}]


def test_no_board_is_said(capsys):
    show(Leaderboard(()), "table")
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
        plain |= {name: " ".join(map(str, v)) for name, v in plain.items() if isinstance(v, list)}
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
