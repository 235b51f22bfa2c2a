"""A Keras network on the current backend, or on another one in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from cxrbench.errors import DeviceError
from cxrbench.modeling.backend import jit_compile, load_keras
from cxrbench.modeling.engines.batch import Batch, Predict, by_name, last_line


def here(model: Any) -> Predict:
    """What predicts batches with a model in this process."""
    wanted = jit_compile()
    # As an attribute "auto" counts as true, and all is compiled; a model left alone means it.
    if wanted != "auto":
        model.jit_compile = wanted

    def predict(batch: Batch) -> np.ndarray:
        return np.asarray(model.predict_on_batch(batch), dtype=np.float32)

    return predict


def elsewhere(model: Any, example: Batch, backend: str) -> Predict:
    """What predicts batches of the shape of ``example`` on another backend.

    A process has one Keras backend for life, so that this one starts another process. It holds the
    model, reads batches and ends with what is returned here, or when this process is gone.

    Raises
    ------
    DeviceError : the other process cannot have the network, or ended; also when it is called.
    """
    return _Elsewhere(model, by_name(example), backend)


class _Elsewhere:
    """The other process, called with a batch."""

    def __init__(self, model: Any, example: Mapping[str, np.ndarray], backend: str) -> None:
        self._backend = backend
        self._shapes = {name: value.shape for name, value in example.items()}
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._pipe, theirs = Pipe()
        with tempfile.TemporaryDirectory(prefix="cxrbench-") as folder:
            written = Path(folder, "model.keras")
            model.save(written)
            self._process = self._start(written, theirs)
            theirs.close()
            # Ends the process even where nobody calls for it: with this object, or at exit.
            self._end = weakref.finalize(self, _end, self._process, self._pipe)
            self._receive()  # it has read the file

    def _start(self, written: Path, theirs: Connection) -> subprocess.Popen[bytes]:
        told = json.dumps([[name, list(shape)] for name, shape in self._shapes.items()])
        return subprocess.Popen(
            [sys.executable, "-c", _SERVE, written, str(theirs.fileno()), told],
            env={
                **os.environ,
                "KERAS_BACKEND": self._backend,
                "CUDA_VISIBLE_DEVICES": "",
                "JAX_PLATFORMS": "cpu",
            },
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
        )

    def __call__(self, batch: Batch) -> np.ndarray:
        given = by_name(batch)
        found = {name: value.shape for name, value in given.items()}
        if found != self._shapes:
            raise ValueError(f"expected inputs of the shapes {self._shapes}, found {found}")
        try:
            for name in self._shapes:
                self._pipe.send_bytes(np.ascontiguousarray(given[name], dtype=np.float32).data)
        except BrokenPipeError as error:
            raise self._gone() from error
        shape = json.loads(self._receive())
        return np.frombuffer(self._receive(), np.float32).reshape(shape)

    def _receive(self) -> bytes:
        try:
            return self._pipe.recv_bytes()
        except (EOFError, ConnectionResetError) as error:
            raise self._gone() from error

    def _gone(self) -> DeviceError:
        code = self._process.wait()
        self._said.seek(0)
        told = last_line(self._said.read().decode(errors="replace"))
        return DeviceError(
            f"the process that computes with Keras on {self._backend} ended",
            expected="one that lives as long as there are images to predict",
            found=f"exit code {code}: {told}",
            fix="use --engine keras",
        )


def _end(process: subprocess.Popen[bytes], pipe: Connection) -> None:
    pipe.close()
    process.kill()
    process.wait()


_SERVE = """
import json, sys
from cxrbench.modeling.engines.with_keras import serve
serve(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
"""


def serve(written: str, pipe_number: int, inputs: Sequence[tuple[str, Sequence[int]]]) -> None:
    """Predict what comes through a pipe until it is closed; the work of a process of its own.

    ``inputs`` are names and shapes, in the order in which the bytes of their float32 come; a
    nameless one is the only one. Back go the output's shape as JSON, and its bytes.
    """
    predict = here(load_keras().models.load_model(written, compile=False, safe_mode=True))
    pipe = Connection(pipe_number)
    pipe.send_bytes(b"ready")
    while True:
        try:
            batch = {
                name: np.frombuffer(pipe.recv_bytes(), np.float32).reshape(shape)
                for name, shape in inputs
            }
        except EOFError:
            return
        output = predict(batch[""] if list(batch) == [""] else batch)
        pipe.send_bytes(json.dumps(output.shape).encode())
        pipe.send_bytes(np.ascontiguousarray(output).data)
