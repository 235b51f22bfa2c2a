"""Checks before any work: every node has the same code and sees the same folders."""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any

import ray
from filelock import FileLock
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import cxrbench
from cxrbench.errors import ExecutorError, error_text
from cxrbench.experiment.conditions import LIBRARIES
from cxrbench.experiment.executors.interface import Needs
from cxrbench.experiment.executors.ray_nodes import Node
from cxrbench.modeling.backend import BACKENDS
from cxrbench.output.files import file_digest, locked_if_free
from cxrbench.registry import GROUP

_LIMIT = 120
"""Seconds that a node may take to start a process and look."""


@dataclass(frozen=True)
class Seen:
    """What a node has installed, and what is wrong with each of the folders, if anything is."""

    installed: Mapping[str, str]
    folders: Mapping[str, str | None]


def check_nodes(nodes: Sequence[Node], needs: Needs, options: Mapping[str, Any]) -> None:
    """Compare every node with this process; ``options`` are Ray's, for the tasks that look.

    Raises
    ------
    ExecutorError : a node has other versions, other code of a part, or does not see the same
        folders.
    """
    modules = sorted({type(part).__module__ for part in needs.parts})
    ours = installed(modules)
    with _marked(needs.runs) as runs, _marked(needs.cache) as cache:
        marks = {"--runs": runs, "--cache": cache}
        refs = {
            node: ray.remote(look)
            .options(**options, num_cpus=0, max_retries=0, scheduling_strategy=only_on(node))
            .remote(modules, marks)
            for node in nodes
        }
        for node, ref in refs.items():
            seen = _answer(node, ref)
            require_same_code(node, seen.installed, ours)
            for option, folder in (("--runs", needs.runs), ("--cache", needs.cache)):
                if (wrong := seen.folders[option]) is not None:
                    raise ExecutorError(
                        f"{node.name} does not share the folder {folder}",
                        expected=f"{option} on a file system that all nodes have at this path, "
                        "with locks that reach from node to node (NFS 4, Lustre with -o flock, …)",
                        found=wrong,
                        fix=f"mount it on every node, or choose another folder with {option}",
                    )


def only_on(node: Node) -> NodeAffinitySchedulingStrategy:
    """Ray's way to say that a task has to run on this node."""
    return NodeAffinitySchedulingStrategy(node.id, soft=False)


def look(modules: Sequence[str], marks: Mapping[str, Path]) -> Seen:
    """On a node: what is installed, and whether the marks in the folders are there and locked."""
    return Seen(installed(modules), {option: _wrong(mark) for option, mark in marks.items()})


def installed(modules: Sequence[str]) -> dict[str, str]:
    """Versions of what computes, and the code of cxrbench and of the modules with parts."""
    return {
        "python": platform.python_version(),
        "cxrbench": f"{cxrbench.__version__}, {_code_digest()}",
        **{name: _version(name) for name in (*LIBRARIES, *BACKENDS)},
        **{f"plugin {name}": _plugin(name) for name in modules},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _code_digest() -> str:
    """Of all modules, since a clone can be changed without its version."""
    digest = hashlib.sha256()
    root = Path(cxrbench.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]


def _plugin(module: str) -> str:
    versions = {
        point.value: point.dist.version for point in entry_points(group=GROUP) if point.dist
    }
    try:
        code = getattr(import_module(module), "__file__", None)
    except Exception as error:  # a stranger's code
        return f"cannot be imported: {error_text(error)}"
    digest = file_digest(Path(code))[:8] if code else "no file"
    return ", ".join(filter(None, (versions.get(module), digest)))


@contextmanager
def _marked(folder: Path) -> Iterator[Path]:
    """A file in the folder for others to find, with a lock held on it."""
    mark = folder / f".shared-{uuid.uuid4().hex}"
    lock = FileLock(mark.with_suffix(".lock"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
        lock.acquire()
    except OSError as error:
        raise ExecutorError(
            f"cannot write in {folder}",
            expected="a folder for --runs and one for --cache that can be written",
            found=error.strerror or str(error),
            fix="choose another folder",
        ) from error
    try:
        yield mark
    finally:
        lock.release()
        mark.unlink(missing_ok=True)
        Path(lock.lock_file).unlink(missing_ok=True)


def _wrong(mark: Path) -> str | None:
    if not mark.parent.is_dir():
        return "there is no such folder there"
    if not mark.exists():
        return "another folder is at this path there"
    if not os.access(mark.parent, os.W_OK):
        return "it cannot be written there"
    with locked_if_free(mark.with_suffix(".lock")) as free:
        return "a lock that is held here is free there" if free else None


def _answer(node: Node, ref: Any) -> Seen:
    try:
        seen: Seen = ray.get(ref, timeout=_LIMIT)
    except ray.exceptions.RayError as error:
        lines = str(error).strip().splitlines()
        raise ExecutorError(
            f"{node.name} cannot run cxrbench",
            expected="the same Python environment on every node",
            found=lines[-1] if lines else type(error).__name__,
            fix="install cxrbench there too, and start its `ray` from that environment",
        ) from error
    return seen


def require_same_code(node: Node, theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    other = [name for name in ours if theirs.get(name) != ours[name]]
    if other:
        raise ExecutorError(
            f"{node.name} would compute something else than this machine",
            expected="; ".join(f"{name} {ours[name]}" for name in other),
            found="; ".join(f"{name} {theirs.get(name, 'not installed')}" for name in other),
            fix="install the same versions on every node, and restart Ray there",
        )
