"""The two sides of a comparison: a revision, an environment or a folder of source, ready to run."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cxrbench.errors import SettingsError
from cxrbench.output.files import locked
from cxrbench.perf.process import Environment


@dataclass(frozen=True)
class Side:
    """One side that can be run; ``note`` is a warning, or empty."""

    text: str
    description: str
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


_BUILD_SECONDS = 600


@dataclass(frozen=True)
class Revision:
    """A commit: the text that named it, its hash, and the first line of its message."""

    text: str
    commit: str
    subject: str


def find_revision(text: str, repository: Path) -> Revision:
    """The commit that ``text`` names in the repository that holds this folder.

    Raises
    ------
    SettingsError : this is no repository, or it has no such revision.
    """
    there = _git(repository, "rev-parse", "--git-dir")
    reason = there.stderr.decode(errors="replace").strip()
    if there.returncode and "not a git repository" not in reason:
        first, *rest = reason.splitlines() or [f"exit code {there.returncode}"]
        advice = [line.strip() for line in rest if line.strip().startswith("git config")]
        raise SettingsError(
            f"git refuses to read the repository of {repository}",
            found=first.removeprefix("fatal: "),
            fix=advice[0] if advice else f"try it: git -C {repository} status",
        )
    if there.returncode:
        raise SettingsError(
            f"{text!r} is neither a file nor a folder, and {repository} is in no git repository",
            expected="a revision of the repository in the current folder, the python of an "
            "environment, a folder of source, or a file of cxrbench perf record",
            found=text,
        )
    resolved = _git(repository, "rev-parse", "--verify", "--quiet", f"{text}^{{commit}}")
    if resolved.returncode:
        raise SettingsError(
            f"there is no revision {text!r}",
            expected="a commit, branch or tag of this repository",
            found=f"the branches {', '.join(_branches(repository)) or 'none'}",
            fix="check the name; in a shallow clone, fetch more: git fetch --unshallow --tags",
        )
    commit = resolved.stdout.decode().strip()
    subject = _git(repository, "log", "-1", "--format=%s", commit).stdout.decode().strip()
    return Revision(text, commit, subject)


def has_changes(repository: Path, *, since: Revision) -> bool:
    """Whether ``since`` is what is checked out, and tracked files differ from it."""
    if _git(repository, "rev-parse", "HEAD").stdout.decode().strip() != since.commit:
        return False
    return bool(_git(repository, "status", "--porcelain", "--untracked-files=no").stdout.strip())


def build_revision(revision: Revision, repository: Path, cache: Path) -> Path:
    """The folder where the revision's package is installed, without its dependencies.

    It is built once for each interpreter.

    Raises
    ------
    SettingsError : it does not build.
    """
    about = f"{revision.commit} {sys.version}"
    folder = cache / "perf" / "builds" / hashlib.sha256(about.encode()).hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked([folder.with_suffix(".lock")]):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent) as building:
                source, target = Path(building, "source"), Path(building, "packages")
                _unpack(revision, repository, source)
                build_folder(source, target, revision.text)
                target.rename(folder)
    return folder


def build_folder(source: Path, target: Path, called: str) -> None:
    """Install the package in a folder of source into ``target``, without its dependencies.

    Raises
    ------
    SettingsError : it does not build, or pip is not there.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-input", "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, timeout=_BUILD_SECONDS, check=False)
    if done.returncode:
        shutil.rmtree(target, ignore_errors=True)
        raise SettingsError(
            f"{called} does not build",
            expected="a package that pip can install",
            found=_reason(done.stderr.decode(errors="replace")) or "no message",
            fix=f"try it: {' '.join(command[:7])} …; in an environment without pip, "
            "python -m ensurepip",
        )


def _reason(text: str) -> str:
    """The last lines of what pip quotes of the build, or of all that it says."""
    _, quoted, rest = text.partition(" of output]")
    own = rest.partition("[end of output]")[0] if quoted else text
    lines = [line.strip(" │╰─>×") for line in own.splitlines()]
    return " / ".join([line for line in lines if line][-3:])


def _unpack(revision: Revision, repository: Path, folder: Path) -> None:
    top = _git(repository, "rev-parse", "--show-toplevel").stdout.decode().strip()
    archive = _git(Path(top), "archive", "--format=tar", revision.commit)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")


def _branches(repository: Path) -> list[str]:
    names = _git(repository, "for-each-ref", "--count=8", "--format=%(refname:short)", "refs/heads")
    return names.stdout.decode().split()


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            timeout=60,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise SettingsError(
            "git is not installed", fix="install git, or compare folders"
        ) from error
