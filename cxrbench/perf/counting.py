"""Count instructions instead of taking time: a worker under valgrind's callgrind.

Counts hardly differ from one time to the next, whatever else the machine does. They say nothing of
waiting for memory, of branches that were guessed wrong, or of how many instructions run at once.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cxrbench.errors import SettingsError, TimingError
from cxrbench.perf.process import Environment, Work, WorkerProcess

INSTRUCTIONS = "instructions"

_CONTROL_SECONDS = 120


def require_valgrind() -> None:
    """Raise `SettingsError` where valgrind is not installed."""
    if shutil.which("valgrind") is None or shutil.which("callgrind_control") is None:
        raise SettingsError(
            "instructions are counted by valgrind, which is not installed",
            expected="valgrind and callgrind_control",
            fix="install valgrind, or take time: --clock cpu",
        )


def counted(environment: Environment) -> Environment:
    """The environment with what would change counts held still: the order of sets of texts."""
    return replace(environment, variables=(*environment.variables, ("PYTHONHASHSEED", "0")))


class CountedProcess(WorkerProcess):
    """A worker whose `measure` gives instructions; outside of it, nothing is counted."""

    def __init__(self, environment: Environment, work: Work) -> None:
        self._folder = TemporaryDirectory()
        tool = ("valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no")
        file = f"--callgrind-out-file={self._folder.name}/counts"
        super().__init__(replace(environment, prefix=(*tool, file)), work)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[arg-type]
        self._folder.cleanup()

    def measure(self, path: str, calls: int, slowdown: float) -> dict[str, float]:
        """Instructions of so many calls, and of the request itself, some tens of thousands."""
        self._control("--instr=on")
        answer = super().measure(path, calls, slowdown)
        self._control("--dump")
        self._control("--instr=off")
        return answer if "wall" not in answer else {INSTRUCTIONS: float(self._dumped())}

    def _control(self, command: str) -> None:
        done = subprocess.run(
            ["callgrind_control", command, str(self.pid)],
            capture_output=True,
            timeout=_CONTROL_SECONDS,
            check=False,
        )
        if done.returncode:
            lines = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
            raise TimingError("valgrind does not answer", found=lines[-1] if lines else None)

    def _dumped(self) -> int:
        """What was counted since the dump before; a file for each dump."""
        (file,) = (path for path in Path(self._folder.name).iterdir() if path.suffix)
        totals = [
            line.split()[1] for line in file.read_text().splitlines() if line.startswith("totals:")
        ]
        file.unlink()
        return int(totals[0])
