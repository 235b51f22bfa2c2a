"""What the cache folder holds: every entry with its size, its state and its purpose."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from cxrbench.data.cache import is_free, key_of, lock_of
from cxrbench.data.journal import DamagedStore
from cxrbench.data.purpose import PURPOSE_FILE, UNTOLD, Purpose, read_purpose
from cxrbench.data.stores import complete_journal

State = Literal["complete", "interrupted", "damaged"]

STORES = ("pixels", "features", "images", "embeddings")
ENCODINGS = "encodings"
CHOICES = ("engines", "batch-sizes")
HEADERS = "headers"
KINDS = (*STORES, ENCODINGS, *CHOICES, HEADERS)

_KEY = "[0-9a-f]{32}"
# Whatever else lies in the cache folder is somebody's: only these names are ever removed. The
# first of them marks an entry as complete.
_IN_STORE = re.compile(r"(complete|journal|about|purpose)\.jsonl?(\.tmp)?|[a-z]+\.bin")
_ENCODING = re.compile(rf"({_KEY})\.(npz|npy|json)(\.tmp)?")
_CHOICE = re.compile(rf"({_KEY})\.json(\.tmp)?")
_MEMORY = re.compile(r"([0-9a-f]{20})\.jsonl")


@dataclass(frozen=True)
class Entry:
    """One thing in the cache.

    ``size`` in bytes, ``last_used`` in seconds since 1970. ``in_use`` says that a process makes or
    reads it now. ``files`` are all that belongs to it, what marks it as complete first; ``lock`` is
    what a process that makes it holds.
    """

    kind: str
    key: str
    purpose: Purpose
    size: int
    last_used: float
    state: State
    in_use: bool
    files: tuple[Path, ...]
    lock: Path

    @property
    def name(self) -> str:
        """Kind and key."""
        return f"{self.kind}/{self.key}"


def entries(cache: Path) -> tuple[Entry, ...]:
    """Everything in this folder that cxrbench keeps there, by kind and key.

    What is complete is not read through: damage is seen as it is when the entry is opened, by
    checksums of its journal and by the sizes of its files.
    """
    return tuple(entry for kind in KINDS for entry in _entries(cache / kind))


def entry_of_store(folder: Path) -> Entry:
    """The entry of one store."""
    return _store(folder, _files_of_store(folder))


def _entries(folder: Path) -> Iterator[Entry]:
    if not folder.is_dir():
        return
    children = sorted(folder.iterdir())
    if folder.name in STORES:
        for child in children:
            if re.fullmatch(_KEY, child.name) and child.is_dir() and not child.is_symlink():
                files = _files_of_store(child)
                if files:
                    yield _store(child, files)
        return
    form, entry = _FORMS.get(folder.name, (_CHOICE, _choice))
    for key, files in _by_key(children, form).items():
        yield entry(folder, key, files)


def _files_of_store(folder: Path) -> tuple[Path, ...]:
    found = []
    # A copy that was being made when its process was killed belongs to the store too.
    for place in (folder, folder.with_name(folder.name + ".tmp")):
        if place.is_dir() and not place.is_symlink():
            found += [p for p in place.iterdir() if _IN_STORE.fullmatch(p.name) and p.is_file()]
    return tuple(sorted(found, key=lambda path: (path.name != "complete.json", path)))


def _by_key(children: Iterable[Path], form: re.Pattern[str]) -> Mapping[str, tuple[Path, ...]]:
    found = defaultdict[str, list[Path]](list)
    for child in children:
        match = form.fullmatch(child.name)
        if match and child.is_file():
            found[match[1]].append(child)
    return {
        key: tuple(sorted(files, key=lambda path: (path.suffix != ".npz", path)))
        for key, files in found.items()
    }


def _store(folder: Path, files: Sequence[Path]) -> Entry:
    purpose = folder / PURPOSE_FILE
    return _entry(
        folder, files, read_purpose(purpose), used=purpose, state=_state_of_store, locked=folder
    )


def _state_of_store(folder: Path) -> State:
    try:
        return "interrupted" if complete_journal(folder) is None else "complete"
    except DamagedStore:
        return "damaged"


def _encoding(folder: Path, key: str, files: Sequence[Path]) -> Entry:
    used = folder / f"{key}.json"
    vectors = folder / f"{key}.npy"
    return _entry(
        folder / key, files, read_purpose(used), used=used, state=_state_of_encoding, locked=vectors
    )


def _state_of_encoding(path: Path) -> State:
    from cxrbench.data.encode import map_vectors

    try:
        if not path.with_suffix(".npz").exists():
            return "interrupted"
        map_vectors(path.with_suffix(".npy"))
    except (OSError, ValueError):
        return "damaged"
    return "complete"


def _choice(folder: Path, key: str, files: Sequence[Path]) -> Entry:
    path = folder / f"{key}.json"
    try:
        told = json.loads(path.read_bytes())
        about, chosen = told["about"], told["chosen"]
        state: State = "complete" if key_of(about) == key else "damaged"
        purpose = Purpose(" for ".join([str(chosen), *filter(None, [about.get("recipe")])]))
    except FileNotFoundError:
        state, purpose = "interrupted", UNTOLD
    except (ValueError, KeyError, TypeError, AttributeError):
        state, purpose = "damaged", UNTOLD
    return _entry(folder / key, files, purpose, used=path, state=lambda _: state, locked=path)


def _memory(folder: Path, key: str, files: Sequence[Path]) -> Entry:
    """What a dataset remembers of an archive's files, line by line; the first names the archive."""
    path = folder / f"{key}.jsonl"
    purpose = Purpose("headers of DICOM files", *_dataset_and_data(path))
    # Lines that are damaged or missing are read anew: there is no other state.
    return _entry(folder / key, files, purpose, used=path, state=lambda _: "complete", locked=path)


def _dataset_and_data(path: Path) -> tuple[str, str]:
    with path.open("rb") as file:
        first = file.readline(2**16)
    try:
        told = json.loads(first)
        return str(told["dataset"]), str(told["data"])
    except (ValueError, KeyError, TypeError):
        return "", ""


_FORMS = MappingProxyType({ENCODINGS: (_ENCODING, _encoding), HEADERS: (_MEMORY, _memory)})


def _entry(
    path: Path,
    files: Sequence[Path],
    purpose: Purpose,
    *,
    used: Path,
    state: Callable[[Path], State],
    locked: Path,
) -> Entry:
    told = [file.stat() for file in files]
    last = used.stat().st_mtime if used.exists() else max(stat.st_mtime for stat in told)
    return Entry(
        kind=path.parent.name,
        key=path.name,
        purpose=purpose,
        size=sum(stat.st_size for stat in told),
        last_used=last,
        state=state(path),
        in_use=not all(map(is_free, (lock_of(locked), *files))),
        files=tuple(files),
        lock=lock_of(locked),
    )
