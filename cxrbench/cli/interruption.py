"""Ctrl-C, SIGTERM and SIGHUP end a command at every instant, however busy it is."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

SECONDS = 1.0
"""What a command has for an orderly end before it is ended as by a kill."""

_STEP = 0.05

# Code that is called from C++, where an exception at a bad instant aborts the process or hangs it.
_FRAGILE = ("<frozen importlib", "/tensorflow/", "/keras/", "/jax/", "/torch/")

MESSAGE = (
    "cxrbench: interrupted{by}; completed work is kept, and the same command continues from there"
)


class Interruption:
    """Obeys `SIGNALS` within its block; ``number`` is that of the one that arrived, else None.

    A signal raises `KeyboardInterrupt` in the main thread. That alone is not enough: while the
    main thread computes outside Python, no exception is raised, and one that is raised in a
    finaliser or a callback is dropped. So a thread gives the command `SECONDS`, then ends the
    process and its children; imports and backends are ended at once, and a process that hangs in
    C++ by an alarm. Every run directory and cache survives a kill.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._drops = self._repeats = False
        self._before: dict[int, Any] = {}
        self._read, self._write = -1, -1
        self._wakeup = -1
        self._stderr = -1
        self._hook: Callable[[Any], Any] = sys.unraisablehook

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self  # Python gives signals to the main thread alone
        for number in SIGNALS:
            # Commands in the background, and those of nohup, ignore some signals on purpose.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._stop)
        self._stderr = os.dup(2)  # while TensorFlow is imported, 2 is a file
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="cxrbench-signals", daemon=True).start()
        self._hook, sys.unraisablehook = sys.unraisablehook, self._dropped
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self.number is not None:
            self.leave()
        if not self._before:
            return
        sys.unraisablehook = self._hook
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._stderr)
        os.close(self._write)  # the thread reads the end, and closes its side

    def leave(self) -> NoReturn:
        """Say that the command was interrupted, and end this process and its children."""
        assert self.number is not None
        name = signal.Signals(self.number).name
        by = "" if self.number == signal.SIGINT else f" by {name}"
        with suppress(Exception):  # the streams may be closed, or in use by another thread
            sys.stdout.flush()
        # A progress bar hides the cursor.
        cursor = "\x1b[?25h" if os.isatty(self._stderr) else ""
        with suppress(OSError):
            os.write(self._stderr, f"{cursor}{MESSAGE.format(by=by)}\n".encode())
        # All of them before the first is killed: whoever outlives a parent is nobody's child.
        for child in tuple(descendants(os.getpid())):
            with suppress(OSError):
                os.kill(child, signal.SIGKILL)
        os._exit(128 + self.number)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        again = self.number is not None and not self._repeats
        self._repeats = False
        self.number = self.number or number
        signal.setitimer(signal.ITIMER_REAL, 1.5 * SECONDS)  # SIGALRM ends any process
        if again or _is_fragile(frame):
            self.leave()
        raise KeyboardInterrupt

    def _watch(self) -> None:
        # Written by the C code that receives the signal, whatever the main thread does then.
        content = os.read(self._read, 1)
        while content and content[0] not in self._before:
            content = os.read(self._read, 1)
        if not content:  # the block has ended
            os.close(self._read)
            return
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(_STEP)
            if self._drops:
                self._drops, self._repeats = False, True
                signal.pthread_kill(threading.main_thread().ident or 0, content[0])
        self.number = self.number or content[0]
        self.leave()

    def _dropped(self, unraisable: Any) -> None:
        """Where Python had to drop the interruption, have it raised again, and say nothing."""
        if self.number is None or not issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._hook(unraisable)
        else:
            self._drops = True


def _is_fragile(frame: FrameType | None) -> bool:
    while frame is not None:
        if any(part in frame.f_code.co_filename for part in _FRAGILE):
            return True
        frame = frame.f_back
    return False


def descendants(process: int) -> Iterator[int]:
    """The ids of all children of a process, and of theirs."""
    # Not every Linux lists them; then a child ends when its input does.
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, path.read_text().split()):
                yield child
                yield from descendants(child)
