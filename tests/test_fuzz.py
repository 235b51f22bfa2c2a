"""Readers of files, given the small corpora and damaged copies of them; a script does it longer."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from itertools import islice
from pathlib import Path

import pytest


def _script():
    path = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz", path)
    module = sys.modules["fuzz"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fuzz = _script()


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_the_corpora_are_those_of_the_readers_and_small():
    assert {path.name for path in fuzz.CORPORA.iterdir()} == set(fuzz.READERS)
    sizes = [path.stat().st_size for path in fuzz.CORPORA.rglob("*") if path.is_file()]
    assert max(sizes) < 7_000


@pytest.mark.parametrize("name", fuzz.READERS)
def test_a_reader_takes_every_valid_file(name, tmp_path):
    for number, data in enumerate(fuzz.corpus(name)):
        path = tmp_path / str(number)
        path.write_bytes(data)
        fuzz.READERS[name].read(path)


@pytest.mark.parametrize("name", fuzz.READERS)
def test_a_reader_reads_a_damaged_file_or_says_why_not(name, tmp_path):
    path = tmp_path / "damaged"
    for data in islice(fuzz.damaged(name, seed=1), 300):
        path.write_bytes(data)
        why = fuzz.failure(name, path)
        assert why is None, f"{data!r}\n{why}"


def test_a_reader_that_fails_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setitem(fuzz.READERS, "npz", fuzz.Reader(lambda path: 1 // 0))
    assert "ZeroDivisionError" in fuzz.failure("npz", tmp_path)
