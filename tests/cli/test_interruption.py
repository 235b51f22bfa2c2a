"""Ctrl-C, SIGTERM and SIGHUP end a command within two seconds, wherever it is."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import EXHAUSTIVE, environment, install, spawn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LIMIT = 2.0

# What a command may be doing, with nothing in it that ends by itself.
BUSY = {
    "waits": "time.sleep(60)",
    "finaliser": """
class Slow:
    def __del__(self): time.sleep(60)
while True:
    Slow()
""",
    "swallows everything": """
while True:
    try: time.sleep(60)
    except BaseException: pass
""",
    "outside python": "import hashlib; hashlib.pbkdf2_hmac('sha256', b'a', b'b', 2_000_000_000)",
    "thread": """
import threading
threading.Thread(target=time.sleep, args=(60,)).start()
time.sleep(60)
""",
    "pool": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as pool:
    list(pool.map(time.sleep, [60, 60]))
""",
    "import": """
import importlib.util, pathlib, tempfile
folder = tempfile.mkdtemp()
pathlib.Path(folder, "slow_to_import.py").write_text("import time\\ntime.sleep(60)")
sys.path.append(folder)
try: import slow_to_import
except BaseException: time.sleep(60)
""",
    "another error": """
try: time.sleep(60)
except KeyboardInterrupt: raise ValueError("as TensorFlow does") from None
""",
}

SCRIPT = """
import signal, sys, time
from cxrbench.cli.interruption import Interruption
with Interruption():
    print("ready", flush=True)
    exec(sys.argv[1])
"""


def started(code: str, ignored: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    def as_a_shell_does() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=as_a_shell_does,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def stopped(process: subprocess.Popen[str], number: int) -> tuple[float, str]:
    """The seconds from the signal to the end, and standard error."""
    begin = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return time.monotonic() - begin, err


@pytest.mark.parametrize("doing", BUSY)
def test_a_command_ends_whatever_it_is_doing(doing):
    process = started(BUSY[doing])
    time.sleep(0.2)
    seconds, err = stopped(process, signal.SIGINT)
    assert process.returncode == 130, err
    assert seconds < LIMIT
    message = "cxrbench: interrupted; completed work is kept, and the same command continues"
    assert err.count(message) == 1
    assert "Traceback" not in err
    assert "ignored" not in err


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("doing", ["waits", "swallows everything"])
def test_each_signal_has_its_exit_code(number, doing):
    process = started(BUSY[doing])
    time.sleep(0.1)
    seconds, err = stopped(process, number)
    assert process.returncode == 128 + number, err
    assert seconds < LIMIT
    assert "interrupted" in err
    assert number == signal.SIGINT or f"by {number.name}" in err


def test_a_second_signal_does_not_wait():
    process = started(BUSY["swallows everything"])
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    seconds, err = stopped(process, signal.SIGINT)
    assert process.returncode == 130, err
    assert seconds < 0.6


def test_children_end_too():
    code = """
import subprocess
child = subprocess.Popen(["sh", "-c", "sleep 61 & sleep 60"], start_new_session=True)
print(child.pid, flush=True)
child.wait()
while True:
    try: time.sleep(60)
    except BaseException: pass
"""
    process = started(code)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    time.sleep(0.2)
    seconds, err = stopped(process, signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert seconds < LIMIT
    members = subprocess.run(["ps", "-s", str(child), "-o", "pid=,stat="], capture_output=True)
    alive = [line for line in members.stdout.decode().splitlines() if " Z" not in line]
    assert not alive, alive


# C code that holds Python's lock, as OpenBLAS does where it is imported without memory.
STUCK = "import collections, itertools; collections.deque(itertools.repeat(0), maxlen=0)"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_library_that_never_returns_is_killed(number):
    process = started(STUCK)
    time.sleep(0.3)
    seconds, err = stopped(process, number)
    assert process.returncode == -signal.SIGKILL
    assert seconds < LIMIT
    assert err.count("cxrbench: interrupted") == 1
    assert number == signal.SIGINT or f"by {number.name}" in err


def test_other_signals_do_not_hide_one_from_a_command_that_hangs():
    code = f"signal.signal(signal.SIGUSR1, print)\n{STUCK}"
    process = started(code)
    time.sleep(0.3)
    process.send_signal(signal.SIGUSR1)
    seconds, err = stopped(process, signal.SIGTERM)
    assert process.returncode == -signal.SIGKILL, err
    assert seconds < LIMIT


def children(process: int) -> list[int]:
    return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


@pytest.mark.skipif(sys.platform != "linux", reason="lists processes as Linux does")
def test_the_guard_ends_with_its_command():
    process = started("time.sleep(60)")
    (guard,) = children(process.pid)
    process.kill()
    process.communicate(timeout=60)
    end = time.monotonic() + LIMIT
    while Path(f"/proc/{guard}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{guard}").exists()


def test_an_interruption_is_announced_once():
    code = """
from unittest import mock
from cxrbench import cli
with mock.patch.object(cli, "_run", lambda: (print("ready", flush=True), time.sleep(60))):
    cli.main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", "import time" + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    _, err = stopped(process, signal.SIGTERM)
    assert process.returncode == 143
    assert err.count("interrupted") == 1


def test_what_a_shell_ignores_stays_ignored():
    process = started("time.sleep(1)", ignored=(signal.SIGHUP,))  # as with nohup
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_outside_the_main_thread_signals_are_left_alone():
    code = """
import threading
before = signal.getsignal(signal.SIGTERM)
def inner():
    with Interruption():
        assert signal.getsignal(signal.SIGTERM) is before
thread = threading.Thread(target=inner)
thread.start()
thread.join()
"""
    process = started(code)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_handlers_are_put_back():
    from cxrbench.cli.interruption import Interruption

    before = [signal.getsignal(number) for number in SIGNALS]
    hook = sys.unraisablehook
    with Interruption():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert sys.unraisablehook is hook


COMMANDS = {
    "run": ("run", "tinynet+grid", "--data", "drawn", "--epochs", "300", "--patience", "300"),
    "prepare": ("data", "prepare", "drawn:patients=3000,pause=0.02", "--for", "grid"),
}
INSTANTS = 30 if EXHAUSTIVE else 8


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_ends_at_every_instant(tmp_path, command, number):
    install(tmp_path, "tiny-parts", "tiny_parts")
    draw = random.Random(int(number))
    places = ["--cache", tmp_path / "cache"]
    if command == "run":
        places += ["--runs", tmp_path / "runs", "--protocol", "finetune"]
    for _ in range(INSTANTS):
        process = spawn(*COMMANDS[command], *places, site=tmp_path)
        time.sleep(draw.uniform(0.3, 8.0))
        if process.poll() is not None:  # it was done before
            assert process.returncode == 0, process.communicate()[1]
            continue
        seconds, err = stopped(process, number)
        # Before and after the command, Python ends by the signal itself.
        assert process.returncode in (128 + number, -number), err
        assert seconds < LIMIT
        assert "Exception ignored" not in err
        if process.returncode > 0:
            assert "Traceback" not in err
