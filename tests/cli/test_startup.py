"""Start-up: what the light commands import, and plugins installed as strangers' are."""

from __future__ import annotations

import json
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
