"""What a check is to pytest and to whoever lists results."""

from __future__ import annotations

from unittest import SkipTest

import pytest

from cxrbench.errors import DataError, PluginError, RecipeError
from cxrbench.testing import Check, check_plugin, checks_for
from cxrbench.testing.check import NotChecked


def asks(outcome):
    def ask():
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return Check("feature", "shape", "images", ask)


def test_calling_a_check_returns_what_is_worth_telling():
    assert asks("12 images")() == "12 images"
    assert str(asks("")) == "shape-images"


def test_a_strangers_exception_becomes_an_error_that_says_where():
    with pytest.raises(PluginError, match=r"shape failed in the check .images.") as error:
        asks(ZeroDivisionError("division by zero"))()
    assert "ZeroDivisionError: division by zero" in error.value.found
    assert "test_check.py, line " in error.value.found
    assert isinstance(error.value.__cause__, ZeroDivisionError)


def test_an_error_of_another_class_keeps_its_advice():
    with pytest.raises(PluginError) as error:
        asks(DataError("no table", expected="a table", fix="write one"))()
    told = (error.value.expected, error.value.found, error.value.fix)
    assert told == ("a table", "this error", "write one")


def test_pytest_understands_what_cannot_be_checked():
    with pytest.raises(SkipTest, match="no jax"):
        asks(NotChecked("no jax"))()


@pytest.mark.parametrize(
    ("outcome", "state", "told"),
    [
        ("12 images", "ok", "12 images"),
        (NotChecked("no jax"), "skipped", "no jax"),
        (PluginError("bad", expected="good"), "failed", "bad\n  expected: good"),
    ],
)
def test_a_result_has_the_state_and_what_was_told(outcome, state, told):
    result = asks(outcome).result()
    assert (result.kind, result.part, result.check) == ("feature", "shape", "images")
    assert (result.state, result.told) == (state, told)
    assert result.seconds >= 0


def test_a_name_that_nothing_has_is_an_error_with_a_guess():
    with pytest.raises(RecipeError, match="Did you mean 'sift'"):
        checks_for("sitf")


def test_parameters_are_those_of_a_recipe():
    with pytest.raises(RecipeError, match="no parameter 'nfeature'"):
        checks_for("orb:nfeature=3")
    (shapes,) = (c for c in checks_for("orb:nfeatures=30,encoding=vlad") if c.name == "shapes")
    assert "to 30, d = 32 uint8" in shapes()


def test_progress_is_shown_check_by_check(recorder, monkeypatch):
    monkeypatch.setattr("cxrbench.testing.features.CHECKS", {"easy": lambda subject: "fine"})
    results = check_plugin("orb", display=recorder)
    assert recorder.tasks == [("check orb", 3)]
    assert [result.check for result in results] == ["registration", "import", "easy"]


def test_what_a_check_advises_does_not_name_the_command_that_runs_it():
    advice = "correct extract; `cxrbench plugins check shape` shows more"
    with pytest.raises(PluginError) as error:
        asks(PluginError("bad", fix=advice))()
    assert error.value.fix == "correct extract"


def test_a_part_with_wrong_shapes_has_no_other_checks_after_that(monkeypatch):
    def fail(subject):
        raise PluginError("no map")

    checks = {"shapes": fail, "threads": lambda subject: "fine"}
    monkeypatch.setattr("cxrbench.testing.features.CHECKS", checks)
    *_, shapes, threads = check_plugin("orb")
    assert (shapes.state, threads.state) == ("failed", "skipped")
    assert threads.told == "not run, because shapes failed"
