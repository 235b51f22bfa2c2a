"""The tutorial does what it says: its commands, in order, print what it shows, but for numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TUTORIAL.read_text("utf-8"), re.MULTILINE | re.DOTALL)
INSTALL = "python3 -m venv .venv && . .venv/bin/activate && pip install .\n"
# A run's key, a fingerprint, a p-value, seconds, any other number.
NUMBERS = re.compile(r"-[0-9a-f]{10}\b|\([0-9a-f]{8}\)|(< )?(\d+ min )?[+-]?\d[\d,.]*( s\b)?")


def words(text: str) -> str:
    """A text without what another machine may print differently: numbers, and widths of tables."""
    return " ".join(NUMBERS.sub("#", re.sub("─+", "", text)).split())


def test_nothing_but_commands_and_what_they_print_is_in_a_block():
    assert {kind for kind, _ in BLOCKS} == {"bash", "text"}
    assert [block for _, block in BLOCKS if "pip install" in block] == [INSTALL]
    assert BLOCKS[0] == ("bash", INSTALL)


@pytest.mark.slow
def test_every_block_runs_and_prints_what_the_tutorial_shows(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CXRBENCH_CACHE": str(tmp_path / "cache"),
        "LC_ALL": "C.UTF-8",
        # What it shows is of the default backend, on a CPU.
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "",
    }
    printed = ""
    for kind, block in BLOCKS[1:]:
        if kind == "text":
            for line in filter(None, map(words, block.splitlines())):
                assert line in words(printed), f"not printed: {line}\n{printed}"
            continue
        done = subprocess.run(
            # In columns, as at a terminal.
            ["bash", "-euo", "pipefail", "-c", f'ls() {{ command ls -C "$@"; }}\n{block}'],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        printed = done.stdout
        assert done.returncode == 0, f"{block}\n{printed}"
