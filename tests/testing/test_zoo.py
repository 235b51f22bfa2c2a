"""Conformance checks can fail: each finds what is spoilt for it, and says how to mend it."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import EntryPoint

import pytest
from zoo import MODULES, NAMES, ZOO, centred, module_text, sound

from cxrbench.registry import HOOKS, load_registry
from cxrbench.testing import check_plugin, checks_for, samples

BUILTIN = [
    EntryPoint(name, f"cxrbench.builtin.{name}", "cxrbench")
    for name in ("resnet50", "orb", "sift", "concat", "phantom")
]
# In processes of their own, in training, or beside ResNet50: what takes long.
LONG = ("export", "gradients-jax", "gradients-torch", "noise", "speed")


@pytest.fixture
def registry_with(tmp_path, monkeypatch):
    """The registry of some built-in plugins, and of one module with this text."""
    monkeypatch.syspath_prepend(tmp_path)

    def loaded(kind: str, text: str):
        module = MODULES[kind]
        (tmp_path / f"{module}.py").write_text(text)
        monkeypatch.delitem(sys.modules, module, raising=False)
        found = load_registry([*BUILTIN, EntryPoint(NAMES[kind], module, "cxrbench")])
        return found

    return loaded


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if broken.check in LONG[:4] else ())
        for name, broken in ZOO.items()
    ],
)
def test_a_broken_plugin_fails_its_check_with_advice(registry_with, monkeypatch, name):
    broken = ZOO[name]
    if broken.check == "gradients-jax" and importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    monkeypatch.setattr(samples, "LIMIT", 1)
    registry = registry_with(broken.kind, module_text(broken))
    checks = {c.name: c for c in checks_for(NAMES[broken.kind], registry=registry, image_size=32)}
    result = checks[broken.check].result()
    assert result.state == "failed", result
    assert broken.told in result.told
    for line in ("\n  expected: ", "\n  got: ", "\n  to do: "):
        assert line in result.told, result.told
    assert "Traceback" not in result.told


def test_every_check_is_failed_by_somebody(registry_with):
    known = {
        check.name
        for kind in HOOKS
        for check in checks_for(NAMES[kind], registry=registry_with(kind, sound(kind)))
    }
    # The check of PyTorch's gradients is that of JAX's with another name.
    assert {broken.check for broken in ZOO.values()} == known - {"gradients-torch"}


@pytest.mark.parametrize("kind", [*HOOKS, "centred"])
def test_what_the_zoo_is_made_of_is_sound(registry_with, kind):
    text = centred() if kind == "centred" else sound(kind)
    kind = "feature" if kind == "centred" else kind
    for check in checks_for(NAMES[kind], registry=registry_with(kind, text), image_size=32):
        if check.name not in LONG:
            assert check.result().state == "ok", check.result()


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOOKS)
def test_all_checks_of_a_new_plugin_are_kept(registry_with, kind):
    results = check_plugin(NAMES[kind], registry=registry_with(kind, sound(kind)))
    assert {result.state for result in results} <= {"ok", "skipped"}, results
    skipped = {result.check for result in results if result.state == "skipped"}
    assert skipped <= {"gradients-jax", "gradients-torch"}
