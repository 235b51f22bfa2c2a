"""Ctrl-C, SIGTERM and SIGHUP end a command at every instant, however busy it is."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
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
    process and its children; imports and backends are ended at once. A library that does not
    return and holds the interpreter's lock stops this thread too (OpenBLAS does while it is
    imported with too little memory): a second process, the guard, then kills the first. Every
    run directory and cache survives a kill.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._drops = self._repeats = False
        self._before: dict[int, Any] = {}
        self._read, self._write = -1, -1
        self._guard = 0
        self._wakeup = -1
        self._stderr = -1
        self._hook: Callable[[Any], Any] = sys.unraisablehook

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self  # Python gives signals to the main thread alone
        _open_streams()
        self._stderr = os.dup(2)  # while TensorFlow is imported, 2 is a file
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        # Commands in the background, and those of nohup, ignore some signals on purpose.
        obeyed = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._start_guard(obeyed)
        for number in obeyed:
            self._before[number] = signal.signal(number, self._stop)
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
        if self._write < 0:
            return
        sys.unraisablehook = self._hook
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._stderr)
        os.close(self._write)  # the guard and the thread read the end
        self._write = -1
        if self._guard:
            os.waitpid(self._guard, 0)

    def leave(self) -> NoReturn:
        """Say that the command was interrupted, and end this process and its children."""
        assert self.number is not None
        with suppress(Exception):  # the streams may be closed, or in use by another thread
            sys.stdout.flush()
        _end(os.getpid(), self.number, self._stderr)
        os._exit(128 + self.number)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        again = self.number is not None and not self._repeats
        self._repeats = False
        self.number = self.number or number
        if not self._guard:
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
        number = content[0]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(_STEP)
            if self._drops:
                self._drops, self._repeats = False, True
                signal.pthread_kill(threading.main_thread().ident or 0, number)
        self.number = self.number or number
        self.leave()

    def _start_guard(self, obeyed: Collection[int]) -> None:
        """Start a process that passes the numbers of signals on to the thread.

        It kills this process where the thread cannot. `_guard` stays 0 where none can start.
        """
        if not _is_alone():  # a copy of a process with threads may never run
            return
        read, write = os.pipe()
        try:
            self._guard = os.fork()
        except OSError:  # no memory or no room for another process
            os.close(read)
            os.close(write)
            return
        if self._guard:
            os.close(self._read)
            os.close(write)
            self._read = read
            return
        try:
            for number in SIGNALS:  # a terminal sends them to both
                signal.signal(number, signal.SIG_IGN)
            for descriptor in (0, 1, 2, self._write, read):  # nobody waits for it to close them
                with suppress(OSError):
                    os.close(descriptor)
            _guard(os.getppid(), self._read, write, self._stderr, obeyed)
        finally:
            os._exit(0)

    def _dropped(self, unraisable: Any) -> None:
        """Where Python had to drop the interruption, have it raised again, and say nothing."""
        if self.number is None or not issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._hook(unraisable)
        else:
            self._drops = True


def _guard(process: int, read: int, write: int, stderr: int, obeyed: Collection[int]) -> None:
    while content := os.read(read, 1):
        with suppress(OSError):
            os.write(write, content)
        if content[0] in obeyed:
            time.sleep(1.5 * SECONDS)
            if os.getppid() == process:
                _end(process, content[0], stderr)
                os.kill(process, signal.SIGKILL)
            return


def _open_streams() -> None:
    """Open what a shell has closed of 0, 1 and 2 (`2>&-`), lest a pipe take such a number."""
    number = os.open(os.devnull, os.O_RDWR)
    while number <= 2:
        os.set_inheritable(number, True)
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)


def _is_alone() -> bool:
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:  # not Linux
        return threading.active_count() == 1


def _end(process: int, number: int, stderr: int) -> None:
    """Say that the command was interrupted, and kill all its children but this process."""
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    # A progress bar hides the cursor.
    cursor = "\x1b[?25h" if os.isatty(stderr) else ""
    with suppress(OSError):
        os.write(stderr, f"{cursor}{MESSAGE.format(by=by)}\n".encode())
    # All of them before the first is killed: whoever outlives a parent is nobody's child.
    for child in set(descendants(process)) - {os.getpid()}:
        with suppress(OSError):
            os.kill(child, signal.SIGKILL)


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
