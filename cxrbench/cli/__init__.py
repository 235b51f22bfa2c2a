"""The command line: one file for each command; parse, call once, print."""

from __future__ import annotations

import errno
import sys


def main() -> None:
    """Run the command line; a user's error is one message and exit code 2, without a traceback."""
    from cxrbench.cli.app import app
    from cxrbench.errors import CxrbenchError

    try:
        app()
    except CxrbenchError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _fail(
            f"the disk is full: {error.filename or error.strerror}\n"
            "  to do: make room and run the same command again; what is complete is kept"
        )


def _fail(message: str) -> None:
    print(f"cxrbench: {message}", file=sys.stderr)
    sys.exit(2)
