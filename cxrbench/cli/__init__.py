"""The command line: one file per command, which parses options, calls one function and prints."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys

_LEAST_MEMORY = 4_000_000_000  # TensorFlow aborts with 2.3 GB

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main() -> None:
    """Run the command line; a user's error is one message and exit code 2, without a traceback."""
    from cxrbench.cli.interruption import MESSAGE, Interruption

    with Interruption() as interruption:
        try:
            _prepare_streams()
            _warn_of_limit()
            _run()
        except SystemExit as end:
            if end.code == 130 and interruption.number is None:
                print(MESSAGE.format(by=""), file=sys.stderr)
            raise
        except KeyboardInterrupt:
            if interruption.number is None:  # else the interruption says it
                print(MESSAGE.format(by=""), file=sys.stderr)
            sys.exit(130)


def _run() -> None:
    from cxrbench.errors import CxrbenchError

    try:
        from cxrbench.cli.app import app

        try:
            app(prog_name="cxrbench")
        finally:
            sys.stdout.flush()
    except CxrbenchError as error:
        _fail(str(error))
    except BrokenPipeError:  # whoever read standard output has enough, as in `cxrbench … | head`
        _forget_output()
        sys.exit(2)
    except OSError as error:
        _forget_output()
        _fail(_described(error))
    except (MemoryError, ImportError) as error:
        from cxrbench.store.limits import is_shortage

        if not is_shortage(error):
            raise
        _fail(
            f"the memory is too small\n  got: {' '.join(str(error).split()) or 'MemoryError'}\n"
            "  to do: use fewer --threads, raise the limit (ulimit -v) or close other programs, "
            "and run the same command again; completed work is kept"
        )
    except RuntimeError as error:
        if "home directory" not in str(error):  # that of pathlib, for a name with ~
            raise
        _fail(
            "the home folder of a path that begins with ~ is unknown\n"
            "  expected: HOME to be set, or a user with an entry in /etc/passwd\n"
            "  to do: write the whole path, or set HOME"
        )


def _fail(message: str) -> None:
    from cxrbench.output.sections import visible

    print(f"cxrbench: {visible(message)}", file=sys.stderr)
    sys.exit(2)


def _described(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    where = "" if error.filename is None else f": {os.fsdecode(error.filename)}"
    if error.errno in _FULL:
        return (
            f"the disk is full{where or f': {what}'}\n"
            "  to do: free disk space and run the same command again; completed work is kept"
        )
    return (
        f"a file cannot be read or written{where}\n  got: {what}\n"
        "  to do: check the file and its folder, then run the same command again; completed work "
        "is kept"
    )


def _warn_of_limit() -> None:
    """Libraries in C++ crash, or never return, where they cannot get memory at their start."""
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _LEAST_MEMORY:
        print(
            f"cxrbench: warning: this process may use only {limit / 1e9:.1f} GB of address space "
            f"(ulimit -v): libraries may crash or hang; allow {_LEAST_MEMORY / 1e9:.0f} GB",
            file=sys.stderr,
        )


# Standard output


# What messages and tables hold besides ASCII, for an output that cannot.
_NEAR = {
    **dict.fromkeys("─━═╌╍┄┅┈┉╴╶╸╺–—−", "-"),
    **dict.fromkeys("│┃║", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰┏┓┗┛┡┩╇╈", "+"),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
    **{"±": "+-", "·": ".", "•": "*", "×": "x", "…": "...", "≤": "<=", "≥": ">=", "→": "->"},
    **{"←": "<-", "✓": "ok", "✗": "x", "²": "2", "µ": "u", "\N{NO-BREAK SPACE}": " "},
    **dict.fromkeys("█▇▆▅▄▃▂▁▏▎▍▌▋▊▉", "#"),
}


def _near(error: UnicodeError) -> tuple[str, int]:
    """Something near for typographic characters; names keep theirs as escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    whole = "".join(
        _NEAR.get(character) or character.encode("ascii", "backslashreplace").decode()
        for character in text
    )
    return whole, error.end


def _prepare_streams() -> None:
    """Make standard output and error take every character, and exist."""
    codecs.register_error("cxrbench.near", _near)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before the program began, as by `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and _is_limited(stream.encoding):
            stream.reconfigure(errors="cxrbench.near")


def _is_limited(encoding: str) -> bool:
    return not codecs.lookup(encoding).name.startswith("utf")


def _forget_output() -> None:
    """Where what standard output still holds cannot be written, do not try it at the end again."""
    try:
        sys.stdout.flush()
    except OSError:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
