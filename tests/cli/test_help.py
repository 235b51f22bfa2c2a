"""Help pages show no types of Python, and fill the width of the terminal."""

from __future__ import annotations

import re

import pytest
import typer
from typer.testing import CliRunner

from cxrbench.cli.app import app


def paths_of(group: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command and group."""
    commands = getattr(group, "commands", {})
    return [path, *(one for name in commands for one in paths_of(commands[name], (*path, name)))]


PATHS = paths_of(typer.main.get_command(app))


@pytest.fixture(scope="module")
def pages() -> dict[tuple[str, ...], str]:
    """The help page of every command, 80 columns wide."""
    runner = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    return {path: runner.invoke(app, [*path, "--help"]).output for path in PATHS}


def test_every_command_has_a_page(pages):
    assert len(pages) == len(PATHS) > 25
    assert all("Usage: cxrbench" in page for page in pages.values())


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_no_page_shows_a_type_of_python(pages, path):
    assert not re.findall(r"<[\w\[\]| ]+>|\[\w*\d*<?=?x[<>]=[^\]]*\]", pages[path])


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_the_usage_names_each_argument_once(pages, path):
    usage = next(line for line in pages[path].splitlines() if "Usage:" in line)
    assert not re.search(r"[{}]|\[\[|…\.\.\.|…\]\.\.\.", usage)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_no_word_is_cut_off(pages, path):
    assert not re.search(r"[a-z0-9+-]… ", pages[path])


def test_paragraphs_fill_the_width(pages):
    lines = [line.strip() for line in pages["run",].splitlines()]
    start = next(n for n, line in enumerate(lines) if line.startswith("Join the parts"))
    end = lines.index("", start)
    assert all(len(line) > 60 for line in lines[start : end - 1])
