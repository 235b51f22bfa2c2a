"""The checks of a run's JSON: they name the first invalid place, whatever its keys are."""

from __future__ import annotations

import pytest

from cxrbench.errors import RunError
from cxrbench.runs.validation import list_of, mapping_of, optional, record, require, text

FILES = record({"files": mapping_of(text)}, {"parts": list_of(mapping_of(optional(text)))})


@pytest.mark.parametrize(
    ("value", "place", "got"),
    [
        ({"files": {"a\0b": 5}}, r"files.a\\x00b", "5"),
        ({"files": {"": 5}}, "files.", "5"),
        ({"files": {"a": "b"}, "parts": [{}, {"1": 7}]}, "parts.1.1", "7"),
        ({}, "files", "None"),
    ],
)
def test_the_first_invalid_place_is_named(value, place, got):
    with pytest.raises(RunError, match=f"{place}' has no valid value\n  got: {got}"):
        require(value, FILES, "a-run/run.json")


def test_a_valid_value_comes_back():
    value = {"files": {"a\0b": "c"}, "parts": [{"d": None}]}
    assert require(value, FILES, "a-run/run.json") is value
