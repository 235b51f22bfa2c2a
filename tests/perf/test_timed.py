"""Timed paths as tables that fit a terminal, and as JSON that can be read again."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace

import pytest

from cxrbench.output.show import show
from cxrbench.perf.alone import CallTimes
from cxrbench.perf.timed import Candidate, TimedPart, TimedPath, TimedRecipe, Timing
from cxrbench.registry import Plugin

SAMPLE = CallTimes(
    step="prepare",
    images=2,
    calls=(0.0123,) * 19 + (0.5,),
    wall=0.4,
    threads=2,
    device=None,
    backend=None,
    set_up_seconds=0.5,
    first_call_seconds=0.25,
    memory=12_300_000,
)
ON_GPU = replace(SAMPLE, images=32, device="Some GPU", backend="jax", threads=None, memory=None)
RECIPE = TimedRecipe(
    "resnet50+orb+sift",
    224,
    32,
    20,
    (
        TimedPath("decode", 224, SAMPLE, share=0.25),
        TimedPath("extract/orb", 224, None, "ValueError: no [red]film[/red]"),
        TimedPath("augment/translation", 224, replace(ON_GPU, calls=(12e-6,)), share=None),
        TimedPath("train-step/resnet50+orb+sift", 224, replace(ON_GPU, calls=(12.5,)), share=0.75),
        TimedPath("bootstrap", 224, replace(SAMPLE, images=0), share=0.0),
    ),
)
PARTS = (
    TimedPart(Candidate("feature", "orb", 512, "cxrbench", "1"), RECIPE.paths[1]),
    TimedPart(
        Candidate("backbone", "efficientnetb0", 224, "cxrbench-efficientnet", "2"),
        TimedPath("forward/efficientnetb0", 128, ON_GPU),
    ),
)
BROKEN = (Plugin("shiny", "m", "cxrbench-shiny", "2", error="ImportError: x[1]"),)
TIMING = Timing("drawn", 4, "Some GPU", "jax", (RECIPE,), PARTS, BROKEN)


@pytest.fixture
def lines(capsys, monkeypatch):
    """What a terminal of 80 columns shows."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    show(TIMING, "table")
    return capsys.readouterr().out.splitlines()


def test_a_row_for_each_path_in_units_that_can_be_read(lines):
    rows = [line.split() for line in lines]
    assert ["path", "images", "p50", "p95", "images/s", "memory", "threads", "share"] in rows
    assert [*("decode", "2", "12.3", "ms", "36.7", "ms", "100"), "12", "MB", "2", "25.0%"] in rows
    assert ["extract", "orb", *"––––––", "–"] in rows
    assert [
        *("augment", "translation", "32", "12.0", "µs", "12.0", "µs"),
        "80.0",
        "–",
        "gpu",
        "–",
    ] in rows
    assert [*("train-step", "32", "12.5", "s", "12.5", "s"), "80.0", "–", "gpu", "75.0%"] in rows
    assert [*("bootstrap", "–", "12.3", "ms", "36.7", "ms"), "–", "12", "MB", "2", "0.0%"] in rows


def test_parts_have_their_package_and_what_failed_its_error(lines):
    text = "\n".join(lines)
    assert "extract orb failed: ValueError: no [red]film[/red]" in text
    assert "orb failed: ValueError: no [red]film[/red]" in text
    assert "shiny (cxrbench-shiny) is broken: ImportError: x[1]" in text
    assert any(line.startswith("efficientnetb0") and " 128 " in line for line in lines)
    assert any(line.startswith("orb ") and " 512 " in line for line in lines)


def test_it_fits_eighty_columns(lines):
    assert max(map(len, lines)) <= 80


def test_json_has_what_the_table_leaves_out(capsys):
    show(TIMING, "json")
    told = json.loads(capsys.readouterr().out)
    assert {key: told[key] for key in ("data", "films", "device", "backend")} == {
        **{"data": "drawn", "films": 4, "device": "Some GPU", "backend": "jax"},
    }
    decode, failed, *_ = told["recipes"][0]["paths"]
    assert decode == {
        **{"path": "decode", "step": "prepare", "image_size": 224, "images": 2, "calls": 20},
        **{"p50_seconds": 0.0123, "p95_seconds": pytest.approx(0.0367, abs=1e-4)},
        **{"images_per_second": 100.0, "memory_bytes": 12_300_000, "threads": 2},
        **{"set_up_seconds": 0.5, "first_call_seconds": 0.25, "error": None, "share": 0.25},
    }
    assert (failed["error"], failed["p50_seconds"]) == ("ValueError: no [red]film[/red]", None)
    assert [part["part"] for part in told["parts"]] == ["orb", "efficientnetb0"]
    assert told["broken"][0]["error"] == "ImportError: x[1]"


def test_csv_has_a_line_for_each_path_and_part(capsys):
    show(TIMING, "csv")
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [line["path"] for line in lines][-2:] == ["extract/orb", "forward/efficientnetb0"]
    assert [line["recipe"] for line in lines] == ["resnet50+orb+sift"] * 5 + [""] * 2
    assert float(lines[0]["images_per_second"]) == 100
