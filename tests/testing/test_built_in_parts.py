"""Every built-in part keeps the promises that are asked of a stranger's."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrbench.registry import HOOKS, load_registry
from cxrbench.testing import Check, checks_for

# With few descriptors and words, so that many checks cost little.
QUICK = {
    "orb": "orb:image_size=192,nfeatures=60,words=16",
    "sift": "sift:image_size=128,nfeatures=40,words=16",
    "phantom": "phantom:patients=40,size=64",
}
# Without data, only what can be asked of a dataset without them.
WITHOUT_DATA = ("registration", "import", "recognising")


def slow(check: Check) -> bool:
    """ResNet50, what starts another backend, and what trains."""
    if check.part == "resnet50":
        return check.name not in ("registration", "import", "shapes")
    return check.name in ("export", "gradients-jax", "gradients-torch", "noise")


def asked() -> list[object]:
    """The checks of all built-in parts that need no data of the user's."""
    registry = load_registry()
    found = []
    for plugin in registry.plugins:
        if plugin.package != "cxrbench":
            continue
        for check in checks_for(QUICK.get(plugin.name, plugin.name), image_size=32):
            if check.kind == "dataset" and plugin.name not in QUICK:
                if check.name in WITHOUT_DATA:
                    found.append(pytest.param(check, id=str(check)))
                continue
            marks = [pytest.mark.slow] if slow(check) else []
            if check.name == "gradients-torch":
                marks.append(pytest.mark.torch)
            found.append(pytest.param(check, marks=marks, id=str(check)))
    return found


@pytest.mark.parametrize("check", asked())
def test_a_built_in_part_keeps_its_promises(check):
    check()


def test_nih_and_csv_keep_them_on_a_folder(tiny_nih: Path):
    for text in (
        f"nih:path={tiny_nih}",
        f"csv:path={tiny_nih}/Ground_Truth.csv,images={tiny_nih}/images",
    ):
        results = [check.result() for check in checks_for(text)]
        assert {result.state for result in results} == {"ok"}, results


def test_a_dataset_without_its_path_is_skipped_with_advice():
    states = {check.name: check.result() for check in checks_for("nih")}
    assert states["shapes"].state == "skipped"
    assert "cxrbench plugins check nih:path=…" in states["shapes"].told
    assert states["recognising"].state == "ok"


def test_every_kind_has_a_built_in_part_that_is_checked():
    assert {item.values[0].kind for item in asked()} == set(HOOKS)
