"""The grid of runs that several test modules share, run again and read."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from conftest import FAST, Recorder

import cxrbench

LABELS = ["Effusion", "Mass", "Nodule", "No Finding"]
FUSED = "tinynet+grid+rows:words=8"


def info_of(path: Path) -> dict:
    return json.loads((path / "run.json").read_text())


def again(grid, recipes=("tinynet", FUSED, "grid"), **changes):
    """The same call as the grid's, or one that differs by ``changes``; also the display."""
    display = Recorder()
    settings = {"data": "drawn", "runs": grid.runs, "cache": grid.cache, "protocol": "probe"}
    settings |= {"seeds": 2, **FAST, **changes}
    return cxrbench.run(list(recipes), display=display, **settings), display


def scores_of(path):
    return pd.read_parquet(path / "predictions.parquet").filter(like="y_score_").to_numpy()
