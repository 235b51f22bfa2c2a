"""The command line: one file per command, which parses options, calls one function and prints."""

from __future__ import annotations

import errno
import sys

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main() -> None:
    """Run the command line; a user's error is one message and exit code 2, without a traceback."""
    from cxrbench.errors import CxrbenchError

    try:
        from cxrbench.cli.app import app

        app(prog_name="cxrbench")
    except CxrbenchError as error:
        _fail(str(error))
    except KeyboardInterrupt:  # before typer, which has its own handling, took over
        sys.exit(130)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _fail(
            f"the disk is full: {error.filename or error.strerror}\n"
            "  to do: free disk space and run the same command again; completed work is kept"
        )


def _fail(message: str) -> None:
    print(f"cxrbench: {message}", file=sys.stderr)
    sys.exit(2)
