"""Completion in the shell, asked as bash asks."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def complete(cli, monkeypatch, tmp_path):
    """The proposals for the last word of a command line."""
    monkeypatch.chdir(tmp_path)
    for number, recipe in enumerate(("resnet50+orb", "orb:words=64", "tinynet")):
        folder = tmp_path / "runs" / f"phantom-{number}"
        folder.mkdir(parents=True)
        content = {"status": "complete", "recipe": recipe, "labels": ["Mass", "No Finding"]}
        (folder / "run.json").write_text(json.dumps(content))
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "run.json").write_text("{")
    (tmp_path / "runs" / "empty").mkdir()
    (tmp_path / "runs" / "empty" / "run.json").write_text("[]")

    def proposals(line):
        words = line.split(" ")
        monkeypatch.setenv("_CXRBENCH_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        said = cli()
        assert (said.code, said.err) == (0, "")
        return said.out.split()

    return proposals


@pytest.mark.parametrize(
    ("line", "proposals"),
    {
        "cxrbench leader": ["leaderboard"],
        "cxrbench run --prot": ["--protocol"],
        "cxrbench run --protocol ": ["finetune", "probe"],
        "cxrbench run --device c": ["cpu"],
        "cxrbench run --weights i": ["imagenet"],
        "cxrbench run --data ph": ["phantom"],
        "cxrbench data check ph": ["phantom"],
        "cxrbench run tinyn": ["tinynet"],
        "cxrbench run resnet+or": ["resnet+orb"],
        "cxrbench run resnet+orb@co": ["resnet+orb@concat"],
        "cxrbench run orb:nf": ["orb:nfeatures="],
        "cxrbench run tiny+orb:words=5,perm": ["tiny+orb:words=5,permuted="],
        "cxrbench run orb@concat:un": ["orb@concat:units="],
        "cxrbench run nothing:x": [],
        "cxrbench compare res": ["resnet50+orb"],
        "cxrbench export runs/phantom-2": ["runs/phantom-2"],
        "cxrbench score --format la": ["latex"],
        "cxrbench figures --label No": ["No", "Finding"],
        "cxrbench explain or": ["orb:words=64"],
        "cxrbench plugins show conc": ["concat"],
    }.items(),
)
def test_the_shell_completes(complete, line, proposals):
    assert complete(line) == proposals


def test_recipes_are_of_the_folder_that_is_named(complete):
    assert complete("cxrbench compare --runs /nothing/here res") == []
