"""Functions that moved are found in revisions from before and after the move."""

from __future__ import annotations

import math

import pytest

from cxrbench.perf.hot_paths import path as homes


@pytest.mark.parametrize("name", homes.HOMES)
def test_todays_home_is_the_first(name):
    assert homes.load(name).__module__ == homes.HOMES[name][0]


def test_a_former_home_is_tried_where_todays_is_not_there(monkeypatch):
    former = {"sqrt": ("cxrbench.nowhere", "cxrbench.errors", "math"), "lost": ("math",)}
    monkeypatch.setattr(homes, "HOMES", former)
    assert homes.load("sqrt") is math.sqrt
    with pytest.raises(ImportError, match="cannot import lost from any of math"):
        homes.load("lost")
