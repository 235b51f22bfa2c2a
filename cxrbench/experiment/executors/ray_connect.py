"""Connect to a Ray cluster, or start one on this machine; report in seconds what cannot work."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from cxrbench.errors import ExecutorError

LOCAL = "local"

_SECONDS = 30
_TRY = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False); ray.shutdown()"
_TOKEN = re.compile("Unauthenticated|AuthenticationError|InvalidAuthToken")


def find_cluster(address: str | None) -> str:
    """The cluster to connect to: ``address``, else ``RAY_ADDRESS``, else ``"local"``: our own.

    Ray reads its settings from the environment when it is imported, so it is not imported here.

    Raises
    ------
    ExecutorError : Ray is not installed, or there is no cluster that lets us in.
    """
    if find_spec("ray") is None:
        raise ExecutorError(
            "--executor ray needs Ray",
            expected="Ray installed here and on every node of the cluster",
            found="no package of this name",
            fix='pip install "cxrbench[ray]", or leave --executor out',
        )
    # Ray prints pages of a dead node's logs to standard output, whatever `log_to_driver` says. This
    # setting leaves them out; cxrbench reports what matters.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    address = address or os.environ.get("RAY_ADDRESS") or LOCAL
    if address == LOCAL:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is to leave the machine
    else:
        _require_cluster(address)
    return address


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A connection to what `find_cluster` found; a Ray of our own ends with the context.

    Raises
    ------
    ExecutorError : it cannot be made, or there is one already.
    """
    import ray

    if ray.is_initialized():
        raise ExecutorError(
            "this process is connected to Ray already",
            expected="no connection, since cxrbench makes and ends its own",
            found=ray.get_runtime_context().gcs_address,
            fix="call ray.shutdown() before",
        )
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if address == LOCAL else None,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreachable(address, str(error)) from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_cluster(address: str) -> None:
    """Raise unless there is a cluster; sets ``RAY_AUTH_MODE`` if it requires the token we have.

    Ray by itself waits for minutes, or ends the process, where there is nothing to connect to. So a
    port is tried first, and then a process of its own connects, which can be stopped.
    """
    if address != "auto":
        _require_port(address)
    wrong = _wrong_with(address)
    # A cluster that was started with a token requires it, but Ray sends it to a given address only
    # in this mode, and in this mode it cannot work with a cluster that does not require it.
    token = (
        os.environ.get("RAY_AUTH_TOKEN")
        or os.environ.get("RAY_AUTH_TOKEN_PATH")
        or (Path.home() / ".ray" / "auth_token").exists()
    )
    if wrong and _TOKEN.search(wrong) and "RAY_AUTH_MODE" not in os.environ and token:
        os.environ["RAY_AUTH_MODE"] = "token"
        wrong = _wrong_with(address)
    if wrong:
        raise _unreachable(address, wrong)


def _wrong_with(address: str) -> str | None:
    """What another process says when it cannot connect; None when it can."""
    try:
        process = subprocess.run(
            [sys.executable, "-c", _TRY, address],
            # Twice, a second apart, and not twenty times.
            env={**os.environ, "RAY_NUM_REDIS_GET_RETRIES": "2"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"nothing that answers as Ray within {_SECONDS} s"
    return process.stderr or "no reason" if process.returncode else None


def _require_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise ExecutorError(
            f"--ray-address cannot be {address!r}",
            expected="HOST:PORT of a cluster that this machine is a node of, or auto",
            found=repr(address),
            fix="start this command on a node of the cluster; `ray start` prints the address",
        )
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, str(error)) from error


def _unreachable(address: str, answer: str) -> ExecutorError:
    if _TOKEN.search(answer):
        return ExecutorError(
            f"the Ray cluster at {address} rejects the connection",
            expected="the token of the cluster",
            found="another one, or none",
            fix="set RAY_AUTH_TOKEN here to what it was where the nodes were started, or copy "
            "~/.ray/auth_token from there",
        )
    last = next((line for line in reversed(answer.splitlines()) if line.strip()), "no answer")
    if address == LOCAL:
        return ExecutorError(
            "Ray cannot be started on this machine",
            expected="Ray's processes running",
            found=last,
            fix="look at the newest log in /tmp/ray/session_latest/logs",
        )
    return ExecutorError(
        f"there is no Ray cluster at {address}",
        expected="the address that `ray start --head` printed, of a cluster with this machine in "
        "it and the same versions of Ray and Python",
        found=last,
        fix="start it with `ray start --head`, and this machine with `ray start --address=…`",
    )
