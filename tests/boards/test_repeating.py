"""How a report says to repeat runs: comments and commands that can be copied into a shell."""

from __future__ import annotations

from pathlib import Path

from run_conditions import conditions

from cxrbench.boards.report.repeating import commands
from cxrbench.runs.run import Run


def test_a_run_of_somebody_else_adds_no_command():
    said = conditions(
        recipe="orb\nrm -rf a",
        version="1\nrm -rf b",
        versions={"keras": "3\nrm -rf c"},
        parts=({"class": "evil.Part"}, {}),
        dataset="nih\r\nrm -rf d",
        submitted={"table": "x\nrm -rf e"},
        origin="external",
    )
    lines = commands([(Run(Path("runs/a"), said),)]).splitlines()
    assert all(line.startswith("# ") for line in lines if line)
    assert "# submitted: x rm -rf e, SHA-256 None" in lines
