"""Start-up: what the light commands import, and plugins installed as strangers' are."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conftest import environment, install, spawn

import cxrbench

HEAVY = ("numpy", "keras", "tensorflow", "pandas", "cv2", "sklearn", "scipy", "matplotlib", "ray")

_IMPORTED = """
import json, sys
from cxrbench.cli import main
sys.argv = ["cxrbench", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert end.code in (0, None), end.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTED, *arguments],
        capture_output=True, text=True, check=True, env=environment(),
    )  # fmt: skip
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("run", "--help"),
        ("figures", "--help"),
        ("data", "check", "--help"),
        ("--version",),
    ],
)
def test_help_imports_nothing_heavy(arguments):
    assert not imported(*arguments) & set(HEAVY)


def test_listing_plugins_imports_nothing_heavy():
    assert not imported("plugins", "list") & (set(HEAVY) - {"numpy"})


def test_version_and_help(cli):
    assert cli("--version").out == f"cxrbench {cxrbench.__version__}\n"
    said = cli("-h")
    assert said.code == 0
    for name in ("run", "leaderboard", "plugins"):
        assert name in said.out


def test_installed_plugins_are_listed_and_a_broken_one_fails_only_where_it_is_named(tmp_path, cli):
    (tmp_path / "broken_parts.py").write_text("print('noise')\nimport nothing_of_this_name\n")
    install(tmp_path, "cxrbench-tiny", "tiny_parts")
    install(tmp_path, "cxrbench-broken", "broken_parts", plugin="shiny")
    process = spawn("plugins", "list", "--json", site=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    rows = {row["name"]: row for row in json.loads(out)["plugins"]}
    assert rows["shiny"]["state"] == "broken"
    assert "No module named 'nothing_of_this_name'" in rows["shiny"]["error"]
    assert (rows["shiny"]["package"], rows["shiny"]["version"]) == ("cxrbench-broken", "1.0")
    assert rows["tiny_parts"]["provides"][0] == "backbone tinynet"
    assert {row["state"] for name, row in rows.items() if name != "shiny"} == {"ok"}

    process = spawn("plugins", "list", site=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "shiny is broken: ModuleNotFoundError" in out

    process = spawn("run", "shiny+orb", site=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "'shiny' is installed and broken" in err
    assert "nothing_of_this_name" in err
    assert "Traceback" not in err


def test_fifty_plugins_cost_help_nothing_and_are_not_imported(tmp_path):
    """At most 50 ms of processor time for all fifty, in the best of some tries of each."""
    for number in range(50):
        module = f"crowd_parts_{number}"
        install(tmp_path, f"cxrbench-crowd-{number}", module)
        (tmp_path / f"{module}.py").write_text(CROWD.format(number=number))
    empty = tmp_path / "empty"
    empty.mkdir()
    seconds = {site: [] for site in (empty, tmp_path)}
    for _ in range(12):  # on a busy machine single tries differ by more than that
        for site, found in seconds.items():
            found.append(processor_seconds("--help", site=site))
        added = min(seconds[tmp_path]) - min(seconds[empty])
        if added < 0.05:
            break
    assert added < 0.05
    process = spawn("plugins", "list", "--json", site=tmp_path)
    rows = json.loads(process.communicate(timeout=60)[0])["plugins"]
    assert sum(row["name"].startswith("crowd") for row in rows) == 50
    assert {row["state"] for row in rows} == {"ok"}


CROWD = """
import sys
from dataclasses import dataclass
from cxrbench import FeatureExtractor, Identity, hookimpl

CXRBENCH_API = 1
assert "--help" not in sys.argv, "help loads no plugin"

@dataclass(frozen=True)
class Crowd(FeatureExtractor):
    name = "crowd{number}"
    image_size = 32
    encodings = {{"identity": Identity}}

    def extract(self, image, record): ...

@hookimpl
def cxrbench_feature_extractors():
    return [Crowd]
"""


def processor_seconds(*arguments: str, site) -> float:
    """Of a command in a process of its own."""
    before = os.times()
    process = spawn(*arguments, site=site)
    process.communicate(timeout=60)
    assert process.returncode == 0
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
