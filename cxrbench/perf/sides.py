"""What is compared: a revision, an environment, a folder of source or a stored result."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cxrbench.errors import SettingsError
from cxrbench.perf.builds import build_folder, build_revision, find_revision, has_changes
from cxrbench.perf.process import Environment


@dataclass(frozen=True)
class Side:
    """One side that can be run. ``told`` describes it; ``note`` is a warning, or empty."""

    text: str
    told: str
    environment: Environment
    commit: str = ""
    note: str = ""


def find_side(text: str, repository: Path, cache: Path, stack: ExitStack) -> Side:
    """The side that a text names, built where it has to be.

    An interpreter or the folder of a virtual environment; a folder with a ``pyproject.toml``, such
    as ``.``, whose package is built as it is; else a git revision. ``stack`` removes what was made.

    Raises
    ------
    SettingsError : it is none of these, or does not build.
    """
    path = Path(text)
    python = path / "bin" / "python"
    if python.is_file():
        return Side(text, f"environment {text}", Environment(str(python.absolute())))
    if path.is_file():
        return Side(text, f"environment of {text}", Environment(str(path.absolute())))
    if (path / "pyproject.toml").is_file():
        target = Path(stack.enter_context(TemporaryDirectory()), "packages")
        build_folder(path.absolute(), target, text)
        return Side(text, f"folder {path.absolute().name}", Environment(packages=target))
    if path.is_dir() and text not in ("", "/"):
        raise SettingsError(
            f"nothing can be run in the folder {text!r}",
            expected="bin/python of a virtual environment, or a pyproject.toml",
            found="neither",
        )
    revision = find_revision(text, repository)
    packages = build_revision(revision, repository, cache)
    note = ""
    if has_changes(repository, since=revision):
        note = f"the work tree has changes that {text} does not hold; name . to measure them"
    return Side(
        text,
        f"{text} ({revision.commit[:10]} {revision.subject})",
        Environment(packages=packages),
        revision.commit,
        note,
    )


def this_environment() -> Side:
    """What is installed where this command runs."""
    return Side("", "this environment", Environment(sys.executable))
