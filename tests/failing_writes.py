"""Commands in which one write fails: a warm process forks a child for each, and counts its writes.

`failing_writes.c` is preloaded into that process. It sees what Python, HDF5, Arrow and every other
library of the process and of its children do to files below one folder.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent
MODES = ("full", "broken", "denied", "kill")
"""A full disk from the k-th write on; an input/output error, no permission, a kill at the k-th."""

_NUMBERS = struct.Struct("qqqq")
_ROOT, _WHAT, _LISTING, _SIZE = 32, 544, 1056, 1064


def compiler() -> str | None:
    """The C compiler of this machine, if it has one."""
    return shutil.which("cc") or shutil.which("gcc")


@dataclass(frozen=True)
class Ended:
    """How a command ended: code (negative: a signal), what it said, and what failed in it.

    ``count`` are the operations on files below the folder; ``failed`` names the first that failed,
    ``""`` where none did.
    """

    code: int
    out: str
    err: str
    count: int
    failed: str


class WarmProcess:
    """A process with everything imported; each command runs in a child that it forks.

    Operations on files below ``root`` are counted. Temporary files are there too.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "tmp").mkdir(parents=True)
        place = root.with_name(root.name + "-layer")
        place.mkdir()
        library = place / "failing_writes.so"
        source = TESTS / "failing_writes.c"
        command = [str(compiler()), "-O1", "-fPIC", "-shared", "-o", library, source, "-ldl"]
        subprocess.run(command, check=True)
        self._settings = place / "settings"
        self._settings.write_bytes(bytes(_SIZE))
        self._said = (place / "out", place / "err")
        self._log = place / "log"
        self._process = subprocess.Popen(
            [sys.executable, __file__, *map(str, self._said)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={
                **os.environ,
                "LD_PRELOAD": str(library),
                "FAILING_WRITES": str(self._settings),
                "PYTHONPATH": os.pathsep.join(
                    [str(TESTS), *os.getenv("PYTHONPATH", "").split(":")]
                ),
                "TMPDIR": str(root / "tmp"),
                "NO_COLOR": "1",
                "OMP_NUM_THREADS": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"  # what it imports counts nowhere

    def run(
        self, arguments: Sequence[object], *, at: int = 0, mode: str = "full", listing: bool = False
    ) -> Ended:
        """Run the command line; the operation ``at`` (from 1) fails, 0 for none.

        With ``listing`` each operation is a line of ``err``.
        """
        numbers = _NUMBERS.pack(0, at, MODES.index(mode) + 1, 0)
        root = os.fsencode(self.root)
        with self._settings.open("r+b") as file:
            file.write(numbers + root.ljust(_WHAT - _ROOT, b"\0") + bytes(_LISTING - _WHAT))
            file.write(struct.pack("q", listing))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(list(map(str, arguments))) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the warm process ended: {self._process.wait()}"
        state = self._settings.read_bytes()
        out, err = (path.read_text(errors="replace") for path in self._said)
        return Ended(
            code=int(line),
            out=out,
            err=err,
            count=_NUMBERS.unpack_from(state)[0],
            failed=state[_WHAT:_LISTING].split(b"\0", 1)[0].decode(),
        )

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


_SECONDS = 180


def serve(out: str, err: str) -> None:
    """Read a command a line, run it in a forked child, and answer with its exit code."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import tiny_parts  # noqa: F401 - imported once for all
    from conftest import TINY

    import cxrbench.registry

    known = tuple(cxrbench.registry.entry_points(group="cxrbench"))
    cxrbench.registry.entry_points = lambda group: (*known, TINY)
    warm_up()
    gc.freeze()  # the children collect only what is theirs
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            run_in_child(json.loads(line), out, err)
        answers.write(f"{_end_of(child)}\n")
        answers.flush()


def warm_up() -> None:
    """Import what the commands import; nothing that starts threads."""
    import keras  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import pandas as pd  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import scipy.optimize  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import tensorflow as tf  # noqa: F401
    import tomli_w  # noqa: F401

    import cxrbench.benchmark
    import cxrbench.boards.report.page
    import cxrbench.cli.app
    import cxrbench.experiment.submission
    import cxrbench.inference.export  # noqa: F401
    from cxrbench.modeling import checkpoint

    checkpoint.SHARE = 1e9  # every epoch has a checkpoint, since each is a few writes


def run_in_child(arguments: list[str], out: str, err: str) -> None:
    """Be the command line, with what it prints in two files."""
    for number, path in ((1, out), (2, err)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["cxrbench", *arguments]
    code = 1
    try:
        from cxrbench.cli import main

        main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_of(child: int) -> int:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -99


if __name__ == "__main__":
    serve(*sys.argv[1:])
