"""Plugins, diagnoses and checks on standard output."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import pytest

from cxrbench import FeatureExtractor, Identity
from cxrbench.errors import RecipeError
from cxrbench.output.show import show
from cxrbench.recipe import parse_recipe
from cxrbench.registry import Plugin, Registry
from cxrbench.testing import CheckResult
from cxrbench.testing.documents import (
    CheckReport,
    Diagnoses,
    PartCards,
    PluginList,
    part_cards,
)

PLUGINS = [
    Plugin("orb", "m", "cxrbench", "1", ("feature orb",)),
    Plugin("nets", "m", "cxrbench-nets", "3", ("backbone neta", "fusion netb")),
    Plugin(
        *("bad", "bad_module", "cxrbench-bad", "2", ()),
        "there is no hook 'x[red]'\n  expected: y",
        "pip install --upgrade cxrbench-bad",
    ),
]
RESULTS = [
    CheckResult("feature", "orb", "shapes", "ok", 0.25, "d = 32 [uint8]"),
    CheckResult("feature", "orb", "images", "failed", 0.5, "bad\n  expected: good\n  got: bad"),
    CheckResult("feature", "orb", "gradients-jax", "skipped", 0.0, "jax is not installed"),
]


def test_each_part_has_a_row_and_a_broken_plugin_its_whole_error(capsys):
    show(PluginList(PLUGINS), "table")
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    assert ["kind", "name", "plugin", "package", "version", "state"] in rows
    assert ["backbone", "neta", "nets", "cxrbench-nets", "3", "ok"] in rows
    assert ["fusion", "netb", "nets", "cxrbench-nets", "3", "ok"] in rows
    assert ["–", "–", "bad", "cxrbench-bad", "2", "broken"] in rows
    assert "bad is broken: there is no hook 'x[red]'\n  expected: y" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_diagnosis_says_why_and_what_to_do(capsys):
    show(Diagnoses(PLUGINS[2:], 3), "table")
    out = capsys.readouterr().out
    assert out.startswith("1 of 3 plugins are broken\n")
    assert "\nbad (cxrbench-bad 2, module bad_module)\n  there is no hook 'x[red]'\n" in out
    assert "to do: pip install --upgrade cxrbench-bad\n" in out
    show(Diagnoses([], 2), "table")
    assert capsys.readouterr().out.startswith("All 2 plugins load")
    show(Diagnoses(PLUGINS[2:], 3), "json")
    (told,) = json.loads(capsys.readouterr().out)["plugins"]
    assert (told["name"], told["fix"]) == ("bad", "pip install --upgrade cxrbench-bad")


@pytest.mark.parametrize("output", ["table", "json"])
def test_checks_are_told_with_seconds_and_failures_whole(capsys, output):
    show(CheckReport(RESULTS), output)
    out = capsys.readouterr().out
    if output == "json":
        told = json.loads(out)["checks"]
        assert [one["state"] for one in told] == ["ok", "failed", "skipped"]
        assert told[0] == {
            **{"kind": "feature", "part": "orb", "check": "shapes", "state": "ok"},
            **{"seconds": 0.25, "told": "d = 32 [uint8]"},
        }
    else:
        assert ["orb", "shapes", "ok", "0.25", "d", "=", "32", "[uint8]"] in map(
            str.split, out.splitlines()
        )
        assert "orb, images: bad\n  expected: good\n  got: bad\n" in out
        assert out.startswith("3 checks in 0.8 s, 1 failed\n")


def test_a_failure_of_several_checks_is_told_once(capsys):
    again = replace(RESULTS[1], check="threads")
    show(CheckReport([*RESULTS, again]), "table")
    out = capsys.readouterr().out
    assert out.count("expected: good") == 1
    assert "orb, images, threads: bad\n" in out


def test_one_check_is_not_many(capsys):
    show(CheckReport(RESULTS[:1]), "csv")
    assert capsys.readouterr().out.splitlines()[0] == "kind,part,check,state,seconds,told"
    show(CheckReport(RESULTS[:1]), "markdown")
    assert capsys.readouterr().out.startswith("### 1 check in 0.2 s, 0 failed\n")


@dataclass(frozen=True)
class Odd(FeatureExtractor):
    """An odd one.

    Parameters
    ----------
    low, high : bounds of
        something.
    """

    name = "odd"
    aliases = ("strange",)
    image_size = 32
    encodings: ClassVar = {"identity": Identity}

    low: int = 3
    high: float = 0.5
    mode: Literal["a", "b"] = "a"
    text: str | None = None

    def __post_init__(self):
        if not (2 <= self.low <= 9 and 0 <= self.high < 1):
            raise ValueError("out of range")

    def extract(self, image, record): ...


def test_a_card_shows_values_ranges_and_defaults_and_a_recipe_that_parses(capsys):
    plugin = Plugin("odds", "m", "cxrbench-odds", "2", ("feature odd",))
    parts = {kind: {} for kind in ("backbone", "fusion", "dataset")}
    registry = Registry({**parts, "feature": {"odd": Odd, "strange": Odd}}, (plugin,))
    for name in ("odd", "Strange", "odd:low=4", "odds"):
        (card,) = part_cards(name, registry)
        assert (card.name, card.package, card.summary) == ("odd", "cxrbench-odds", "An odd one.")
    rows = {row.name: row for row in card.parameters}
    assert (rows["low"].least, rows["low"].most, rows["low"].default) == (2, 9, 3)
    assert (rows["high"].least, rows["high"].most) == (0, 0.999)
    assert rows["high"].text == rows["low"].text == "bounds of something."
    assert (rows["mode"].values, rows["mode"].least) == ("one of 'a', 'b'", None)
    assert (rows["text"].values, rows["text"].default) == ("text or none", None)
    assert rows["permuted"].values == "true or false"
    assert card.example == "cxrbench run resnet resnet+odd:high=0.5,low=3"
    show(PartCards([card]), "table")
    out = capsys.readouterr().out
    assert "feature odd (also strange), of cxrbench-odds 2: An odd one." in out
    assert "2 to 9" in out
    show(PartCards([card]), "csv")
    assert capsys.readouterr().out.startswith("kind,part,name,of,values,least,most,default,text\n")
    with pytest.raises(RecipeError, match="Did you mean 'odd'"):
        part_cards("od", registry)


def test_every_installed_part_has_a_card_whose_recipe_parses(registry):
    for kind, parts in registry.parts.items():
        for name in parts:
            card = next(card for card in part_cards(name, registry) if card.kind == kind)
            text = card.example.split()[-1]
            if kind != "dataset":
                assert parse_recipe(text, registry).text
            assert all(row.values for row in card.parameters)
    (card,) = part_cards("orb", registry)
    words = [(row.of, row.default) for row in card.parameters if row.name == "words"]
    assert words == [("bow", 256), ("vlad", 16)]
