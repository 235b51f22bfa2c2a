"""Plugins: what is loaded, and that a broken one is listed with its error and harms nobody."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, PathDistribution
from pathlib import Path
from textwrap import dedent

import pytest

from cxrbench.data.datasets import find_dataset
from cxrbench.errors import PluginError, RecipeError
from cxrbench.recipe import parse_recipe
from cxrbench.registry import load_registry

GOOD = """
from dataclasses import dataclass
from cxrbench import Backbone, Dataset, FeatureExtractor, Fusion, Identity, hookimpl
CXRBENCH_API = 1

@dataclass(frozen=True)
class Net(Backbone):
    name = "strange"
    image_size = 32
    freeze_at = "last"
    def build(self, image_size, weights): ...

@dataclass(frozen=True)
class Shape(FeatureExtractor):
    name = "shape"
    image_size = 32
    encodings = {"identity": Identity}
    def extract(self, image, record): ...

@hookimpl
def cxrbench_backbones():
    return [Net]

@hookimpl
def cxrbench_feature_extractors():
    return [Shape]
"""
API, FREEZE, HOOK = "CXRBENCH_API = 1", 'freeze_at = "last"', "def cxrbench_backbones"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """The registry of the built-in plugins and of modules with these texts."""
    monkeypatch.syspath_prepend(tmp_path)
    builtin = [
        EntryPoint(name, f"cxrbench.builtin.{name}", "cxrbench")
        for name in ("resnet50", "orb", "concat", "phantom")
    ]

    def loaded(**modules: str):
        found = list(builtin)
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(dedent(text))
            monkeypatch.delitem(sys.modules, name, raising=False)
            found.append(EntryPoint(name, name, "cxrbench"))
        return load_registry(found)

    return loaded


def state(registry, name):
    return next(plugin for plugin in registry.plugins if plugin.name == name)


def test_a_plugin_is_loaded_beside_the_built_in_ones(load):
    registry = load(strange_plugin=GOOD)
    plugin = state(registry, "strange_plugin")
    assert (plugin.state, plugin.provides) == ("ok", ("backbone strange", "feature shape"))
    assert registry.names("backbone") == ["resnet50", "strange"]
    assert parse_recipe("strange+orb+shape", registry).text == "strange+orb+shape"


BROKEN = {
    "fails_to_import": ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
    "syntax": ("def (", "SyntaxError"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "panics": ("class Panic(BaseException): pass\nraise Panic('rust')", "Panic: rust"),
    "unprintable": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError('no')\nraise Odd",
        "Odd, whose message cannot be shown (ValueError)",
    ),
    "exits_when_printed": (
        "class Odd(BaseException):\n    def __str__(self): raise SystemExit(0)\nraise Odd",
        "Odd, whose message cannot be shown (SystemExit)",
    ),
    "returns_no_text": (
        "from cxrbench.errors import PluginError\nclass Odd(PluginError):\n    fix = 3\n"
        "    def __init__(self): pass\n    def __str__(self): return 3\nraise Odd",
        "Odd, whose message cannot be shown (TypeError)",
    ),
    "no_repr": (
        GOOD.replace("return [Net]", "return type('X', (), {'__repr__': lambda s: 1 / 0})()"),
        "ZeroDivisionError",
    ),
    "misspelt": (GOOD.replace(HOOK, "def cxrbench_backbone"), "Did you mean 'cxrbench_backbones'"),
    "unmarked": (GOOD.replace(f"@hookimpl\n{HOOK}", HOOK), "not marked as a hook"),
    "no_hook": (API, "provides nothing"),
    "no_api": (GOOD.replace(API, ""), "no CXRBENCH_API"),
    "old_api": (GOOD.replace(API, "CXRBENCH_API = 0"), "got: CXRBENCH_API = 0"),
    "wants_argument": (GOOD.replace("backbones()", "backbones(size)"), "size"),
    "raises": (GOOD.replace("return [Net]", "raise RuntimeError('oops')"), "RuntimeError: oops"),
    "returns_class": (GOOD.replace("return [Net]", "return Net"), "a list of classes"),
    "returns_number": (GOOD.replace("return [Net]", "return 3"), "a list of classes"),
    "returns_text": (GOOD.replace("return [Net]", "return ['net']"), "derive from cxrbench.Back"),
    "returns_instance": (GOOD.replace("return [Net]", "return [Net()]"), "derive from cxrbench"),
    "returns_feature": (GOOD.replace("return [Net]", "return [Shape]"), "derive from cxrbench"),
    "not_frozen": (GOOD.replace("(frozen=True)", "", 1), "Net is not a frozen dataclass"),
    "no_default": (GOOD.replace(FREEZE, f"{FREEZE}\n    depth: int"), "depth has no default"),
    "odd_type": (GOOD.replace(FREEZE, f"{FREEZE}\n    depth: list = None"), "has the type"),
    "takes_permuted": (
        GOOD.replace(FREEZE, f"{FREEZE}\n    permuted: bool = False"),
        "has the parameter 'permuted'",
    ),
    "no_freeze_at": (GOOD.replace(FREEZE, ""), "does not set 'freeze_at'"),
    "freeze_number": (GOOD.replace('"last"', "3"), "Net.freeze_at is 3"),
    "no_build": (GOOD.replace("def build", "def built"), "does not define build"),
    "no_name": (GOOD.replace('name = "strange"', ""), "does not set 'name'"),
    "bad_name": (GOOD.replace('"strange"', '"Str+nge"'), "has the name 'Str+nge'"),
    "prior_name": (GOOD.replace('"strange"', '"prior"'), "'prior' is taken"),
    "text_aliases": (GOOD.replace(FREEZE, f"{FREEZE}\n    aliases = 'net'"), "a tuple of names"),
    "twice": (GOOD.replace("return [Net]", "return [Net, Net]"), "'strange' twice"),
    "same_as_feature": (GOOD.replace('"strange"', '"shape"'), "'shape' twice"),
    "takes_builtin": (GOOD.replace('"strange"', '"orb"'), "taken by cxrbench.builtin.orb"),
    "takes_alias": (
        GOOD.replace(FREEZE, f"{FREEZE}\n    aliases = ('resnet',)"),
        "'resnet' is taken by cxrbench.builtin.resnet50",
    ),
    "no_encodings": (GOOD.replace('{"identity": Identity}', "{}"), "Shape.encodings is {}"),
    "odd_encoder": (GOOD.replace('{"identity": Identity}', '{"i": 3}'), "cxrbench.Encoder"),
    "encoding_field": (
        GOOD.replace("Identity", "BagOfWords").replace(
            "encodings =", "words: int = 3; encodings ="
        ),
        "share parameters",
    ),
}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("def f(:\n    pass\n", "line 1): def f(:"),
        ("x = 1\nfrom os import nothing\n", "line 2: from os import nothing)"),
        ("def f():\n    return 1 / 0\n\nf()\n", "line 2: return 1 / 0)"),
    ],
)
def test_a_plugin_that_fails_at_import_is_listed_with_the_code_that_failed(load, text, place):
    assert state(load(failing=text), "failing").error.endswith(place)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_listed_with_its_error_and_harms_nobody(load, name):
    text, told = BROKEN[name]
    registry = load(**{name: text, "zealous": GOOD})
    broken = state(registry, name)
    assert (broken.state, broken.provides) == ("broken", ())
    assert told in broken.error
    assert "Traceback" not in broken.error
    # Nothing of it is left, and the plugin after it and the built-in ones work.
    assert state(registry, "zealous").state == "ok"
    assert parse_recipe("strange+shape+orb", registry).text == "strange+orb+shape"
    assert parse_recipe("resnet+orb", registry).text == "resnet50+orb"
    with pytest.raises(PluginError, match=f"'{name}' is installed and broken") as error:
        parse_recipe(name, registry)
    assert told in str(error.value)
    for named in (
        lambda: parse_recipe(f"orb@{name}", registry),
        lambda: find_dataset(name, registry, Path.cwd()),
    ):
        with pytest.raises(PluginError, match=f"'{name}' is installed and broken"):
            named()
    with pytest.raises(RecipeError, match=f"Installed and broken: {name}"):
        parse_recipe("something_else", registry)


def test_the_second_of_two_plugins_with_one_name_is_broken(load):
    registry = load(first=GOOD, second=GOOD)
    assert state(registry, "first").state == "ok"
    assert "'strange' is taken by first" in state(registry, "second").error


def test_what_a_plugin_prints_is_not_on_standard_output(load, capfd):
    registry = load(chatty=f"print('hello')\n{GOOD}")
    assert state(registry, "chatty").state == "ok"
    out, err = capfd.readouterr()
    assert (out, err) == ("", "hello\n")


def test_a_keyboard_interrupt_is_no_fault_of_the_plugin(load):
    with pytest.raises(KeyboardInterrupt):
        load(stopped="raise KeyboardInterrupt")


def test_every_built_in_plugin_works():
    registry = load_registry()
    own = [plugin for plugin in registry.plugins if plugin.module.startswith("cxrbench.builtin")]
    assert {plugin.name for plugin in own} >= {
        "resnet50",
        "orb",
        "sift",
        "concat",
        "phantom",
        "nih",
    }
    assert all(plugin.state == "ok" for plugin in own)
    assert all(plugin.package == "cxrbench" for plugin in own)


def test_an_author_is_told_to_correct_the_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_parts.py").write_text("import cxrbench.nowhere\n")
    info = tmp_path / "own-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: own\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cxrbench]\nown = own_parts\n")
    for url, fix in (
        ('{"dir_info": {"editable": true}}', "correct own_parts and run"),
        ("{}", "pip install --upgrade own"),
    ):
        (info / "direct_url.json").write_text(url)
        (point,) = PathDistribution(info).entry_points
        (plugin,) = load_registry([point]).plugins
        assert plugin.fix.startswith(fix)
