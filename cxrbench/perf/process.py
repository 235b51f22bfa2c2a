"""A worker process (`cxrbench.perf.worker`) in a given environment: one request at a time."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cxrbench.errors import TimingError

WORKER = Path(__file__).with_name("worker.py")
START_SECONDS = 120.0
ANSWER_SECONDS = 300.0

CLOCKS = ("wall", "cpu")
"""The clocks of a worker: seconds of wall time, and of its processor time."""

_ONE_THREAD = {
    **dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
    ),
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


@dataclass(frozen=True)
class Environment:
    """Where a side's code runs: an interpreter, and a folder of packages that goes before its own.

    ``prefix`` is what the interpreter is run under, such as valgrind with its options.
    """

    python: str = sys.executable
    packages: Path | None = None
    prefix: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Work:
    """What a worker gets when it starts: the folder of images, fields of `ImageSet`, its threads.

    With ``one_core`` it stays on the last core that this process may use.
    """

    films: Path
    one_core: bool = True
    threads: int = 1
    image_size: int = 224
    network_size: int = 64
    batch_size: int = 8

    def to_json(self) -> str:
        """As the worker's argument."""
        return json.dumps({**self.__dict__, "films": str(self.films)})


class WorkerProcess:
    """Use it in ``with``. BLAS, OpenCV and Keras have one thread in it."""

    def __init__(self, environment: Environment, work: Work) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        command = [*environment.prefix, environment.python, "-P", str(WORKER), work.to_json()]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=_variables(environment),
                # Ctrl-C is this process's to handle: what is complete is kept.
                start_new_session=True,
            )
        except OSError as error:
            raise TimingError(
                f"{command[0]} cannot be started", found=str(error.strerror or error)
            ) from error
        self._left = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._process.pid

    def versions(self) -> Mapping[str, str]:
        """Wait until it is ready; the versions that it works with."""
        versions: dict[str, str] = self._answer(START_SECONDS)["versions"]
        return versions

    def ask(self, seconds: float = ANSWER_SECONDS, **request: Any) -> dict[str, Any]:
        """The answer to a request of `cxrbench.perf.worker.Worker.answer`.

        Raises
        ------
        TimingError : there is none.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._died("it exited") from error
        return self._answer(seconds)

    def measure(self, path: str, calls: int, slowdown: float) -> dict[str, float]:
        """What so many calls of a path that was set up took, all together, by each clock.

        Raises
        ------
        TimingError : there is no answer.
        """
        return self.ask(do="time", path=path, calls=calls, slowdown=slowdown)

    def _answer(self, seconds: float) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._line(time.monotonic() + seconds, seconds))
        return answer

    def _line(self, until: float, seconds: float) -> bytes:
        stream = self._process.stdout
        assert stream is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while b"\n" not in self._left:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise self._died(f"no answer in {seconds:.0f} seconds")
                read = os.read(stream.fileno(), 1 << 16)
                if not read:
                    raise self._died("it exited")
                self._left += read
        line, _, self._left = self._left.partition(b"\n")
        return line

    def _died(self, how: str) -> TimingError:
        self._process.kill()
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        last = lines[-1].strip() if lines else f"exit status {status}, and no message"
        return TimingError(f"the process that times hot paths ended: {how}", found=last)


def _variables(environment: Environment) -> dict[str, str]:
    variables = {**os.environ, **_ONE_THREAD, **dict(environment.variables)}
    variables.pop("PYTHONPATH", None)  # each side has its own
    if environment.packages is not None:
        variables["PYTHONPATH"] = str(environment.packages)
    return variables
