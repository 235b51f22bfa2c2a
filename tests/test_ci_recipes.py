"""The recipes for continuous integration call the command line as it is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from cxrbench.cli.app import app

RECIPES = sorted((Path(__file__).parents[1] / "docs" / "ci").glob("*.yml"))


def calls(text: str) -> list[list[str]]:
    """The arguments of every call of cxrbench; a call goes on in lines that are indented deeper."""
    lines = re.findall(r"^ *(?:- )?cxrbench (.*(?:\n +--.*)*)", text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_option_exists_and_the_comparison_is_one_with_the_merge_base(recipe):
    text = recipe.read_text(encoding="utf-8")
    (arguments,) = calls(text)
    assert arguments[:2] == ["perf", "compare"]
    group = typer.main.get_command(app).commands["perf"]
    known = {option for one in group.commands["compare"].params for option in one.opts}
    used = {argument for argument in arguments if argument.startswith("--")}
    assert used <= known
    assert {"--markdown", "--quick"} <= used
    assert "merge-base" in text or "DIFF_BASE" in text
    assert "\t" not in text


def test_there_is_one_for_each_of_two_services():
    assert [path.stem for path in RECIPES] == ["github-actions", "gitlab-ci"]


def test_actions_of_others_are_named_by_the_hash_of_a_commit():
    """A tag can be moved to other code by whoever takes over its repository."""
    used = [line for path in RECIPES for line in re.findall(r"uses: (.*)", path.read_text())]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
