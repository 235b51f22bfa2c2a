"""Parameters from text: what a user writes, what comes out, and what the errors say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from cxrbench.errors import PluginError, RecipeError
from cxrbench.parameters import build, changed, field_types, nearest, parse_pairs


@dataclass(frozen=True)
class Part:
    count: int = 5
    share: float = 0.5
    fast: bool = False
    word: str = "a"
    mode: Literal["soft", "hard", 3] = "soft"
    limit: int | None = None
    title: str | None = "x"
    made: str = field(default_factory=lambda: "fresh")
    derived: int = field(default=7, init=False)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("count=12", "count", 12),
        ("share=1e-3", "share", 0.001),
        ("share=2", "share", 2.0),
        ("fast=YES", "fast", True),
        ("fast=0", "fast", False),
        ("word=b=c", "word", "b=c"),
        ("mode=hard", "mode", "hard"),
        ("mode=3", "mode", 3),
        ("limit=4", "limit", 4),
        ("limit=None", "limit", None),
        ("title=none", "title", None),
        (" count = 3 ", "count", 3),
    ],
)
def test_a_text_becomes_a_value_of_the_declared_type(text, name, value):
    made = build(Part, parse_pairs(text, "part"), "part")
    assert getattr(made, name) == value
    assert type(getattr(made, name)) is type(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("count=1.5", "a whole number"),
        ("count=many", "a whole number"),
        ("share=half", "a number"),
        ("share=nan", "a number"),
        ("fast=perhaps", "true or false"),
        ("mode=Soft", "one of 'soft', 'hard', 3"),
        ("limit=x", "a whole number or none"),
    ],
)
def test_a_wrong_value_says_what_would_be_right(text, expected):
    with pytest.raises(RecipeError) as error:
        build(Part, parse_pairs(text, "part"), "part")
    name, _, value = text.partition("=")
    assert f"part: {name} cannot be {value!r}" in str(error.value)
    assert f"expected: {expected}" in str(error.value)


def test_an_unknown_parameter_says_what_there_is_and_what_is_nearest():
    with pytest.raises(RecipeError) as error:
        build(Part, {"cuont": "3"}, "part")
    assert "no parameter 'cuont'" in str(error.value)
    assert "count, fast, limit, made, mode, share, title, word" in str(error.value)
    assert "Did you mean 'count'?" in str(error.value)


@pytest.mark.parametrize("text", ["", "count", "count=", "=3", "count=1,,share=2", "count=1,"])
def test_pairs_that_cannot_be_read(text):
    with pytest.raises(RecipeError, match="cannot be read"):
        parse_pairs(text, "part")


def test_a_parameter_is_given_once():
    with pytest.raises(RecipeError, match="'count' twice"):
        parse_pairs("count=1,count=1", "part")


def test_changed_holds_what_differs_from_the_defaults():
    assert changed(Part()) == {}
    assert changed(Part(word="b", count=6, made="fresh")) == {"count": 6, "word": "b"}


def test_a_parts_own_check_is_told_without_a_traceback():
    @dataclass(frozen=True)
    class Checked:
        size: int = 1

        def __post_init__(self):
            if self.size > 9:
                raise ValueError("size is above 9")

    with pytest.raises(RecipeError, match="size is above 9") as error:
        build(Checked, {"size": "10"}, "checked")
    assert "checked cannot be made" in str(error.value)


def test_a_part_has_to_be_a_frozen_dataclass_with_plain_defaulted_fields():
    @dataclass
    class Loose:
        pass

    @dataclass(frozen=True)
    class Bare:
        size: int

    @dataclass(frozen=True)
    class Odd:
        sizes: tuple[int, ...] = ()

    for part, told in ((Loose, "frozen"), (Bare, "Bare.size has no default"), (Odd, "Odd.sizes")):
        with pytest.raises(PluginError, match=told):
            field_types(part)


def test_nearest_proposes_nothing_when_nothing_is_close():
    assert nearest("xylophone", ["orb", "sift"]) == ""
    assert nearest("SFIT", ["orb", "sift"]) == "Did you mean 'sift'?"
